/** The workloads that `mmulab run` knows. */
import { UnknownNameError } from "../input/errors.ts";
import { OwnCode } from "../input/own-code.ts";
import { suggestion } from "../input/suggestion.ts";
import type { Workload } from "./base/workload.ts";
import { STEPPED_WORKLOADS } from "./stepped-workloads.ts";
import { testVmalloc } from "./test-vmalloc/index.ts";

const [first, ...others] = STEPPED_WORKLOADS;

/** All workloads, in the order in which they are listed. */
export const WORKLOADS: readonly Workload[] = [first, testVmalloc, ...others];

/** Workloads in files of one's own, once they are loaded. */
export const OWN_WORKLOADS = new OwnCode<Workload>();

/**
 * The workload called `name`.
 * @throws UnknownNameError when there is none, naming the nearest
 */
export function findWorkload(name: string): Workload {
  const found = WORKLOADS.find((workload) => workload.name === name) ?? OWN_WORKLOADS.find(name);
  if (found !== undefined) return found;
  const names = WORKLOADS.map((workload) => workload.name);
  const line = `unknown workload '${name}'${suggestion(name, names)}; mmulab run --list shows all`;
  throw new UnknownNameError(line, name, names);
}
