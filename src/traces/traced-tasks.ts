/**
 * Which address space each task of a trace has. A task is a process's where it faults in user mode, or changes or flushes user memory;
 * all others are taken for kernel threads, which borrow what is loaded. Threads that flush the same `mm_struct` share it.
 */
import type { FtraceEvent } from "./ftrace-lines.ts";
import { pidOf } from "./task-lines.ts";

/** Page faults of a kernel. */
export interface FaultCounts {
  readonly user: number;
  readonly kernel: number;
}

/** Calls that only processes make. */
const OF_PROCESSES: ReadonlySet<string> = new Set(["mmap", "munmap", "flush_tlb_mm_range"]);

/** Address spaces that are remembered: the memory of the machine here may not hold the top tables of all processes of a long trace at once. */
const SPACES_MAX = 1024;

/** Gathers it event by event. */
export class TracedTasks {
  /** Whether the trace shows address spaces being loaded (`switch_mm_irqs_off`): then nothing has to be concluded from tasks. */
  hasSwitchMm = false;
  private hasFaults = false;
  private userFaults = 0;
  private kernelFaults = 0;
  private readonly mms = new Map<number, bigint>();
  private readonly loaded = new Set<bigint>();

  /** Takes the next event. */
  add(event: FtraceEvent): void {
    if (event.event === "fault") {
      this.hasFaults = true;
      if (event.isUser) this.userFaults++;
      else this.kernelFaults++;
      if (event.isUser) this.isProcess(event.task);
    } else if (event.event === "enter") {
      if (event.call === "switch_mm") this.addLoaded(event.args.get("next"));
      if (OF_PROCESSES.has(event.call)) this.isProcess(event.task);
      const mm = event.call === "flush_tlb_mm_range" ? event.args.get("mm") : undefined;
      if (mm !== undefined) this.mms.set(pidOf(event.task), mm);
    }
  }

  /** The first address spaces that the trace shows being loaded, by their addresses there. */
  get spaces(): Iterable<bigint> {
    return this.loaded;
  }

  private addLoaded(mm: bigint | undefined): void {
    this.hasSwitchMm = true;
    if (mm !== undefined && this.loaded.size < SPACES_MAX) this.loaded.add(mm);
  }

  /** Page faults; absent when the trace shows none. */
  get faults(): FaultCounts | undefined {
    return this.hasFaults ? { user: this.userFaults, kernel: this.kernelFaults } : undefined;
  }

  /** Whether any task is a process's. */
  get hasProcesses(): boolean {
    return this.mms.size > 0;
  }

  /** The address space of a task: that of its flushes, or one that stands for it; null for a kernel thread. */
  mmOf(pid: number): bigint | null {
    return this.mms.get(pid) ?? null;
  }

  private isProcess(task: string): void {
    const pid = pidOf(task);
    if (pid > 0 && !this.mms.has(pid)) this.mms.set(pid, BigInt(pid));
  }
}
