/** Time that passes on a busy CPU. */
import { type EventLoop, type KernelCode, PAUSE_SPIN } from "../../arch/time/event-loop.ts";

/** Keeps the current CPU busy up to a time, interrupts included: what they take, the traced CPU's time included too. */
export function* spinUntil(loop: EventLoop, atCycles: number): KernelCode<void> {
  const thread = loop.currentThread;
  if (thread === null || atCycles <= loop.nowCycles()) return;
  loop.postInterrupt(thread.cpu, atCycles, () => loop.wake(thread, loop.nowCycles()));
  yield PAUSE_SPIN;
}
