/**
 * Locks between emulated CPUs, and spinlocks (queued, fair); `mutex.ts` has the mutexes. Taking a free lock is a plain call; only a CPU that has to
 * wait pauses:
 *
 *     if (!lock.tryTake()) yield* lock.take();
 *     ...
 *     lock.release();
 *
 * A CPU may be ahead of another that could take the lock first: `tryTake` then refuses and `take` lets that one act.
 */
import { ACTIVITY_LOCK_WAIT } from "../../arch/time/cycle-accounts.ts";
import type { EventLoop, KernelCode, Thread } from "../../arch/time/event-loop.ts";
import { PAUSE_SPIN, PAUSE_TURN } from "../../arch/time/event-loop.ts";
import { type LockClass, lockClass } from "./lock-stat.ts";
import { POINT_UNLOCKED } from "./points.ts";

/** What lock operations cost. */
export interface LockCosts {
  /** Taking or releasing a lock whose cache line is at hand. */
  readonly uncontendedCycles: number;
  /**
   * How often the line moves between a release and the next holder's first instruction, when one waits: the release gets the line to write, which
   * takes the copy that the waiter polls; the waiter reads it anew (`queued_spin_lock_slowpath`). Its own store to the word it need not wait for.
   */
  readonly handOverTransfers: number;
}

/** A lock that is handed over in the order in which it was asked for. */
export abstract class Lock {
  readonly name: string;
  /** Statistics, shared by all locks of this name. */
  readonly class: LockClass;

  protected readonly loop: EventLoop;
  protected readonly costs: LockCosts;
  protected readonly uncontendedCycles: number;
  protected held = false;
  protected lastCpu = -1;
  protected takenAtCycles = 0;
  protected freeAtCycles = 0;
  protected holder: Thread | null = null;
  protected readonly queue: Thread[] = [];
  /** When each of these asked. */
  private readonly askedAtCycles: number[] = [];
  /** The line that its word shares with other things; -1 when it has one to itself. */
  protected readonly line: number;

  /** @param line of `SharedLines`, which its word shares with other things; -1 when it has one to itself */
  constructor(name: string, loop: EventLoop, costs: LockCosts, line = -1) {
    this.name = name;
    this.class = lockClass(loop, name);
    this.loop = loop;
    this.costs = costs;
    this.uncontendedCycles = costs.uncontendedCycles;
    this.line = line;
  }

  get isHeld(): boolean {
    return this.held;
  }

  /** The thread that holds it; null when nobody does, or code outside any thread. */
  get owner(): Thread | null {
    return this.held ? this.holder : null;
  }

  /** The CPU that took it last, -1 when none has. */
  get ownerCpu(): number {
    return this.lastCpu;
  }

  /** Whether who waits for it sleeps. */
  get sleeps(): boolean {
    return false;
  }

  /** Takes the lock if that is possible without waiting. */
  tryTake(): boolean {
    if (this.held || this.loop.mustYield(this)) return false;
    this.own();
    return true;
  }

  /**
   * Takes the lock, waiting for it.
   * @throws Error when the thread holds it already (it would wait for ever)
   */
  *take(): KernelCode<void> {
    while (this.mustYield()) yield PAUSE_TURN;
    if (!this.takeFree()) yield* this.takeHeld();
  }

  /** Whether another CPU may act first. A part of {@link take}, as the next two are, for code that takes a lock in this order itself. */
  mustYield(): boolean {
    return this.loop.mustYield(this);
  }

  /** Takes the lock if nobody holds it, once nobody can act first. */
  takeFree(): boolean {
    if (this.held) return false;
    this.own();
    return true;
  }

  /** Waits for a lock that somebody holds, and takes it. @throws as {@link take} */
  *takeHeld(): KernelCode<void> {
    const { loop } = this;
    const thread = this.waitingThread();
    const since = loop.nowCycles();
    const bounced = this.lastCpu !== loop.currentCpu;
    this.queue.push(thread);
    this.askedAtCycles.push(since);
    const activity = loop.enterActivity(ACTIVITY_LOCK_WAIT);
    yield PAUSE_SPIN;
    loop.enterActivity(activity);
    const { class: statistics } = this;
    this.hasWaited(loop.nowCycles() - since, bounced);
    statistics.taken();
    const cpu = loop.currentCpu;
    if (this.lastCpu !== cpu && this.lastCpu >= 0) statistics.bounced();
    this.lastCpu = cpu;
    // What it took to hand the line over was waited for.
    if (this.line >= 0) loop.lines.claim(this.line);
    this.takenAtCycles = loop.nowCycles();
    this.holder = loop.currentThread;
    statistics.watcher?.lockAcquire(this);
  }

  /**
   * Gives the lock back, to the first in the queue if there is one.
   * @throws Error when nobody holds it
   */
  release(): void {
    if (!this.held) throw this.notHeld();
    const { loop, class: statistics } = this;
    if (loop.sharedCores !== null) loop.settleSharedCore();
    const { currentCpu: cpu } = loop;
    const now = loop.clockCycles[cpu];
    statistics.held(now - this.takenAtCycles);
    if (statistics.watcher !== null) statistics.watcher.lockRelease(this);
    // The store that gives it back comes after those before it.
    const storedAt = loop.lines.storedAtCycles[cpu];
    this.freeAtCycles = storedAt > now ? storedAt : now;
    if (this.queue.length === 0) this.held = false;
    else this.handOver(this.freeAtCycles);
    loop.point(POINT_UNLOCKED, this);
  }

  /** When it was given back last: nobody can have it before. */
  get freeSinceCycles(): number {
    return this.freeAtCycles;
  }

  /** Makes it a free lock that `lastCpu` (-1: nobody) gave back at `atCycles`, for saved states. */
  restore(lastCpu: number, atCycles: number): void {
    this.lastCpu = lastCpu;
    this.freeAtCycles = atCycles;
  }

  /** Gives the lock to one of those who wait for it: to the first, who has polled it if the line came before this release, as in `fetch`. */
  protected handOver(nowCycles: number): void {
    const heir = this.queue.shift() as Thread;
    this.holder = heir;
    const { currentCpu } = this.loop;
    const looksAtCycles = (this.askedAtCycles.shift() as number) + this.transferCost(currentCpu, heir.cpu);
    const hasItAtCycles =
      nowCycles > looksAtCycles ? nowCycles + this.handOverCycles(currentCpu, heir.cpu) : looksAtCycles;
    this.loop.wake(heir, hasItAtCycles + this.uncontendedCycles);
  }

  /** From a release by `from` until `to`, which polls the word, sees it and may go on. */
  private handOverCycles(from: number, to: number): number {
    return this.costs.handOverTransfers * this.transferCost(from, to);
  }

  /** Takes a free lock. Most are taken by the CPU that had them last, whose line is at hand: a lock costs the host most by its bytecode. */
  protected own(): void {
    const { loop, class: statistics } = this;
    const { clockCycles, currentCpu: cpu } = loop;
    const { storedAtCycles } = loop.lines;
    if (
      this.lastCpu !== cpu ||
      this.freeAtCycles > clockCycles[cpu] ||
      this.line >= 0 ||
      storedAtCycles[cpu] > clockCycles[cpu]
    )
      this.fetch(cpu);
    this.held = true;
    this.takenAtCycles = clockCycles[cpu] += this.uncontendedCycles;
    statistics.taken();
    // The same thread again in most cases: V8's garbage collector wants to know of each object that is stored.
    if (this.holder !== loop.currentThread) this.holder = loop.currentThread;
    if (statistics.watcher !== null) statistics.watcher.lockAcquire(this);
  }

  /**
   * Fetches the line of a free lock from the CPU that has it. A lock whose release lies in this CPU's future is found to be held if it is not given
   * back by the time the line has come: it is waited for then, and handed over.
   */
  private fetch(cpu: number): void {
    const { loop, class: statistics, lastCpu, line } = this;
    const isOfOtherCpu = lastCpu !== cpu && lastCpu >= 0;
    this.lastCpu = cpu;
    loop.lines.drainStores();
    // The line of a lock alone is only ever written, so that who had it last has it still.
    if (line >= 0) loop.lines.write(line);
    else if (isOfOtherCpu) loop.lines.takeOver(lastCpu, 1);
    const { freeAtCycles } = this;
    if (freeAtCycles > loop.clockCycles[cpu])
      this.waitUntil(isOfOtherCpu ? freeAtCycles + this.handOverCycles(lastCpu, cpu) : freeAtCycles, isOfOtherCpu);
    if (isOfOtherCpu) statistics.bounced();
  }

  /** The current thread, which has to wait for the lock. @throws as {@link take} */
  protected waitingThread(): Thread {
    const thread = this.loop.currentThread;
    if (thread === null) throw new Error(`${this.name} was asked for outside any thread`);
    this.class.watcher?.acquiring(this);
    if (this.held && thread === this.holder)
      throw new Error(`${thread.name} takes ${this.name}, which it holds already`);
    return thread;
  }

  private notHeld(): Error {
    return new Error(`${this.name} is released but not held`);
  }

  /** The current CPU, which is behind, waits until a release that lies in its future. */
  protected waitUntil(atCycles: number, bounced: boolean): void {
    const { loop } = this;
    const cpu = loop.currentCpu;
    this.hasWaited(atCycles - loop.clockCycles[cpu], bounced);
    loop.accounts.within(cpu, ACTIVITY_LOCK_WAIT, atCycles);
    loop.stall(atCycles - loop.clockCycles[cpu]);
  }

  /** Whoever takes the lock has waited for it. */
  protected hasWaited(cycles: number, bounced: boolean): void {
    this.class.waited(cycles, bounced);
  }

  /** What moving a line from one CPU to another costs. */
  protected transferCost(from: number, to: number): number {
    return this.loop.lines.transferCycles[this.loop.topology.distance(from, to)];
  }
}

/** `spinlock_t`: a CPU waits busily, taking interrupts meanwhile if they are on. */
export class SpinLock extends Lock {}
