/**
 * Reader-writer semaphores (`kernel/locking/rwsem.c`, since 5.11): readers share them, a writer has them alone.
 *
 * - A writer that finds it taken spins for a while before it queues (`rwsem_optimistic_spin`): one at a time, the others in a queue of their own (osq), while the
 *   writer that has it runs, or for 10 to 25 us while readers have it. Who spins is in no queue, so that readers go on coming, and takes what comes free before
 *   those who sleep in the queue.
 * - Once somebody is in the queue, readers queue too, unless nobody has it: then they take it before who was woken for it.
 * - A reader at the front of the queue is woken with all readers behind it, past writers (`rwsem_mark_wake`), and has it by then; a writer at the front is
 *   woken and has to take it.
 * - A writer that spins while no writer has it reads its count and its owner over and over (`rwsem_spin_on_owner`, `rwsem_try_write_lock_unqueued`), so that each
 *   reader that comes or goes fetches their lines from there; while a writer has it, it reads the owner only.
 * - Who has waited in the queue for more than 4 ms and finds it taken asks for it to be handed over (`RWSEM_FLAG_HANDOFF`): nobody takes it before that one.
 *
 * Who cannot have it has taken the line of its count all the same, by an addition (a reader) or an exchange that fails. The queue has a lock of its own
 * (`wait_lock`), which lies in the owner's line with the tail of those who spin: who queues, wakes somebody or tries again after a sleep takes it. All who are
 * to be woken are marked under it, one after the other, before the first of them is woken (`wake_up_q`).
 *
 * Left out: that a writer which has asked spins once more before it sleeps, and that spinning ends when the spinner's CPU has something else to run.
 */
import { ACTIVITY_LOCK_WAIT } from "../../arch/time/cycle-accounts.ts";
import { type EventLoop, type KernelCode, PAUSE_SPIN, PAUSE_TURN, type Thread } from "../../arch/time/event-loop.ts";
import { type LockClass, lockClass } from "./lock-stat.ts";
import { OptimisticSpinners } from "./optimistic-spinners.ts";
import { POINT_UNLOCKED } from "./points.ts";
import { RwSemaphoreQueue, type Waiter } from "./rw-semaphore-queue.ts";
import type { FreeRwSemaphore, RwSemaphoreUse } from "./rw-semaphore-use.ts";

/** `rwsem_rspin_threshold`: a writer spins for (20 + readers) / 2 us while readers have it, of whom no more than 30 count. */
const SPIN_HALF_USEC = 20;
const SPIN_READERS_MAX = 30;
const HALF_USEC_NS = 500;

/** Whom a release wakes. */
type Wakes = "any" | "readers" | "read owned";

/** One semaphore. */
export class RwSemaphore {
  readonly name: string;
  readonly sleeps = true;
  /** Statistics, shared by all of this name: of writers, and what readers waited. */
  readonly class: LockClass;
  private readonly loop: EventLoop;
  private readonly use: RwSemaphoreUse;
  private writer: Thread | null = null;
  private readerCount = 0;
  private lastCpu = -1;
  private takenAtCycles = 0;
  /** When a writer gave it back last, and when a reader did: a CPU that is behind cannot have had it before. */
  private writeFreeAtCycles = 0;
  private readFreeAtCycles = 0;
  /** A reader took it last (`RWSEM_READER_OWNED`, which stays when readers go). */
  private isReaderOwned = false;
  /** A writer has spun in vain while readers had it (`RWSEM_NONSPINNABLE`). */
  private isNonspinnable = false;
  private hasHandoff = false;
  private readonly queue: RwSemaphoreQueue;
  private readonly look = (thread: Thread): KernelCode<boolean> => this.spin(thread);
  /** Writers that spin. */
  private readonly spinners: OptimisticSpinners;

  constructor(name: string, loop: EventLoop, use: RwSemaphoreUse) {
    this.name = name;
    this.loop = loop;
    this.use = use;
    this.class = lockClass(loop, name);
    this.queue = new RwSemaphoreQueue(loop, use);
    this.spinners = new OptimisticSpinners(loop, use);
  }

  /** Whether anybody has it. */
  get isHeld(): boolean {
    return this.writer !== null || this.readerCount > 0;
  }

  /** The thread that has it to write; null for none. */
  get owner(): Thread | null {
    return this.writer;
  }

  /** How many have it to read. */
  get readers(): number {
    return this.readerCount;
  }

  /** Threads that sleep until they get it. */
  get waiting(): number {
    return this.queue.length;
  }

  /** What is known of it while nobody has it, for saved states. */
  capture(): FreeRwSemaphore {
    const { lastCpu, writeFreeAtCycles, readFreeAtCycles, isReaderOwned, isNonspinnable } = this;
    return { lastCpu, writeFreeAtCycles, readFreeAtCycles, isReaderOwned, isNonspinnable };
  }

  /** Brings one that nobody has into a captured state. */
  restore(state: FreeRwSemaphore): void {
    this.lastCpu = state.lastCpu;
    this.writeFreeAtCycles = state.writeFreeAtCycles;
    this.readFreeAtCycles = state.readFreeAtCycles;
    this.isReaderOwned = state.isReaderOwned;
    this.isNonspinnable = state.isNonspinnable;
  }

  /** Takes it to read (`down_read`). */
  *downRead(): KernelCode<void> {
    const { loop } = this;
    while (loop.mustYield(this)) yield PAUSE_TURN;
    const isContended = this.writer !== null || this.queue.length > 0;
    if (!isContended) this.addReader();
    else if (this.canSteal) {
      const isFirst = this.readerCount === 0;
      this.addReader();
      if (isFirst) this.wakeQueue("read owned");
    } else yield* this.waitToRead();
  }

  /** Takes it to read if that is possible at once (`down_read_trylock`): nobody has it to write or is in the queue. Nobody may act before. */
  tryDownRead(): boolean {
    this.use.readCount();
    if (this.writer !== null || this.queue.length > 0) return false;
    this.addReader();
    return true;
  }

  /** Gives it back (`up_read`). */
  *upRead(): KernelCode<void> {
    while (this.loop.mustYield(this)) yield PAUSE_TURN;
    this.touchCount();
    this.readFreeAtCycles = Math.max(this.readFreeAtCycles, this.loop.nowCycles());
    if (--this.readerCount > 0) return;
    this.wakeQueue("any");
    this.spinners.lockChanged();
  }

  /** Takes it to write (`down_write`). */
  *downWrite(): KernelCode<void> {
    const { loop } = this;
    while (loop.mustYield(this)) yield PAUSE_TURN;
    const bounced = this.lastCpu !== loop.currentCpu;
    if (!this.isHeld && this.queue.length === 0) {
      const waitedCycles = this.own();
      if (waitedCycles > 0) this.class.waited(waitedCycles, bounced);
      return;
    }
    this.class.watcher?.acquiring(this);
    const since = loop.nowCycles();
    this.touchCount();
    this.use.readOwner();
    const hasIt = this.canSpinOnOwner() && (yield* this.spinners.spin(this.currentThread(), this.look));
    if (!hasIt) yield* this.waitToWrite();
    this.class.waited(loop.nowCycles() - since, bounced);
  }

  /** Gives it back (`up_write`). */
  upWrite(): void {
    this.disown();
    this.wakeQueue("any");
    this.spinners.lockChanged();
    this.loop.point(POINT_UNLOCKED, this);
  }

  /** Goes on as a reader (`downgrade_write`). */
  downgradeWrite(): void {
    this.disown();
    this.readerCount++;
    this.isReaderOwned = true;
    this.wakeQueue("read owned");
    this.spinners.lockChanged();
    this.loop.point(POINT_UNLOCKED, this);
  }

  /** The thread that has it to write is about to sleep: nobody spins any longer for it to give it back (`owner_on_cpu`). */
  ownerSleeps(): void {
    this.spinners.lockChanged();
  }

  /** Whether a reader that finds somebody in the queue takes it all the same: nobody has it, or a writer took it last whom readers followed. */
  private get canSteal(): boolean {
    const isReaders = this.isReaderOwned && this.readerCount > 0;
    return this.writer === null && !this.hasHandoff && !isReaders;
  }

  private addReader(): void {
    const waitedCycles = this.comesAfter(this.writeFreeAtCycles);
    if (waitedCycles > 0) this.class.waited(waitedCycles, true);
    this.readerCount++;
    this.isReaderOwned = true;
    this.touchCount();
    this.touchOwner();
  }

  /** The current thread has it to write. Returns the cycles that its CPU, which was behind, waited for that. */
  private own(): number {
    const { loop, class: statistics } = this;
    this.writer = loop.currentThread;
    const waitedCycles = this.comesAfter(Math.max(this.writeFreeAtCycles, this.readFreeAtCycles));
    this.isReaderOwned = false;
    this.isNonspinnable = false;
    this.touchCount();
    this.touchOwner();
    statistics.taken();
    if (this.lastCpu !== loop.currentCpu && this.lastCpu >= 0) statistics.bounced();
    this.lastCpu = loop.currentCpu;
    this.takenAtCycles = loop.nowCycles();
    statistics.watcher?.lockAcquire(this);
    return waitedCycles;
  }

  /** Whoever has it to write has it no more. */
  private disown(): void {
    const { loop, class: statistics } = this;
    if (this.writer === null) throw new Error(`${this.name} is given back by a writer, but none has it`);
    this.touchOwner();
    this.use.clearCount();
    this.writer = null;
    this.writeFreeAtCycles = loop.nowCycles();
    statistics.held(this.writeFreeAtCycles - this.takenAtCycles);
    statistics.watcher?.lockRelease(this);
  }

  /** Who takes it on a CPU that is behind waits until it was given back: for so many cycles. */
  private comesAfter(atCycles: number): number {
    const { loop } = this;
    const cpu = loop.currentCpu;
    const cycles = atCycles - loop.clockCycles[cpu];
    if (cycles <= 0) return 0;
    loop.accounts.within(cpu, ACTIVITY_LOCK_WAIT, atCycles);
    loop.stall(cycles);
    return cycles;
  }

  private enqueue(isWriter: boolean): Waiter {
    const waiter = this.queue.add(this.currentThread(), isWriter);
    this.touchQueue();
    return waiter;
  }

  private *waitToRead(): KernelCode<void> {
    const wasEmpty = this.queue.length === 0;
    const since = this.loop.nowCycles();
    this.touchCount();
    this.use.readOwner();
    const waiter = this.enqueue(false);
    this.touchCount();
    if (!this.isHeld || (this.writer === null && wasEmpty)) this.markWake("any");
    if (waiter.isGranted) return;
    this.class.watcher?.acquiring(this);
    yield* this.queue.sleep(waiter);
    this.class.waited(this.loop.nowCycles() - since, true);
  }

  private *waitToWrite(): KernelCode<void> {
    const waiter = this.enqueue(true);
    this.touchCount();
    if (this.queue.first !== waiter && this.writer === null) this.markWake(this.readerCount > 0 ? "readers" : "any");
    while (!this.tryWriteLock(waiter)) {
      yield* this.queue.sleep(waiter);
      this.touchQueue();
    }
  }

  /** `rwsem_try_write_lock`: for who is in the queue. */
  private tryWriteLock(waiter: Waiter): boolean {
    const { first } = this.queue;
    if (this.hasHandoff) {
      if (first?.hasAsked === true && waiter !== first) return false;
      if (waiter === first) waiter.hasAsked = true;
    }
    if (this.isHeld) {
      if (this.hasHandoff || !this.queue.hasTimedOut(waiter)) return false;
      this.hasHandoff = true;
      waiter.hasAsked = true;
      return false;
    }
    this.hasHandoff = false;
    this.queue.remove(waiter);
    this.own();
    this.spinners.lockChanged();
    return true;
  }

  private markWake(wakes: Wakes): void {
    const { queue } = this;
    const { first } = queue;
    if (first === null) return;
    if (wakes === "any" && !this.isHeld) this.isNonspinnable = false;
    if (first.isWriter) {
      if (wakes !== "any") return;
      this.use.marks(first.thread);
      queue.wake(first);
      return;
    }
    if (wakes !== "read owned" && this.writer !== null) {
      if (!this.queue.hasTimedOut(first)) return;
      this.hasHandoff = true;
      first.hasAsked = true;
      return;
    }
    const readers = queue.takeReaders();
    this.isReaderOwned = true;
    this.hasHandoff = false;
    this.readerCount += readers.length;
    this.touchCount();
    for (const reader of readers) {
      reader.isGranted = true;
      this.use.marks(reader.thread);
    }
    for (const reader of readers) queue.wake(reader);
  }

  /** Whoever gives it back, or has become one of its readers, sees to those in the queue if there are any (`rwsem_wake`, `rwsem_downgrade_wake`). */
  private wakeQueue(wakes: Wakes): void {
    if (this.queue.length === 0) return;
    this.touchQueue();
    this.markWake(wakes);
  }

  /** `rwsem_can_spin_on_owner`. */
  private canSpinOnOwner(): boolean {
    if (this.loop.needsResched() || this.isNonspinnable) return false;
    return this.writer === null || this.isRunning(this.writer);
  }

  private isRunning(thread: Thread): boolean {
    return this.loop.running[thread.cpu] === thread;
  }

  /** Looks at it until the thread has it to write; false when that is given up. */
  private *spin(thread: Thread): KernelCode<boolean> {
    const { loop } = this;
    let givesUpAt = Number.POSITIVE_INFINITY;
    while (true) {
      if (this.isNonspinnable) return false;
      if (this.writer !== null) {
        if (!this.isRunning(this.writer)) return false;
        givesUpAt = Number.POSITIVE_INFINITY;
      } else if (this.readerCount === 0 && !this.hasHandoff) {
        this.own();
        return true;
      } else if (givesUpAt === Number.POSITIVE_INFINITY) {
        givesUpAt = loop.nowCycles() + this.spinCycles();
      } else if (loop.nowCycles() >= givesUpAt) {
        this.isNonspinnable = this.isReaderOwned;
        return false;
      }
      thread.deadlineCycles = givesUpAt;
      yield PAUSE_SPIN;
    }
  }

  private spinCycles(): number {
    const halfUsec = SPIN_HALF_USEC + Math.min(this.readerCount, SPIN_READERS_MAX);
    return halfUsec * HALF_USEC_NS * this.use.frequencyGhz;
  }

  /** An atomic operation on the count, which a writer that spins reads then. */
  private touchCount(): void {
    this.use.touchCount();
    const { looking } = this.spinners;
    if (looking !== null && this.writer === null) this.use.pollCount(looking.cpu);
  }

  /** The owner is noted, which a writer that spins reads then. */
  private touchOwner(): void {
    this.use.touchOwner();
    const { looking } = this.spinners;
    if (looking !== null) this.use.pollOwner(looking.cpu);
  }

  /** The lock of the queue is taken and given back, in the line of the owner, which a writer that spins reads then. */
  private touchQueue(): void {
    this.use.touchQueue();
    const { looking } = this.spinners;
    if (looking !== null) this.use.pollOwner(looking.cpu);
  }

  private currentThread(): Thread {
    const { currentThread } = this.loop;
    if (currentThread === null) throw new Error(`${this.name} was asked for outside any thread`);
    return currentThread;
  }
}
