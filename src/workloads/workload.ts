/** What a workload is: kernel threads on an emulated machine, and what they counted. */
import type { Kernel } from "../kernel.ts";

/** What a workload is run with. */
export interface WorkloadOptions {
  /** Operations over all CPUs. */
  readonly operations: number;
  /** The seed of its random choices. */
  readonly seed: number;
  /** Called now and then with the operations done so far. */
  readonly onProgress?: (operations: number) => void;
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
}

/** A workload that can be run by name. */
export interface Workload {
  readonly name: string;
  /** One line for the list. */
  readonly summary: string;
  /** Runs it on a booted kernel to its end. */
  run(kernel: Kernel, options: WorkloadOptions): WorkloadResult;
}
