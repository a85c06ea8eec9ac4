/** Runs a workload on a machine of its own and gathers what happened. */
import { bootKernel, type KernelConfig } from "../kernel.ts";
import { EventCounter } from "../report/event-counter.ts";
import { baseline, gatherReport, type RunReport } from "../report/run-report.ts";
import type { Workload, WorkloadOptions } from "./workload.ts";

/**
 * Boots a machine, runs `workload` on it to its end and reports.
 * @throws ConfigError for a machine that is not possible
 */
export function runWorkload(workload: Workload, config: Partial<KernelConfig>, options: WorkloadOptions): RunReport {
  const kernel = bootKernel(config);
  const counter = new EventCounter();
  kernel.vm.events = counter;
  const before = baseline(kernel);
  const result = workload.run(kernel, options);
  return gatherReport(kernel, workload.name, options, before, counter, result);
}
