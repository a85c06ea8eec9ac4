/** Workloads by name, those in files of one's own included. */
import { isModuleFile } from "../files/own-module.ts";
import { findWorkload, OWN_WORKLOADS } from "./all-workloads.ts";
import { loadWorkloadFile } from "./base/own-workload.ts";
import type { Workload } from "./base/workload.ts";

export { findWorkload, WORKLOADS } from "./all-workloads.ts";

/**
 * The workload called `name`, or the one in the file of that name.
 * @throws UnknownNameError when there is none, WorkloadError when the file holds none
 */
export async function loadWorkload(name: string): Promise<Workload> {
  if (!isModuleFile(name)) return findWorkload(name);
  return OWN_WORKLOADS.find(name) ?? OWN_WORKLOADS.add(name, await loadWorkloadFile(name));
}
