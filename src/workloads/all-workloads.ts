/** The workloads that `mmulab run` knows. */
import { UnknownNameError } from "../input/errors.ts";
import { OwnCode } from "../input/own-code.ts";
import { suggestion } from "../input/suggestion.ts";
import type { Workload } from "./base/workload.ts";
import { forkStorm } from "./fork-storm.ts";
import { fsBufferCache } from "./fs-buffer-cache.ts";
import { hashTable } from "./hash-table.ts";
import { ioremapDriver } from "./ioremap-driver.ts";
import { mixed } from "./mixed.ts";
import { moduleLoad } from "./module-load.ts";
import { testVmalloc } from "./test-vmalloc/index.ts";
import { userProcesses } from "./user-processes.ts";

/** All workloads, in the order in which they are listed. */
export const WORKLOADS: readonly Workload[] = [
  mixed,
  testVmalloc,
  forkStorm,
  fsBufferCache,
  hashTable,
  ioremapDriver,
  moduleLoad,
  userProcesses,
];

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
