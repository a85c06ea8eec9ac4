/** Waiting for time to pass: the kernel's timer ticks (`kernel/time/timer.c`). */
import { type EventLoop, type KernelCode, PAUSE_SLEEP } from "../../arch/time/event-loop.ts";

/** Timer ticks a second (`CONFIG_HZ`): Debian's and Ubuntu's default for servers. */
export const HZ = 250;

/** Lets the current thread sleep until its CPU's clock has come to `atCycles`: a timer interrupt wakes it. */
export function* sleepUntil(loop: EventLoop, atCycles: number): KernelCode<void> {
  const thread = loop.currentThread;
  if (thread === null) throw new Error("sleepUntil was called outside any thread");
  if (atCycles <= loop.nowCycles()) return;
  loop.postInterrupt(thread.cpu, atCycles, () => loop.wake(thread, loop.nowCycles()));
  yield PAUSE_SLEEP;
}

/** Lets the current thread sleep for one jiffy (`schedule_timeout_uninterruptible(1)`). @param frequencyGhz of the clocks */
export function scheduleTimeoutUninterruptible(loop: EventLoop, frequencyGhz: number): KernelCode<void> {
  return sleepUntil(loop, loop.nowCycles() + (frequencyGhz * 1e9) / HZ);
}

/** Whether nothing but the current thread can act any more: no other runs or is ready, no interrupt and no timer is under way. */
export function isAlone({ currentCpu: cpu, horizonCycles, runQueues, interrupts }: EventLoop): boolean {
  if (horizonCycles !== Number.POSITIVE_INFINITY || runQueues.length(cpu) > 0) return false;
  return interrupts.nextArrival(cpu) === Number.POSITIVE_INFINITY;
}
