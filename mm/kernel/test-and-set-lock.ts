/**
 * Spinlocks as a kernel takes them that believes in a hypervisor below it which cannot help its locks (`virt_spin_lock` of
 * `arch/x86/include/asm/qspinlock.h`): test and set. There is no queue. Who asks tries once (`queued_spin_lock`: a locked compare-and-exchange, which
 * takes the line even when it fails), then polls its copy of the word. A release takes all copies; each waiter reads the word anew, which takes as
 * long as the line is far, and who sees it free first tries to set it. Who sees it free before the winner has the line tries too, in vain, and takes
 * the line once more. So whoever is nearest to the last holder wins, that CPU itself above all, and another may wait for ever.
 *
 * Waiters as near as each other read the word one a cycle, who waits longest first; on silicon chance decides. A waiter reads as soon as its copy is
 * gone: how long its PAUSE takes is left out, as it is for the head of a queued lock.
 */
import { ACTIVITY_LOCK_WAIT } from "../../arch/time/cycle-accounts.ts";
import { type KernelCode, PAUSE_SPIN, PAUSE_TURN, type Thread } from "../../arch/time/event-loop.ts";
import { SpinLock } from "./lock.ts";

const NEVER = Number.POSITIVE_INFINITY;

/** One that waits. */
interface Poller {
  readonly thread: Thread;
  readonly cpu: number;
  /** When it sees the word free, if nobody takes the lock before; infinity while the word is set. */
  seesAtCycles: number;
  /** When it saw the word free and tried, if somebody else has set it by the time the try is served; infinity otherwise. */
  lateAtCycles: number;
}

/** A spinlock that is taken by test and set. */
export class TestAndSetLock extends SpinLock {
  /** Those who wait, longest first. */
  private readonly pollers: Poller[] = [];
  /** The CPU that got the line last for itself, and when it had it: for a word that has its line to itself. */
  private wordCpu = -1;
  private wordUntilCycles = 0;
  /** By distance: how many of the pollers before one are as far from the last holder. */
  private readonly nearer = new Uint32Array(8);

  /** Takes the lock if that is possible without waiting. A release that lies in this CPU's future is none yet. */
  override tryTake(): boolean {
    return !this.isSet() && super.tryTake();
  }

  override takeFree(): boolean {
    return !this.isSet() && super.takeFree();
  }

  /** Waits for the lock, which is set or set until a time that this CPU has not come to, and takes it. @throws as {@link take} */
  override *takeHeld(): KernelCode<void> {
    const { loop } = this;
    const thread = this.waitingThread();
    const since = loop.nowCycles();
    const bounced = this.lastCpu !== loop.currentCpu;
    const activity = loop.enterActivity(ACTIVITY_LOCK_WAIT);
    const poller = { thread, cpu: loop.currentCpu, seesAtCycles: NEVER, lateAtCycles: NEVER };
    this.tryInVain(poller.cpu);
    this.queue.push(thread);
    this.pollers.push(poller);
    if (!this.held) this.lookAnew();
    yield* this.poll(poller);
    const place = this.pollers.indexOf(poller);
    this.pollers.splice(place, 1);
    this.queue.splice(place, 1);
    this.own();
    this.hasWaited(this.takenAtCycles - since, bounced);
    loop.enterActivity(activity);
  }

  /** Polls the word until the current CPU sees it free. */
  private *poll(poller: Poller): KernelCode<void> {
    const { loop, line } = this;
    const { thread, cpu } = poller;
    for (;;) {
      while (this.mustYield()) yield PAUSE_TURN;
      const now = loop.nowCycles();
      const isLate = poller.lateAtCycles < NEVER;
      if (isLate && poller.lateAtCycles <= now) {
        poller.lateAtCycles = NEVER;
        this.tryInVain(cpu);
        continue;
      }
      if (!this.held && !isLate && (loop.chosenSteps !== null || poller.seesAtCycles <= now)) return;
      if (line >= 0) loop.lines.poll(line, cpu);
      thread.deadlineCycles = isLate ? poller.lateAtCycles : poller.seesAtCycles;
      yield PAUSE_SPIN;
      thread.deadlineCycles = NEVER;
    }
  }

  /** Those who wait see that the word is free, each when it has read it. */
  protected override handOver(nowCycles: number): void {
    const { loop, line } = this;
    this.held = false;
    // The store of the release had to have the line.
    if (line >= 0) loop.lines.claim(line);
    this.lookAnew();
    for (const { thread, seesAtCycles, lateAtCycles } of this.pollers) {
      // Who was late acts when it saw the word free the last time.
      if (lateAtCycles === NEVER) loop.wake(thread, Math.max(nowCycles, seesAtCycles));
    }
  }

  /** Says when each of those who wait sees the word free that is given back at a time which is known. */
  private lookAnew(): void {
    const { loop, lastCpu, nearer, freeAtCycles } = this;
    nearer.fill(0);
    for (const poller of this.pollers) {
      const distance = loop.topology.distance(lastCpu, poller.cpu);
      const rank = nearer[distance]++;
      poller.seesAtCycles = freeAtCycles + loop.lines.transferCycles[distance] + rank;
    }
  }

  /** Sets the free word: its line comes from the CPU that gave it back. Others who have seen it free by then are too late. */
  protected override own(): void {
    const { loop, line, lastCpu, class: statistics } = this;
    const { clockCycles, currentCpu: cpu } = loop;
    loop.lines.drainStores();
    if (line >= 0) loop.lines.write(line);
    else this.fetchWord(cpu, lastCpu);
    const now = clockCycles[cpu];
    for (const poller of this.pollers) {
      if (poller.seesAtCycles < now) poller.lateAtCycles = poller.seesAtCycles;
      poller.seesAtCycles = NEVER;
    }
    if (lastCpu !== cpu && lastCpu >= 0) statistics.bounced();
    this.lastCpu = cpu;
    this.held = true;
    this.takenAtCycles = clockCycles[cpu] += this.uncontendedCycles;
    statistics.taken();
    this.holder = loop.currentThread;
    statistics.watcher?.lockAcquire(this);
  }

  /**
   * Whether the current CPU finds the word set: it is, or will be until a time that is not yet. A chosen schedule has no times. Who gave it back itself
   * finds it free: that store is done before its next locked instruction.
   */
  private isSet(): boolean {
    const { loop } = this;
    const { currentCpu: cpu } = loop;
    return (
      this.held || (loop.chosenSteps === null && this.lastCpu !== cpu && this.freeAtCycles > loop.clockCycles[cpu])
    );
  }

  /** The current CPU tries to set a word that is set, which takes the line and nothing else. The release, if it is known, takes the line back. */
  private tryInVain(cpu: number): void {
    const { loop, line } = this;
    if (line < 0) {
      this.fetchWord(cpu, this.wordCpu);
      return;
    }
    loop.lines.write(line);
    if (!this.held) loop.lines.giveBack(line, this.lastCpu);
  }

  /** The line of the word alone comes to `cpu` from `from` (-1: from nobody), after those who asked for it before. */
  private fetchWord(cpu: number, from: number): void {
    const { loop } = this;
    const queued = Math.max(0, this.wordUntilCycles - loop.clockCycles[cpu]);
    loop.lines.waitFor(queued + (from < 0 || from === cpu ? 0 : this.transferCost(from, cpu)));
    this.wordCpu = cpu;
    this.wordUntilCycles = loop.clockCycles[cpu];
  }
}
