/**
 * Time and interleaving. Every CPU has its own cycle clock; the loop always resumes the CPU that can act at the earliest
 * time (ties: the lowest CPU number), so a run is deterministic. Code that may wait is a generator (`KernelCode`), as
 * processes are in discrete-event simulators; between two pauses it runs without interruption.
 *
 * A CPU may run ahead of the others between two pauses. What it shares with them it must touch only when no other CPU
 * could act before it: `mustYield()` says so, and locks (`mm/lock.ts`) ask.
 */

/** Pause: another CPU may act before this one; go on when this CPU is the furthest behind. */
export const PAUSE_TURN = 0;
/** Pause: busy-wait until `wake`; interrupts are taken meanwhile when they are on. */
export const PAUSE_SPIN = 1;
/** Pause: sleep until `wake`; the CPU runs its other threads meanwhile. */
export const PAUSE_SLEEP = 2;
/** Pause: let the CPU's other ready threads run first (`cond_resched`). */
export const PAUSE_RESCHED = 3;

/** Why a thread gave up its CPU. */
export type Pause = typeof PAUSE_TURN | typeof PAUSE_SPIN | typeof PAUSE_SLEEP | typeof PAUSE_RESCHED;

/** Code that may wait; its value is the generator's return value. */
export type KernelCode<T> = Generator<Pause, T, void>;

/** What an interrupt does when it is taken, on the CPU that takes it. It cannot wait. */
export type InterruptHandler = (cpu: number) => void;

interface PendingInterrupt {
  readonly arrivalCycles: number;
  readonly handler: InterruptHandler;
}

/** A thread of execution, tied to one CPU until it migrates itself. */
export class Thread {
  readonly name: string;
  /** The CPU that runs it. */
  cpu: number;
  /** Earliest time at which it can go on. */
  readyCycles: number;
  /** Whether it waits for `wake`. */
  waiting = false;
  done = false;
  /** What its code returned, once it is done. */
  result: unknown = undefined;
  /** What its code threw, when it ended that way. */
  failure: unknown = undefined;
  code: KernelCode<unknown>;

  constructor(name: string, cpu: number, readyCycles: number, code: KernelCode<unknown>) {
    this.name = name;
    this.cpu = cpu;
    this.readyCycles = readyCycles;
    this.code = code;
  }
}

/** The machine has come to a state in which nothing can ever happen again although somebody still waits. */
export class Deadlock extends Error {
  override readonly name = "Deadlock";
  readonly waiting: readonly string[];
  constructor(waiting: readonly string[]) {
    super(`every CPU is idle but ${waiting.join(", ")} still wait(s)`);
    this.waiting = waiting;
  }
}

/** Clocks, threads and interrupts of `cpus` CPUs. */
export class EventLoop {
  readonly cpus: number;
  /** Each CPU's cycle clock. */
  readonly clockCycles: Float64Array;
  /** Cycles each CPU spent with nothing to run. */
  readonly idleCycles: Float64Array;
  /** Cycles each CPU spent busy-waiting. */
  readonly spinCycles: Float64Array;
  /** The CPU whose code runs now. */
  currentCpu = 0;
  /** The thread that runs now; null in an interrupt handler and outside the loop. */
  currentThread: Thread | null = null;
  /** Earliest time at which another CPU than the current one can act. */
  horizonCycles = Number.POSITIVE_INFINITY;

  /** When each CPU can act next; infinite for one with nothing to do. */
  private readonly readyAt: Float64Array;
  private readonly irqsOff: Int32Array;
  private readonly running: (Thread | null)[];
  private readonly runQueues: Thread[][];
  private readonly interrupts: PendingInterrupt[][];
  /** The thread in whose name `runSync` runs; one is enough because such calls do not nest. */
  private readonly syncThread = new Thread("sync", 0, 0, nothing());
  private readyCpus = 0;
  private depth = 0;

  /** @param cpus 1 to 4096 */
  constructor(cpus: number) {
    if (!Number.isInteger(cpus) || cpus < 1 || cpus > 4096) {
      throw new RangeError(`${cpus} CPUs: expected a whole number from 1 to 4096`);
    }
    this.cpus = cpus;
    this.clockCycles = new Float64Array(cpus);
    this.idleCycles = new Float64Array(cpus);
    this.spinCycles = new Float64Array(cpus);
    this.readyAt = new Float64Array(cpus).fill(Number.POSITIVE_INFINITY);
    this.irqsOff = new Int32Array(cpus);
    this.running = new Array<Thread | null>(cpus).fill(null);
    this.runQueues = Array.from({ length: cpus }, () => []);
    this.interrupts = Array.from({ length: cpus }, () => []);
  }

  /** Advances the current CPU's clock. */
  spend(cycles: number): void {
    this.clockCycles[this.currentCpu] += cycles;
  }

  /** The current CPU's clock. */
  nowCycles(): number {
    return this.clockCycles[this.currentCpu];
  }

  /** Whether another CPU can act before the current one, so that shared state must not be touched yet. */
  mustYield(): boolean {
    return this.clockCycles[this.currentCpu] > this.horizonCycles;
  }

  /** Starts a thread on `cpu`; it first runs when the loop runs. */
  spawn(name: string, cpu: number, code: KernelCode<unknown>): Thread {
    const now = Math.max(this.clockCycles[cpu], this.depth > 0 ? this.nowCycles() : 0);
    const thread = new Thread(name, cpu, now, code);
    this.runQueues[cpu].push(thread);
    this.refresh(cpu);
    return thread;
  }

  /** Ends a thread's wait at `atCycles` (its CPU's clock may be later). A thread that does not wait is left alone. */
  wake(thread: Thread, atCycles: number): void {
    if (!thread.waiting) return;
    thread.waiting = false;
    thread.readyCycles = atCycles;
    if (this.running[thread.cpu] !== thread) this.runQueues[thread.cpu].push(thread);
    this.refresh(thread.cpu);
  }

  /** Sends an interrupt that reaches `cpu` at `arrivalCycles`; it is taken then, or as soon as interrupts are on. */
  postInterrupt(cpu: number, arrivalCycles: number, handler: InterruptHandler): void {
    const queue = this.interrupts[cpu];
    let at = queue.length;
    while (at > 0 && queue[at - 1].arrivalCycles > arrivalCycles) at--;
    queue.splice(at, 0, { arrivalCycles, handler });
    this.refresh(cpu);
  }

  /** Disables interrupts on the current CPU; nests. */
  disableInterrupts(): void {
    this.irqsOff[this.currentCpu]++;
  }

  /** Undoes one `disableInterrupts`; interrupts that came meanwhile are taken at the thread's next pause. */
  enableInterrupts(): void {
    if (--this.irqsOff[this.currentCpu] === 0) this.refresh(this.currentCpu);
  }

  /** Whether the current thread's CPU has another thread ready to run. */
  needsResched(): boolean {
    return this.runQueues[this.currentCpu].length > 0;
  }

  /**
   * Runs `code` on `cpu` to its end and returns its value; other CPUs act only where `code` waits for them.
   * @throws whatever `code` throws; Deadlock when it waits for what cannot come
   */
  runSync<T>(cpu: number, code: KernelCode<T>): T {
    if (this.depth > 0) throw new Error("runSync was called from code that the event loop runs; use yield* there");
    const outer = this.currentCpu;
    this.depth++;
    this.currentCpu = cpu;
    this.horizonCycles = this.readyCpus === 0 ? Number.POSITIVE_INFINITY : this.earliestExcept(cpu);
    const thread = this.syncThread;
    thread.cpu = cpu;
    thread.waiting = false;
    thread.done = false;
    thread.code = code;
    this.currentThread = thread;
    try {
      const first = code.next();
      if (first.done) return first.value;
      return this.finishSync(cpu, first.value) as T;
    } finally {
      this.depth--;
      this.currentCpu = outer;
      this.currentThread = null;
    }
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
          const waiting = this.running.filter((thread) => thread !== null).map((thread) => thread.name);
          if (waiting.length > 0) throw new Deadlock(waiting);
          return;
        }
      }
    } finally {
      this.depth--;
      this.currentThread = null;
    }
  }

  private finishSync(cpu: number, firstPause: Pause): unknown {
    const thread = this.syncThread;
    const displaced = this.running[cpu];
    this.running[cpu] = thread;
    this.applyPause(cpu, thread, firstPause);
    this.refresh(cpu);
    try {
      while (!thread.done) if (!this.step()) throw new Deadlock([thread.name]);
    } finally {
      this.running[cpu] = displaced;
      this.refresh(cpu);
    }
    return thread.result;
  }

  /** Lets the CPU that is furthest behind act once; false when none can. */
  private step(): boolean {
    if (this.readyCpus === 0) return false;
    const { readyAt } = this;
    let cpu = -1;
    let earliest = Number.POSITIVE_INFINITY;
    let second = Number.POSITIVE_INFINITY;
    for (let i = 0; i < this.cpus; i++) {
      const at = readyAt[i];
      if (at < earliest) {
        second = earliest;
        earliest = at;
        cpu = i;
      } else if (at < second) {
        second = at;
      }
    }
    this.currentCpu = cpu;
    this.horizonCycles = second;
    this.catchUp(cpu, earliest);
    if (!this.takeInterrupts(cpu)) this.resume(cpu);
    this.refresh(cpu);
    return true;
  }

  /** Moves a CPU's clock to the time at which it acts, booking the time between as idle or as spinning. */
  private catchUp(cpu: number, atCycles: number): void {
    const gap = atCycles - this.clockCycles[cpu];
    if (gap <= 0) return;
    (this.running[cpu] === null ? this.idleCycles : this.spinCycles)[cpu] += gap;
    this.clockCycles[cpu] = atCycles;
  }

  private takeInterrupts(cpu: number): boolean {
    const queue = this.interrupts[cpu];
    if (queue.length === 0 || this.irqsOff[cpu] > 0) return false;
    let taken = false;
    while (queue.length > 0 && queue[0].arrivalCycles <= this.clockCycles[cpu]) {
      const next = queue.shift() as PendingInterrupt;
      next.handler(cpu);
      taken = true;
    }
    return taken;
  }

  private resume(cpu: number): void {
    let thread = this.running[cpu];
    if (thread === null) {
      thread = this.takeReady(cpu);
      if (thread === null) return;
      this.running[cpu] = thread;
    }
    if (thread.waiting) return;
    this.currentThread = thread;
    try {
      const result = thread.code.next();
      if (result.done) {
        thread.done = true;
        thread.result = result.value;
        this.running[thread.cpu] = null;
      } else {
        this.applyPause(cpu, thread, result.value);
      }
    } catch (failure) {
      thread.done = true;
      thread.failure = failure;
      this.running[cpu] = null;
      throw failure;
    } finally {
      this.currentThread = null;
    }
  }

  private applyPause(cpu: number, thread: Thread, pause: Pause): void {
    thread.readyCycles = this.clockCycles[cpu];
    if (pause === PAUSE_SPIN) {
      thread.waiting = true;
    } else if (pause === PAUSE_SLEEP) {
      thread.waiting = true;
      this.running[cpu] = null;
    } else if (pause === PAUSE_RESCHED) {
      this.running[cpu] = null;
      this.runQueues[thread.cpu].push(thread);
      if (thread.cpu !== cpu) this.refresh(thread.cpu);
    }
  }

  /** Takes the first thread that is ready at the CPU's clock off its run queue. */
  private takeReady(cpu: number): Thread | null {
    const queue = this.runQueues[cpu];
    for (let i = 0; i < queue.length; i++) {
      if (queue[i].readyCycles <= this.clockCycles[cpu]) return queue.splice(i, 1)[0];
    }
    return null;
  }

  private earliestExcept(cpu: number): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (let i = 0; i < this.cpus; i++) if (i !== cpu && this.readyAt[i] < earliest) earliest = this.readyAt[i];
    return earliest;
  }

  /** Recomputes when `cpu` can act next. */
  private refresh(cpu: number): void {
    const clock = this.clockCycles[cpu];
    let at = Number.POSITIVE_INFINITY;
    const thread = this.running[cpu];
    if (thread !== null) {
      if (!thread.waiting) at = Math.max(clock, thread.readyCycles);
    } else {
      for (const waiting of this.runQueues[cpu]) at = Math.min(at, Math.max(clock, waiting.readyCycles));
    }
    if (this.interrupts[cpu].length > 0 && this.irqsOff[cpu] === 0) {
      at = Math.min(at, Math.max(clock, this.interrupts[cpu][0].arrivalCycles));
    }
    const was = this.readyAt[cpu];
    if (was === at) return;
    if (was === Number.POSITIVE_INFINITY) this.readyCpus++;
    if (at === Number.POSITIVE_INFINITY) this.readyCpus--;
    this.readyAt[cpu] = at;
    if (cpu !== this.currentCpu && at < this.horizonCycles) this.horizonCycles = at;
  }
}

/** Code that ends at once. */
function* nothing(): KernelCode<void> {
  // It never pauses: `runSync` puts real code in its place.
}
