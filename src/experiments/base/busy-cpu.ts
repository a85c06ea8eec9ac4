/** A CPU that only computes while another does what is measured. */
import { compute, type EventLoop, type KernelCode } from "../../../arch/index.ts";

/** How long it computes before it looks whether that is done, in cycles. */
const SLICE_CYCLES = 20_000;
/** The most CPUs of machines on which it looks so often. */
const FEW_CPUS = 16;

/**
 * The current CPU computes, slice by slice, until `isDone`. The more CPUs a machine has, the longer the flushes take that are waited for: slices grow with
 * their number, since 1023 CPUs that look every 20,000 cycles cost the host many times what the flushes do. Where threads share cores they do not:
 * at the end of each slice the loop says what it took to compute it beside the other thread.
 */
export function* computeUntil(loop: EventLoop, isDone: () => boolean): KernelCode<void> {
  const sliceCycles = SLICE_CYCLES * (loop.sharedCores === null ? Math.max(1, loop.cpus / FEW_CPUS) : 1);
  while (!isDone() && loop.currentThread !== null) yield* compute(loop.currentThread, sliceCycles);
}
