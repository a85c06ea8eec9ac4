/** Flush policies of one's own: a TypeScript or JavaScript file whose default export is a `FlushPolicy`. */
import { ALL_FLUSH_POLICIES, type FlushPolicy } from "../../mm/index.ts";
import { importOwnModule, isModuleFile } from "../files/own-module.ts";
import { OwnCodeError } from "../input/errors.ts";
import { OWN_POLICIES } from "./machine-settings.ts";

const EXPECTED = "expected export default policy, with policy: FlushPolicy (mmulab new policy NAME writes one)";

/**
 * The policy in a file; `--policy` and grids of sweeps know the file from then on.
 * @throws OwnCodeError when there is none
 */
export async function loadPolicyFile(file: string): Promise<FlushPolicy> {
  const known = OWN_POLICIES.find(file);
  if (known !== undefined) return known;
  const module = await importOwnModule(file, "flush policy", (reason) => new OwnCodeError(file, reason));
  return OWN_POLICIES.add(file, policyOf(file, module.default));
}

/** Loads the files among words of a command line that stand for policies: `--policy FILE.ts`, `--policies ipi,FILE.ts`. @throws OwnCodeError */
export async function loadPoliciesOf(argv: readonly string[]): Promise<void> {
  for (let i = 0; i < argv.length; i++) {
    const [option, value = argv[i + 1]] = argv[i].split("=", 2);
    if (POLICY_NAMES.includes(option.slice(2)) && value !== undefined) await loadPolicyFiles(value);
  }
}

/** Names of the option, the parameter of experiments, and columns of grids that name policies. */
export const POLICY_NAMES: readonly string[] = ["policy", "policies"];

/** The files in a list of policies. */
export function policyFilesIn(list: string): string[] {
  return list.split(",").filter(isModuleFile);
}

/** Loads them. @throws OwnCodeError */
export async function loadPolicyFiles(list: string): Promise<void> {
  for (const file of policyFilesIn(list)) await loadPolicyFile(file);
}

/** What is exported, once it has all that a policy needs. @throws OwnCodeError naming the field */
function policyOf(file: string, exported: unknown): FlushPolicy {
  if (typeof exported !== "object" || exported === null)
    throw new OwnCodeError(file, `is no flush policy: ${EXPECTED}`);
  const policy = exported as Readonly<Record<string, unknown>>;
  const wrong = (field: string, expected: string): OwnCodeError =>
    new OwnCodeError(file, `is no flush policy: ${field} is ${String(policy[field])}, expected ${expected}`);
  for (const field of ["name", "summary"]) {
    if (typeof policy[field] !== "string" || policy[field] === "") throw wrong(field, "a text");
  }
  if (ALL_FLUSH_POLICIES.some(({ name }) => name === policy.name)) throw wrong("name", "one that no other policy has");
  if (typeof policy.eager !== "boolean") throw wrong("eager", "true or false");
  for (const field of ["check", "flush"]) if (typeof policy[field] !== "function") throw wrong(field, "a function");
  if (policy.flushUser !== undefined && typeof policy.flushUser !== "function") throw wrong("flushUser", "a function");
  return exported as FlushPolicy;
}
