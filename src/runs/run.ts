/** Runs a workload on a machine and gathers what happened. */

import { EventCounter } from "../events/event-counter.ts";
import { teeEvents } from "../events/tee-events.ts";
import { defaultParameters } from "../input/parameters.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../machine/kernel.ts";
import type { Workload, WorkloadOptions } from "../workloads/base/workload.ts";
import { baseline, gatherReport, type RunReport } from "./run-report.ts";

/**
 * Boots a machine, runs `workload` on it to its end and reports.
 * @throws ConfigError for a machine that is not possible
 */
export function runWorkload(workload: Workload, config: Partial<KernelConfig>, options: WorkloadOptions): RunReport {
  return runOnKernel(bootKernel(config), workload, options);
}

/**
 * Runs `workload` to its end on a kernel that is idle, and reports what happened meanwhile. Whoever observes the kernel's
 * vmalloc goes on doing so.
 */
export function runOnKernel(kernel: Kernel, workload: Workload, options: WorkloadOptions): RunReport {
  const counter = new EventCounter();
  const outer = kernel.vm.events;
  kernel.vm.events = outer === null ? counter : teeEvents([counter, outer]);
  const before = baseline(kernel);
  const { parameters: specs } = workload;
  const parameters = options.parameters ?? (specs === undefined ? undefined : defaultParameters(specs));
  const full = parameters === undefined ? options : { ...options, parameters };
  const result = workload.run(kernel, full);
  kernel.vm.events = outer;
  return gatherReport(kernel, workload.name, full, before, counter, result);
}
