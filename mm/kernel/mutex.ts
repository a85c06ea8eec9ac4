/**
 * `struct mutex` (`kernel/locking/mutex.c`, as since 5.14; its word says who has it, so that it is free or somebody's at any time).
 *
 * - Who finds it taken spins as long as the thread that has it runs on a CPU and no other thread wants the spinner's own (`mutex_optimistic_spin`): the first
 *   looks at the word, each other one at the one before it (osq). Who spins is in no queue, and takes what comes free before those who sleep.
 * - Else it goes to the end of the queue and sleeps. A release wakes the first (`wake_q`), which has to take the mutex like anybody else.
 * - If somebody else has it by then, the first asks for it to be handed over (`MUTEX_FLAG_HANDOFF`) and spins beside the others (outside of osq): the next
 *   release makes it the first one's, whether that one runs or not (`MUTEX_FLAG_PICKUP`).
 *
 * Word, `wait_lock`, osq and the queue's head are one line (32 bytes), which whoever asks in vain takes from who has it; a CPU that looks at the word has a copy,
 * so that each change moves the line. What waking costs, `wake-up.ts` says.
 *
 * Left out: that those who wait for their turn to look give way to other threads of their CPUs, and that a host which runs a guest's vCPU no more
 * (`vcpu_is_preempted`) ends spinning.
 */
import { ACTIVITY_LOCK_WAIT } from "../../arch/time/cycle-accounts.ts";
import {
  type EventLoop,
  type KernelCode,
  PAUSE_RESCHED,
  PAUSE_SLEEP,
  PAUSE_SPIN,
  PAUSE_TURN,
  type Thread,
} from "../../arch/time/event-loop.ts";
import { Lock, type LockCosts } from "./lock.ts";
import { OptimisticSpinners } from "./optimistic-spinners.ts";
import { goToSleep, markForWakeUp, spendOnWakeUp, tryToWakeUp, wakingKernelOf } from "./wake-up.ts";

/** A thread in the queue (`struct mutex_waiter`). */
interface Waiter {
  readonly thread: Thread;
  isAsleep: boolean;
  /** It has come to be the first, and looks at the word. */
  isLooking: boolean;
  /** The CPU that has woken it; -1 for none yet. */
  wokenBy: number;
}

/** A lock that is slept for. In no kernel (`wakesThreads`), waking costs nothing. */
export class Mutex extends Lock {
  /** Those who sleep for it or have been woken, in the order in which they came. */
  private readonly waiters: Waiter[] = [];
  private readonly spinners: OptimisticSpinners;
  private hasHandoff = false;
  /** Whom it was handed over to, who has not noticed yet. */
  private heir: Thread | null = null;
  /** The CPU that has the line, since somebody has come for it in vain; -1: the one that took the mutex last. */
  private lineCpu = -1;
  private lineUntilCycles = 0;
  private readonly look = (thread: Thread): KernelCode<boolean> => this.spinOnOwner(thread);

  constructor(name: string, loop: EventLoop, costs: LockCosts) {
    super(name, loop, costs);
    this.spinners = new OptimisticSpinners(loop, {
      touchSpinners: () => this.touch(),
      seenAfterCycles: (from, to) => this.uncontendedCycles + this.transferCost(from, to),
    });
  }

  override get sleeps(): boolean {
    return true;
  }

  /** Waits for the mutex, which somebody has, and takes it (`__mutex_lock_common`). @throws as `take` */
  override *takeHeld(): KernelCode<void> {
    const { loop, queue } = this;
    const thread = this.waitingThread();
    const since = loop.nowCycles();
    const bounced = this.lastCpu !== loop.currentCpu;
    const activity = loop.enterActivity(ACTIVITY_LOCK_WAIT);
    queue.push(thread);
    // The exchange that fails takes the line all the same (`__mutex_trylock_fast`).
    this.touch();
    const hasIt = this.canSpinOnOwner() && (yield* this.spinners.spin(thread, this.look));
    if (!hasIt) yield* this.wait(thread);
    queue.splice(queue.indexOf(thread), 1);
    this.hasWaited(loop.nowCycles() - since, bounced);
    loop.enterActivity(activity);
  }

  override restore(lastCpu: number, atCycles: number): void {
    super.restore(lastCpu, atCycles);
    this.lineCpu = -1;
    this.lineUntilCycles = 0;
  }

  /** Takes the free mutex, or one that was handed over to the current thread. */
  protected override own(): void {
    const { loop, lastCpu } = this;
    const cpu = loop.currentCpu;
    this.heir = null;
    if (this.lineCpu >= 0) {
      const isOfOtherCpu = lastCpu !== cpu && lastCpu >= 0;
      if (this.freeAtCycles > loop.nowCycles()) this.waitUntil(this.freeAtCycles, isOfOtherCpu);
      this.fetchLine();
      if (isOfOtherCpu) this.class.bounced();
      this.lastCpu = cpu;
      this.lineCpu = -1;
    }
    super.own();
    this.lineUntilCycles = loop.nowCycles();
  }

  /** The word is given back, and the first of the queue woken (`__mutex_unlock_slowpath`). */
  protected override handOver(): void {
    const { loop } = this;
    const [first] = this.waiters;
    if (!this.hasHandoff) {
      this.touch();
      this.held = false;
      this.freeAtCycles = loop.nowCycles();
      this.wordChanged();
      if (first === undefined) return;
    }
    this.touch();
    const kernel = wakingKernelOf(loop);
    if (kernel !== null) markForWakeUp(kernel, first.thread);
    if (this.hasHandoff) {
      this.hasHandoff = false;
      this.heir = first.thread;
      this.holder = first.thread;
      this.freeAtCycles = loop.nowCycles();
      this.wordChanged();
    }
    this.lineUntilCycles = loop.nowCycles();
    if (!first.isAsleep) return;
    first.isAsleep = false;
    first.wokenBy = loop.currentCpu;
    if (kernel !== null) tryToWakeUp(kernel, first.thread, true);
    loop.wake(first.thread, loop.nowCycles());
  }

  /** In the queue, asleep but for its head, until the thread has it. */
  private *wait(thread: Thread): KernelCode<void> {
    const { loop, waiters } = this;
    if (loop.needsResched()) yield PAUSE_RESCHED;
    while (this.mustYield()) yield PAUSE_TURN;
    this.touch();
    if (this.takeFree()) return;
    const waiter: Waiter = { thread, isAsleep: false, isLooking: false, wokenBy: -1 };
    waiters.push(waiter);
    while (!this.takeAs(thread)) {
      yield* this.sleep(waiter);
      if (this.takeAs(thread)) break;
      if (waiters[0] === waiter && (yield* this.waitAsFirst(waiter))) break;
      this.touch();
    }
    // Under `wait_lock` once more.
    this.touch();
    waiters.splice(waiters.indexOf(waiter), 1);
    if (waiters.length === 0) this.hasHandoff = false;
  }

  /** The first of the queue, which finds it taken, asks for it to be handed over and looks at it while its owner runs. */
  private *waitAsFirst(waiter: Waiter): KernelCode<boolean> {
    if (this.heir === null && !this.hasHandoff) {
      this.touch();
      this.hasHandoff = true;
    }
    waiter.isLooking = true;
    const hasIt = yield* this.spinOnOwner(waiter.thread);
    waiter.isLooking = false;
    return hasIt;
  }

  /** Takes it if it is free, or was handed over to the thread (`__mutex_trylock`). */
  private takeAs(thread: Thread): boolean {
    if (this.held && this.heir !== thread) return false;
    this.own();
    return true;
  }

  private *sleep(waiter: Waiter): KernelCode<void> {
    const { loop } = this;
    const kernel = wakingKernelOf(loop);
    const switched = kernel === null ? 0 : goToSleep(kernel);
    waiter.isAsleep = true;
    yield PAUSE_SLEEP;
    if (kernel !== null) spendOnWakeUp(kernel, switched, waiter.wokenBy);
    while (this.mustYield()) yield PAUSE_TURN;
  }

  /** `mutex_can_spin_on_owner`. */
  private canSpinOnOwner(): boolean {
    return !this.loop.needsResched() && this.ownerRuns();
  }

  /** Whether nobody has it, or a thread that runs. Code outside any thread counts as running. */
  private ownerRuns(): boolean {
    const { owner, loop } = this;
    return owner === null || loop.running[owner.cpu] === owner;
  }

  /** Looks at the word until the thread has it; false when that is given up (`mutex_spin_on_owner`). */
  private *spinOnOwner(thread: Thread): KernelCode<boolean> {
    for (;;) {
      while (this.mustYield()) yield PAUSE_TURN;
      if (this.takeAs(thread)) return true;
      if (!this.ownerRuns() || this.loop.needsResched()) return false;
      yield* this.watchOwner(thread);
    }
  }

  /** Spins until the word changes, its owner leaves its CPU, or the spinner's CPU has another thread to run. */
  private *watchOwner(thread: Thread): KernelCode<void> {
    const { owner } = this;
    if (owner !== null) owner.watchers = [...(owner.watchers ?? []), thread];
    thread.givesWay = true;
    yield PAUSE_SPIN;
    thread.givesWay = false;
    if (owner !== null && owner.watchers !== null) owner.watchers = owner.watchers.filter((each) => each !== thread);
  }

  /** Those who look at the word see that it has changed. */
  private wordChanged(): void {
    this.spinners.lockChanged();
    const [first] = this.waiters;
    if (first?.isLooking !== true) return;
    const { loop } = this;
    const { thread } = first;
    loop.wake(thread, loop.nowCycles() + this.uncontendedCycles + this.transferCost(loop.currentCpu, thread.cpu));
  }

  /** The current CPU gets the line and does one thing to it: an atomic operation on the word, osq, or `wait_lock` with what it guards. */
  private touch(): void {
    this.fetchLine();
    this.loop.spend(this.uncontendedCycles);
    this.lineUntilCycles = this.loop.nowCycles();
  }

  /** The line comes to the current CPU, after those who asked for it before: from who wrote it last, and from those who look at it. */
  private fetchLine(): void {
    const { loop, waiters } = this;
    const from = this.lineCpu >= 0 ? this.lineCpu : this.lastCpu;
    let cycles = this.transferTo(from);
    const { looking } = this.spinners;
    if (looking !== null) cycles = Math.max(cycles, this.transferTo(looking.cpu));
    if (waiters[0]?.isLooking === true) cycles = Math.max(cycles, this.transferTo(waiters[0].thread.cpu));
    loop.lines.waitFor(Math.max(0, this.lineUntilCycles - loop.nowCycles()) + cycles);
    this.lineCpu = loop.currentCpu;
  }

  private transferTo(from: number): number {
    const { currentCpu } = this.loop;
    return from < 0 || from === currentCpu ? 0 : this.transferCost(from, currentCpu);
  }
}
