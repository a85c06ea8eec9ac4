/** All flush policies that come with the kernel, by name. */
import { ConfigError } from "../lib/config-error.ts";
import {
  DEFERRED_POLICY,
  EAGER_POLICY,
  type FlushPolicy,
  INVLPGB_POLICY,
  IPI_POLICY,
  RAR_POLICY,
} from "./flush-policy.ts";
import { GUEST_FLUSH_POLICIES } from "./guest-flush-policies.ts";

/** Those of a kernel on the machine itself. */
export const FLUSH_POLICIES: readonly FlushPolicy[] = [
  IPI_POLICY,
  INVLPGB_POLICY,
  RAR_POLICY,
  DEFERRED_POLICY,
  EAGER_POLICY,
];

/** Those, and those of guests. */
export const ALL_FLUSH_POLICIES: readonly FlushPolicy[] = [...FLUSH_POLICIES, ...GUEST_FLUSH_POLICIES];

/** @throws ConfigError for a name that no policy has */
export function flushPolicyByName(name: string): FlushPolicy {
  const found = ALL_FLUSH_POLICIES.find((policy) => policy.name === name);
  if (found !== undefined) return found;
  throw new ConfigError("flush policy", name, ALL_FLUSH_POLICIES.map((policy) => policy.name).join(", "));
}
