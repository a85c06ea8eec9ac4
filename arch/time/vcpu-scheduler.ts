/** Where the loop's CPUs are vCPUs that share physical ones: who says which of them runs. */

/** A scheduler of vCPUs, below the event loop. */
export interface VcpuScheduler {
  /** `cpu` could act at `atCycles` (infinity: only if something wakes it) if it had a physical CPU. Calls `EventLoop.setReady`. */
  couldAct(cpu: number, atCycles: number): void;
  /** `cpu` is next, at `atCycles`. Returns whether it did not run until now and has its physical CPU only from here on. */
  act(cpu: number, atCycles: number): boolean;
  /** `cpu` runs a call from outside, which does not wait for another vCPU. */
  take(cpu: number): void;
  /** Whether `cpu` waits in its host and runs nothing of its own until another lets it go on. */
  isHeld(cpu: number): boolean;
}
