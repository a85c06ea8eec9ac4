/** What a flush policy needs of CPUs. */
import type { CpuFeatures } from "../../../arch/index.ts";
import { type FlushPolicy, INVLPGB_POLICY, RAR_POLICY } from "../../../mm/index.ts";

/** Features to add to those of any preset so that it can carry out the policy. */
export function featuresFor(policy: FlushPolicy): Partial<CpuFeatures> {
  if (policy === INVLPGB_POLICY) return { invlpgb: true };
  return policy === RAR_POLICY ? { rar: true, invpcid: true } : {};
}
