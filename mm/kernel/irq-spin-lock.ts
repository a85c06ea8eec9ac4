/**
 * A spinlock of plain code, which cannot pause: it is taken with interrupts off (`spin_lock_irqsave`), held for a time that is known
 * when it is taken, and given back. Who comes while it is held waits until it is free; a CPU whose clock lies in a gap between two times
 * when it was held has had it then, and does not wait (`arch/time/busy-times.ts`).
 */
import { BusyTimes } from "../../arch/time/busy-times.ts";
import { ACTIVITY_LOCK_WAIT } from "../../arch/time/cycle-accounts.ts";
import type { EventLoop } from "../../arch/time/event-loop.ts";
import type { LockCosts } from "./lock.ts";
import { type LockClass, lockClass } from "./lock-stat.ts";
import type { WatchedLock } from "./lock-watcher.ts";

/** One such lock. */
export class IrqSpinLock implements WatchedLock {
  readonly name: string;
  readonly sleeps = false;
  /** The CPU that had it last, -1 when none has; and when it was held. */
  lastCpu = -1;
  readonly busy = new BusyTimes();
  /** Statistics, shared by all locks of this name; null before it is first taken. */
  private statistics: LockClass | null = null;
  private readonly loop: EventLoop;
  private readonly costs: LockCosts;
  private readonly line: number;

  /** @param line of `SharedLines`, of what the lock guards; -1 when its holder says what it waits for */
  constructor(name: string, loop: EventLoop, costs: LockCosts, line = -1) {
    this.name = name;
    this.loop = loop;
    this.costs = costs;
    this.line = line;
  }

  /**
   * The current CPU is about to take the lock: others may come before it, where a scheduler chooses so. What the lock guards is to be
   * looked at after this.
   */
  aboutToTake(): void {
    this.loop.pointIrqsOff(`${this.name} is taken`, this);
  }

  /**
   * The current CPU takes the lock, waiting for those who came before it, works `cycles` under it and gives it back.
   * @param lineCycles what it waits for lines meanwhile
   */
  hold(cycles: number, lineCycles = 0): void {
    const { loop, costs, lastCpu, busy } = this;
    this.statistics ??= lockClass(loop, this.name);
    const { statistics } = this;
    const cpu = loop.currentCpu;
    const began = loop.nowCycles();
    const bounced = lastCpu >= 0 && lastCpu !== cpu;
    const takenAt = busy.startOf(began);
    const isQueued = takenAt > began;
    if (isQueued) {
      statistics.waited(takenAt - began, bounced);
      const activity = loop.enterActivity(ACTIVITY_LOCK_WAIT);
      loop.spend(takenAt - began);
      loop.enterActivity(activity);
    }
    statistics.watcher?.lockAcquire(this);
    // The lock's word is only ever written: who had it last has it still. One who waits has polled it meanwhile.
    if (bounced) loop.lines.takeOver(lastCpu, isQueued ? costs.handOverTransfers : 1);
    if (this.line >= 0) loop.lines.write(this.line);
    loop.lines.waitFor(lineCycles);
    loop.spend(costs.uncontendedCycles + cycles);
    busy.serve(takenAt, loop.nowCycles());
    this.lastCpu = cpu;
    statistics.taken();
    if (bounced) statistics.bounced();
    statistics.held(costs.uncontendedCycles + cycles + lineCycles);
    statistics.watcher?.lockRelease(this);
    loop.interruptsWereOff(began);
  }
}
