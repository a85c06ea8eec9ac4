/**
 * A spinlock of plain code, which cannot pause: it is taken with interrupts off (`spin_lock_irqsave`), held for a time that is known
 * when it is taken, and given back. It is fair, as a queued spinlock is (`kernel/locking/qspinlock.c`): CPUs have it in the order of the times at
 * which they come, whichever of them the event loop runs first (`arch/time/hold-queue.ts`).
 */
import { ACTIVITY_LOCK_WAIT } from "../../arch/time/cycle-accounts.ts";
import type { EventLoop } from "../../arch/time/event-loop.ts";
import { type HandOver, HoldQueue, type LateCpus } from "../../arch/time/hold-queue.ts";
import type { LockCosts } from "./lock.ts";
import { type LockClass, lockClass } from "./lock-stat.ts";
import type { WatchedLock } from "./lock-watcher.ts";

/** One such lock. */
export class IrqSpinLock implements WatchedLock, HandOver {
  readonly name: string;
  readonly sleeps = false;
  /** Who has had it when, in the current run or call from outside: those before are over. */
  private readonly queue = new HoldQueue(this);
  private run = 0;
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

  /** The CPU that has it last of all that came, -1 when none has. */
  get lastCpu(): number {
    return this.queue.lastCpu;
  }

  /** Makes it a free lock that `lastCpu` (-1: nobody) had last, for saved states. */
  restore(lastCpu: number): void {
    this.queue.clear(lastCpu);
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
    const { loop, costs, queue } = this;
    this.statistics ??= lockClass(loop, this.name);
    const { statistics } = this;
    if (this.run !== loop.interrupts.run) this.beginRun();
    const cpu = loop.currentCpu;
    loop.lines.drainStores();
    const began = loop.nowCycles();
    const freeAt = queue.come(began, Math.min(began, loop.earliestCycles));
    const { predecessor } = queue;
    const bounced = predecessor >= 0 && predecessor !== cpu;
    const isQueued = freeAt > began;
    if (isQueued) this.wait(freeAt - began, bounced);
    statistics.watcher?.lockAcquire(this);
    if (bounced) loop.lines.takeOver(predecessor, this.handOverTransfers(isQueued));
    const takenAt = loop.nowCycles();
    if (this.line >= 0) loop.lines.write(this.line);
    loop.lines.waitFor(lineCycles);
    loop.spend(costs.uncontendedCycles + cycles);
    loop.settleSharedCore();
    const until = loop.nowCycles();
    queue.serve(cpu, began, freeAt - began, until - takenAt, until);
    statistics.taken();
    if (bounced) statistics.bounced();
    statistics.held(costs.uncontendedCycles + cycles + lineCycles);
    statistics.watcher?.lockRelease(this);
    loop.interruptsWereOff(began);
  }

  /** Cycles from when `from` gives it back, or from when `to` asks for it, until `to` has it. */
  handOverCycles(from: number, to: number, isQueued: boolean): number {
    if (from === to) return 0;
    const { lines, topology } = this.loop;
    return this.handOverTransfers(isQueued) * lines.transferCycles[topology.distance(from, to)];
  }

  putBehind({ count, cpus, fromCycles, cycles }: LateCpus): void {
    for (let i = 0; i < count; i++) this.loop.delay(cpus[i], fromCycles[cpus[i]], cycles[cpus[i]], ACTIVITY_LOCK_WAIT);
  }

  waitsLonger(wasCycles: number, cycles: number): void {
    this.statistics?.waitsLonger(wasCycles, cycles);
  }

  /** The lock's word is only ever written: who had it last has it still. One who waits has polled it meanwhile. */
  private handOverTransfers(isQueued: boolean): number {
    return isQueued ? this.costs.handOverTransfers : 1;
  }

  private wait(cycles: number, bounced: boolean): void {
    const { loop } = this;
    this.statistics?.waited(cycles, bounced);
    const activity = loop.enterActivity(ACTIVITY_LOCK_WAIT);
    loop.stall(cycles);
    loop.enterActivity(activity);
  }

  /** Calls from outside come one after the other: nobody is in the queue any more. */
  private beginRun(): void {
    this.run = this.loop.interrupts.run;
    this.queue.clear();
  }
}
