/** Workloads that are one kernel thread on every CPU, each with a `WorkloadThread` to work with. */

import { defaultParameters, type ParameterSpec, type ParameterValues } from "../../input/parameters.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { type SharedCounts, type WorkloadCode, WorkloadThread } from "./context.ts";
import { OperationCounts } from "./operation-counts.ts";
import { Turns } from "./turns.ts";
import type { Workload, WorkloadOptions, WorkloadResult } from "./workload.ts";

const PROGRESS_OPERATIONS = 256;

/** A workload of threads; `S` is what the threads share. */
export interface ThreadWorkload<S> {
  readonly name: string;
  readonly summary: string;
  readonly parameters: readonly ParameterSpec[];
  /** Makes ready what the threads share. */
  setUp(kernel: Kernel, parameters: ParameterValues, options: WorkloadOptions): S;
  /** The code of one thread. */
  thread(thread: WorkloadThread, shared: S): WorkloadCode;
  /** The workload's own report, when all threads have ended. */
  report?(kernel: Kernel, shared: S): Pick<WorkloadResult, "lines" | "details" | "failure">;
}

/** The workload as the command line runs it. */
export function threadWorkload<S>(spec: ThreadWorkload<S>): Workload {
  const { name, summary, parameters } = spec;
  const start = (kernel: Kernel, options: WorkloadOptions): (() => WorkloadResult) => {
    const shared = spec.setUp(kernel, options.parameters ?? defaultParameters(parameters), options);
    const result = startThreads(kernel, name, options, (thread) => spec.thread(thread, shared));
    return () => ({ ...result(), ...spec.report?.(kernel, shared) });
  };
  return { name, summary, parameters, start, run: (kernel, options) => runToEnd(kernel, start(kernel, options)) };
}

/** Lets a workload that was started run to its end. */
export function runToEnd(kernel: Kernel, result: () => WorkloadResult): WorkloadResult {
  kernel.runUntilIdle();
  return result();
}

/** Makes a thread of `code` on every CPU, among which `--ops` are shared out; what it returns gives the result once they have ended. */
function startThreads(
  kernel: Kernel,
  name: string,
  options: WorkloadOptions,
  code: (thread: WorkloadThread) => WorkloadCode,
): () => WorkloadResult {
  const { loop, preset } = kernel.machine;
  const { cpus } = loop;
  const turns = new Turns(loop, preset.frequencyGhz.value);
  let done = 0;
  const counts: SharedCounts = {
    operations: new OperationCounts(),
    loads: 0,
    stores: 0,
    wrongLoads: 0,
    frames: new Set(),
    onOperation: () => {
      if (++done % PROGRESS_OPERATIONS === 0) options.onProgress?.(done);
    },
  };
  for (let cpu = 0; cpu < cpus; cpu++) {
    const share = Math.floor((options.operations + cpus - 1 - cpu) / cpus);
    const thread = new WorkloadThread(kernel, name, cpu, share, options.seed, counts, turns);
    kernel.spawn(`${name}/${cpu}`, cpu, code(thread));
  }
  return () => {
    const { loads, stores, wrongLoads } = counts;
    return { operations: counts.operations.byName, loads, stores, wrongLoads };
  };
}
