/**
 * A spinlock of plain code, which cannot pause: it is taken with interrupts off (`spin_lock_irqsave`), held for a time that is known
 * when it is taken, and given back. Who comes while it is held waits until it is free, in the order of coming; a CPU whose clock lies
 * before the time since which it has been held without a gap has had it earlier, and does not wait.
 */
import { ACTIVITY_LOCK_WAIT } from "../../arch/time/cycle-accounts.ts";
import type { EventLoop } from "../../arch/time/event-loop.ts";
import type { LockCosts } from "./lock.ts";
import { type LockClass, lockClass } from "./lock-stat.ts";

/** One such lock. */
export class IrqSpinLock {
  readonly name: string;
  /** The CPU that had it last, -1 when none has; since when it has been held without a gap, and until when, in cycles. */
  lastCpu = -1;
  busyFromCycles = 0;
  busyUntilCycles = 0;
  /** Statistics, shared by all locks of this name; null before it is first taken. */
  private statistics: LockClass | null = null;
  private readonly loop: EventLoop;
  private readonly costs: LockCosts;

  constructor(name: string, loop: EventLoop, costs: LockCosts) {
    this.name = name;
    this.loop = loop;
    this.costs = costs;
  }

  /** The current CPU takes the lock, waiting for those who came before it, works `cycles` under it and gives it back. */
  hold(cycles: number): void {
    const { loop, costs, lastCpu } = this;
    this.statistics ??= lockClass(loop, this.name);
    const { statistics } = this;
    const cpu = loop.currentCpu;
    const began = loop.nowCycles();
    const bounced = lastCpu >= 0 && lastCpu !== cpu;
    const isQueued = began >= this.busyFromCycles && began < this.busyUntilCycles;
    if (isQueued) {
      statistics.waited(this.busyUntilCycles - began, bounced);
      const activity = loop.enterActivity(ACTIVITY_LOCK_WAIT);
      loop.spend(this.busyUntilCycles - began);
      loop.enterActivity(activity);
    }
    const takenAt = loop.nowCycles();
    // The lock's word is only ever written: who had it last has it still. One who waits has polled it meanwhile.
    if (bounced) loop.lines.takeOver(lastCpu, isQueued ? costs.handOverTransfers : 1);
    loop.spend(costs.uncontendedCycles + cycles);
    const now = loop.nowCycles();
    if (takenAt > this.busyUntilCycles) this.busyFromCycles = takenAt;
    this.busyUntilCycles = Math.max(this.busyUntilCycles, now);
    this.lastCpu = cpu;
    statistics.taken();
    if (bounced) statistics.bounced();
    statistics.held(costs.uncontendedCycles + cycles);
    loop.interruptsWereOff(began);
  }
}
