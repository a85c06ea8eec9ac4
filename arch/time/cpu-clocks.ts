/** The CPUs' clocks, and what their cycles go to. */
import { CycleAccounts } from "./cycle-accounts.ts";
import type { LateCpus } from "./hold-queue.ts";
import type { PendingInterrupts } from "./pending-interrupts.ts";
import type { SharedCores } from "./shared-cores.ts";
import { type LineClock, SharedLines } from "./shared-lines.ts";
import type { Thread } from "./thread.ts";
import { checkCpuCount, Topology } from "./topology.ts";

/** Cycle clocks of `cpus` CPUs, one of which runs now. */
export abstract class CpuClocks implements LineClock {
  /** Number of CPUs. */
  readonly cpus: number;
  /** Which CPUs are near to each other. */
  readonly topology: Topology;
  /** Each CPU's cycle clock. */
  readonly clockCycles: Float64Array;
  /** Cache lines of data that CPUs share. */
  readonly lines: SharedLines;
  /** What every cycle of every CPU went to. */
  readonly accounts: CycleAccounts;
  /** By CPU: how long it had nothing to do, or computed, before it acted last. */
  readonly idleCycles: Float64Array;
  /** By CPU: cycles in which it waited without leaving the code that it runs, but for lines: it executed nothing meanwhile. */
  readonly stalledCycles: Float64Array;
  /** Siblings that slow each other; null where there are none. `InterruptedCpus.shareCores` sets it. */
  sharedCores: SharedCores | null = null;
  /** The CPU whose code runs now. */
  currentCpu = 0;
  /** The thread that has each CPU; null for none. */
  readonly running: (Thread | null)[];

  /**
   * @param cpus 1 to `CPUS_MAX`
   * @param clockCycles where the clocks are kept, one a CPU; by default an array of their own
   * @throws MachineUsageError for another number of CPUs
   */
  constructor(cpus: number, topology?: Topology, clockCycles?: Float64Array) {
    checkCpuCount(cpus);
    this.cpus = cpus;
    this.topology = topology ?? new Topology(cpus);
    this.clockCycles = clockCycles ?? new Float64Array(cpus);
    this.idleCycles = new Float64Array(cpus);
    this.stalledCycles = new Float64Array(cpus);
    this.lines = new SharedLines(this);
    this.running = new Array<Thread | null>(cpus).fill(null);
    this.accounts = new CycleAccounts(this.clockCycles, this.lines.waitedCycles);
  }

  /** Interrupts on their way to CPUs. */
  abstract readonly interrupts: PendingInterrupts;

  /** The earliest time at which any CPU can act, that of the step which is under way included; infinity when none can. */
  abstract get earliestCycles(): number;

  /** As `InterruptedCpus.delay`, of CPUs that waited for a line. */
  abstract delayForLine(late: LateCpus): void;

  /** When `to`, which polls a line, sees what `from` writes to it now. */
  seenByCycles(from: number, to: number): number {
    return this.clockCycles[from] + this.lines.transferCycles[this.topology.distance(from, to)];
  }

  /** Advances the current CPU's clock. */
  spend(cycles: number): void {
    this.clockCycles[this.currentCpu] += cycles;
  }

  /** Advances the current CPU's clock by what it waits, executing nothing. */
  stall(cycles: number): void {
    this.clockCycles[this.currentCpu] += cycles;
    this.stalledCycles[this.currentCpu] += cycles;
  }

  /**
   * Has the current CPU's clock say what sharing its core with siblings took so far: before others are told when something is over. All is said
   * when it pauses.
   */
  settleSharedCore(): void {
    this.sharedCores?.settle(this.currentCpu);
  }

  /** The current CPU's clock. */
  nowCycles(): number {
    return this.clockCycles[this.currentCpu];
  }

  /** Moves a CPU's clock to the time at which it acts; the time between was idle, or spent as the thread said. */
  catchUp(cpu: number, atCycles: number): void {
    const gap = atCycles - this.clockCycles[cpu];
    this.idleCycles[cpu] = Math.max(gap, 0);
    if (gap <= 0) return;
    if (this.running[cpu] === null) this.accounts.idle(cpu, atCycles);
    this.clockCycles[cpu] = atCycles;
    this.sharedCores?.caughtUp(cpu, atCycles);
  }

  /** Begins an activity of the current CPU; returns the one to go back to (`cycle-accounts.ts`). */
  enterActivity(activity: number): number {
    return this.accounts.enter(this.currentCpu, activity);
  }
}
