/** What a workload is: kernel threads on an emulated machine, and what they counted. */

import type { ParameterSpec, ParameterValues } from "../../input/parameters.ts";
import type { Kernel } from "../../machine/kernel.ts";

/** Told when a part of a workload begins and ends, so that a front end can measure the host's time. */
export interface PhaseObserver {
  begin(name: string): void;
  /** `loops` operations were done in it. */
  end(name: string, loops: number): void;
}

/** What a workload is run with. */
export interface WorkloadOptions {
  /** Operations over all CPUs. */
  readonly operations: number;
  /** The seed of its random choices. */
  readonly seed: number;
  /** Values of the workload's own parameters, all of them; absent means the defaults. */
  readonly parameters?: ParameterValues;
  /** Called now and then with the operations done so far. */
  readonly onProgress?: (operations: number) => void;
  /** Told of the workload's parts. */
  readonly phases?: PhaseObserver;
}

/** Operations of one kind. */
export interface OperationCount {
  done: number;
  /** Those that returned NULL. */
  failed: number;
  /** Bytes asked for, over all of them. */
  bytes: number;
}

/** What a workload counted. */
export interface WorkloadResult {
  /** By the kernel function's name. */
  readonly operations: ReadonlyMap<string, OperationCount>;
  /** Loads and stores that its threads made. */
  readonly loads: number;
  readonly stores: number;
  /** Loads that did not give what was stored: must be 0. */
  readonly wrongLoads: number;
  /** The workload's own report, one line each, shown above the general one. */
  readonly lines?: readonly string[];
  /** What `lines` say, as plain data for JSON. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Why the run counts as failed, one line, or absent. */
  readonly failure?: string;
}

/** A workload that can be run by name. */
export interface Workload {
  readonly name: string;
  /** One line for the list. */
  readonly summary: string;
  /** Its own parameters, given as NAME=VALUE; none when absent. */
  readonly parameters?: readonly ParameterSpec[];
  /** Whether it runs `operations` operations; false when its own parameters say how much it does. */
  readonly usesOperations?: boolean;
  /** How many operations a run with these parameters makes, for progress; `operations` when absent. */
  operationsOf?(parameters: ParameterValues, operations: number): number;
  /**
   * Starts its threads and runs nothing yet, for those who run it step by step. Once the event loop has nothing left to do, what it
   * returned gives the result. Absent for a workload that cannot be run so.
   */
  start?(kernel: Kernel, options: WorkloadOptions): () => WorkloadResult;
  /** Runs it on a booted kernel to its end. */
  run(kernel: Kernel, options: WorkloadOptions): WorkloadResult;
}
