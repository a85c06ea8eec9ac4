/** Workloads of one's own: a TypeScript or JavaScript file that exports a generator function. */
import { basename, extname, resolve } from "node:path";
import { PageFault } from "../../../arch/isa/faults.ts";
import { importOwnModule } from "../../files/own-module.ts";
import { WorkloadError } from "../../input/errors.ts";
import { workloadOf } from "./checked-workload.ts";
import type { Workload } from "./workload.ts";

/**
 * The workload in a file.
 * @throws WorkloadError when there is none
 */
export async function loadWorkloadFile(file: string): Promise<Workload> {
  const path = resolve(file);
  const module = await importOwnModule(file, "workload", (reason) => new WorkloadError(file, reason));
  // Its failures are told with the line of the file, which the stack has.
  PageFault.capturesStack = true;
  return workloadOf(basename(path, extname(path)), file, path, module);
}
