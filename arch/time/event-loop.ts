/**
 * Time and interleaving. Every CPU has its own cycle clock; the loop always resumes the CPU that can act at the earliest
 * time (ties: the lowest CPU number), so a run is deterministic. Code that may wait is a generator (`KernelCode`), as
 * processes are in discrete-event simulators; between two pauses it runs without interruption.
 *
 * A CPU may run ahead of the others between two pauses. What it shares with them it must touch only when no other CPU
 * could act before it: `mustYield()` says so, and locks (`mm/kernel/lock.ts`) ask. An interrupt that arrives between two pauses is
 * taken when it arrives, by the clock, unless interrupts were off then (`PendingInterrupts.takenAt`): what the code did until its next pause
 * ends later by what the handler took. What the handler changes is seen from the next pause on.
 */
import { ACTIVITY_OTHER, ACTIVITY_SWITCH } from "./cycle-accounts.ts";
import { InterruptedCpus } from "./interrupted-cpus.ts";
import type { StepChooser } from "./step-chooser.ts";
import {
  type CodesInTurn,
  Deadlock,
  type KernelCode,
  nothing,
  PAUSE_COMPUTE,
  PAUSE_RESCHED,
  PAUSE_SLEEP,
  PAUSE_SPIN,
  PAUSE_TURN,
  type Pause,
  type PausedCode,
  pausedWithin,
  Thread,
  TURN_WITHIN,
} from "./thread.ts";
import type { Topology } from "./topology.ts";

export * from "./pending-interrupts.ts";
export * from "./thread.ts";

/** Clocks, threads and interrupts of `cpus` CPUs. */
export class EventLoop extends InterruptedCpus {
  /** What changing from one thread to another costs. */
  contextSwitchCycles = 0;
  /** The thread that runs now; null in an interrupt handler and outside the loop. */
  currentThread: Thread | null = null;
  /** Chooses what happens next in place of the clocks; null: nobody does. Set it between two runs only. */
  chosenSteps: StepChooser | null = null;

  private readonly lastThread: (Thread | null)[];
  /** By CPU: where the thread that runs there paused within its code (`Thread.within`). Most often it goes on there, and is not looked at itself. */
  private readonly within: (PausedCode | null)[];
  /** Threads that sleep until somebody wakes them. */
  readonly sleeping = new Set<Thread>();
  /** The thread in whose name `runSync` runs; one is enough because such calls do not nest. */
  private syncThread = new Thread("sync", 0, 0, nothing());
  private depth = 0;
  /** The current CPU, and what the called one was doing, before the call that `enterSync` began. */
  private outerCpu = 0;
  private outerActivity = 0;

  /**
   * @param cpus 1 to `CPUS_MAX`
   * @param clockCycles where the clocks are kept, one a CPU; by default an array of their own
   */
  constructor(cpus: number, topology?: Topology, clockCycles?: Float64Array) {
    super(cpus, topology, clockCycles);
    this.lastThread = new Array<Thread | null>(cpus).fill(null);
    this.within = new Array<PausedCode | null>(cpus).fill(null);
  }

  /** Whether code that the loop runs, or a call from outside, is under way. */
  get isRunning(): boolean {
    return this.depth > 0;
  }

  /**
   * Whether something can happen before the current CPU's time, so that shared state must not be touched yet.
   * @param subject what is about to be touched, for schedulers
   */
  mustYield(subject?: unknown): boolean {
    return this.clockCycles[this.currentCpu] > this.horizonCycles && this.mustYieldNow(subject);
  }

  private mustYieldNow(subject: unknown): boolean {
    return this.chosenSteps === null || this.chosenSteps.mustYield(subject);
  }

  /**
   * A named point in plain code between two accesses to what CPUs share without a lock: others may act here where a scheduler chooses so.
   * @param subject what the point concerns, for schedulers
   */
  point(name: string, subject?: unknown): void {
    this.chosenSteps?.point(name, subject);
  }

  /** A point in code that runs with interrupts off, where the current CPU takes none. */
  pointIrqsOff(name: string, subject?: unknown): void {
    this.chosenSteps?.pointIrqsOff(name, subject);
  }

  /**
   * Starts a thread on `cpu`; it first runs when the loop runs, and not before the CPU that acted last has come to where it starts it.
   * @param codes what it goes on with once `code` has ended
   * @throws MachineUsageError for a CPU that there is not
   */
  spawn(name: string, cpu: number, code: KernelCode<unknown>, codes: CodesInTurn | null = null): Thread {
    this.topology.checkCpu(cpu);
    if (this.depth === 0) this.beginRun();
    const now = Math.max(this.clockCycles[cpu], this.nowCycles());
    const thread = new Thread(name, cpu, now, code, codes);
    this.enqueue(thread);
    this.refresh(cpu);
    return thread;
  }

  /** Ends a thread's wait at `atCycles` (its CPU's clock may be later). A thread that does not wait is left alone. */
  wake(thread: Thread, atCycles: number): void {
    if (!thread.waiting) return;
    thread.waiting = false;
    thread.deadlineCycles = Number.POSITIVE_INFINITY;
    const { cpu } = thread;
    if (this.running[cpu] === thread) {
      this.pauses[cpu] = PAUSE_TURN;
      this.goesOnCycles[cpu] = atCycles;
    } else {
      thread.readyCycles = atCycles;
      this.sleeping.delete(thread);
      this.enqueue(thread);
    }
    this.refresh(cpu);
  }

  /** A thread is ready to run on its CPU. One that waits busily there may look up. */
  private enqueue(thread: Thread): void {
    this.runQueues.add(thread.cpu, thread);
    const running = this.running[thread.cpu];
    if (running?.givesWay === true) this.wake(running, Math.max(thread.readyCycles, this.clockCycles[thread.cpu]));
  }

  /** Disables interrupts on the current CPU; nests. */
  disableInterrupts(): void {
    this.interrupts.disable(this.currentCpu, this.nowCycles());
  }

  /**
   * Undoes one `disableInterrupts`; interrupts that came meanwhile are taken at the thread's next pause.
   * @throws RangeError when interrupts are on
   */
  enableInterrupts(): void {
    const cpu = this.currentCpu;
    this.interrupts.enable(cpu, this.clockCycles[cpu]);
    this.lookAhead(cpu);
    this.refresh(cpu);
  }

  /** Whether the current thread's CPU has another thread ready to run. */
  needsResched(): boolean {
    return this.runQueues.hasReady(this.currentCpu, this.nowCycles());
  }

  /**
   * Runs `code` on `cpu` to its end and returns its value; other CPUs act only where `code` waits for them. A thread that an
   * earlier call left in the middle of its code on `cpu` may hold locks: it goes on until it leaves the CPU, then `code` begins.
   * @throws whatever `code` throws; Deadlock when it waits for what cannot come; MachineUsageError for a CPU that there is not
   */
  runSync<T>(cpu: number, code: KernelCode<T>): T {
    this.enterSync(cpu);
    try {
      return this.finishSync(code);
    } finally {
      this.leaveSync();
    }
  }

  /**
   * Begins a call from outside on `cpu`, as `runSync` does, for code that is a plain function as long as it need not wait:
   * `finishSync` runs what is left where it has to, `leaveSync` ends the call, whatever happened.
   * @throws as `runSync`, before `code` has begun; then there is nothing to leave
   */
  enterSync(cpu: number): void {
    this.topology.checkCpu(cpu);
    if (this.depth > 0) throw new Error("runSync was called from code that the event loop runs; use yield* there");
    if (this.running[cpu] !== null) this.waitForCpu(cpu);
    this.beginRun();
    this.vcpuScheduler?.take(cpu);
    this.depth++;
    this.outerCpu = this.currentCpu;
    this.outerActivity = this.accounts.current[cpu];
    this.currentCpu = cpu;
    this.horizonCycles = this.ready.earliestExcept(cpu);
    this.syncThread.cpu = cpu;
    this.currentThread = this.syncThread;
    if (this.outerActivity !== ACTIVITY_OTHER) this.accounts.enter(cpu, ACTIVITY_OTHER);
  }

  /** Runs `code` to its end within a call begun with `enterSync`. */
  finishSync<T>(code: KernelCode<T>): T {
    const thread = this.beginSync(code);
    const first = code.next();
    if (first.done) return first.value;
    const { cpu } = thread;
    this.running[cpu] = thread;
    this.within[cpu] = null;
    this.applyPause(cpu, thread, first.value);
    this.sharedCores?.paused(cpu, thread.computeCycles);
    this.refresh(cpu);
    this.stepUntilDone(thread);
    return thread.result as T;
  }

  /** Ends a call begun with `enterSync`. */
  leaveSync(): void {
    const { cpu } = this.syncThread;
    this.sharedCores?.settle(cpu);
    this.depth--;
    this.currentCpu = this.outerCpu;
    this.currentThread = null;
    if (this.accounts.current[cpu] !== this.outerActivity) this.accounts.enter(cpu, this.outerActivity);
  }

  /**
   * Runs until no CPU has anything to do, or `until` returns true.
   * @throws what a thread threw; Deadlock when threads wait for what cannot come
   */
  run(until?: () => boolean): void {
    if (this.depth > 0) throw new Error("run was called from code that the event loop runs");
    this.depth++;
    try {
      while (!until?.()) {
        if (!this.step()) {
          const stuck = [...this.running.filter((thread) => thread !== null), ...this.sleeping];
          if (stuck.length > 0) throw new Deadlock(stuck.map((thread) => thread.name));
          return;
        }
      }
    } finally {
      this.depth--;
      this.currentThread = null;
    }
  }

  /** Gives the thread of calls from outside its code. */
  private beginSync(code: KernelCode<unknown>): Thread {
    const thread = this.syncThread;
    thread.waiting = false;
    thread.done = false;
    thread.begin(code);
    return thread;
  }

  /** Lets the thread that runs on `cpu` go on until it leaves the CPU; threads that are only queued there stay so. */
  private waitForCpu(cpu: number): void {
    const outerCpu = this.currentCpu;
    const thread = this.beginSync(nothing());
    thread.cpu = cpu;
    thread.readyCycles = this.clockCycles[cpu];
    // In the queue, so that `needsResched` tells the thread that runs.
    this.runQueues.addFirst(cpu, thread);
    this.depth++;
    try {
      this.stepUntilDone(thread);
    } finally {
      this.depth--;
      this.currentCpu = outerCpu;
    }
  }

  /** Runs until a call from outside has ended. When it fails, locks may still know its thread: the next call gets another. */
  private stepUntilDone(thread: Thread): void {
    const { cpu } = thread;
    try {
      while (!thread.done) if (!this.step()) throw new Deadlock([thread.name]);
    } finally {
      if (!thread.done) {
        if (this.running[cpu] === thread) {
          this.running[cpu] = null;
          thread.within = this.within[cpu];
        }
        this.sleeping.delete(thread);
        this.runQueues.remove(cpu, thread);
        this.syncThread = new Thread(thread.name, cpu, 0, nothing());
      }
      this.refresh(cpu);
    }
  }

  /** Lets the CPU that is furthest behind act once; false when none can. */
  private step(): boolean {
    if (this.chosenSteps !== null) return this.chosenSteps.step();
    const { ready } = this;
    const cpu = ready.first;
    if (cpu < 0) return false;
    this.currentCpu = cpu;
    if (this.vcpuScheduler?.act(cpu, ready.at[cpu]) === true) {
      this.refresh(cpu);
      return true;
    }
    this.horizonCycles = ready.secondAt;
    this.catchUp(cpu, ready.at[cpu]);
    if (!this.takeInterrupts(cpu, ready.at[cpu])) {
      this.lookAhead(cpu);
      this.resume(cpu);
    }
    this.refresh(cpu);
    return true;
  }

  /** Lets the thread that runs on `cpu`, or one that can begin there, go on, whatever the other clocks say. */
  goOn(cpu: number): void {
    this.catchUp(cpu, this.threadActsAt(cpu));
    this.resume(cpu);
  }

  private resume(cpu: number): void {
    let thread = this.running[cpu];
    if (thread === null) {
      thread = this.runQueues.takeReady(cpu, this.clockCycles[cpu]);
      if (thread === null) return;
      this.switchTo(cpu, thread);
    } else if (this.pauses[cpu] === PAUSE_SPIN) {
      if (this.goesOnCycles[cpu] > this.clockCycles[cpu]) return;
      thread.waiting = false;
    }
    this.currentThread = thread;
    this.pauses[cpu] = PAUSE_TURN;
    try {
      const result = this.goOnWithin(cpu) ?? thread.next();
      if (result === TURN_WITHIN) this.within[cpu] = pausedWithin.code;
      if (result.done) {
        thread.done = true;
        thread.result = result.value;
        this.leave(cpu, thread);
      } else {
        this.applyPause(cpu, thread, result.value);
      }
    } catch (failure) {
      thread.done = true;
      thread.failure = failure;
      this.leave(cpu, thread);
      throw failure;
    } finally {
      this.currentThread = null;
      this.sharedCores?.paused(cpu, thread.computeCycles);
    }
  }

  /** Goes on where the thread that runs on `cpu` paused within its code; null where it did not, or when that has ended. */
  private goOnWithin(cpu: number): IteratorYieldResult<Pause> | null {
    const paused = this.within[cpu];
    if (paused === null) return null;
    const step = paused.goOnAlone();
    this.within[cpu] = step === null ? null : pausedWithin.code;
    return step;
  }

  private switchTo(cpu: number, thread: Thread): void {
    this.running[cpu] = thread;
    this.within[cpu] = thread.within;
    if (this.lastThread[cpu] !== thread) {
      // Idle since the machine began to run, if only for no time: who watches must know that it is not idle now.
      if (this.lastThread[cpu] === null && this.idleCycles[cpu] === 0) this.accounts.idle(cpu, this.clockCycles[cpu]);
      this.lastThread[cpu] = thread;
      if (this.contextSwitchCycles > 0) {
        this.accounts.enter(cpu, ACTIVITY_SWITCH);
        this.clockCycles[cpu] += this.contextSwitchCycles;
      }
    }
    this.accounts.enter(cpu, thread.activity);
  }

  /** The thread no longer runs on `cpu`. */
  private leave(cpu: number, thread: Thread): void {
    this.running[cpu] = null;
    thread.within = this.within[cpu];
    thread.activity = this.accounts.enter(cpu, ACTIVITY_OTHER);
    if (thread.watchers === null) return;
    for (const watcher of thread.watchers) this.wake(watcher, this.seenByCycles(cpu, watcher.cpu));
    thread.watchers = null;
  }

  private applyPause(cpu: number, thread: Thread, pause: Pause): void {
    this.pauses[cpu] = pause;
    this.goesOnCycles[cpu] = this.clockCycles[cpu];
    if (pause === PAUSE_SPIN) {
      thread.waiting = true;
      this.goesOnCycles[cpu] = thread.deadlineCycles;
    } else if (pause === PAUSE_SLEEP) {
      thread.waiting = true;
      this.sleeping.add(thread);
      this.leave(cpu, thread);
    } else if (pause === PAUSE_COMPUTE) {
      this.goesOnCycles[cpu] += thread.computeCycles;
    } else if (pause === PAUSE_RESCHED) {
      thread.readyCycles = this.clockCycles[cpu];
      this.leave(cpu, thread);
      this.enqueue(thread);
      if (thread.cpu !== cpu) this.refresh(thread.cpu);
    }
  }
}
