/**
 * Which CPUs run in user mode, and flushes that wait for their return (`kernel/context_tracking.c`; Schneider's patches
 * "context_tracking,x86: Defer some IPIs until a user->kernel transition"). A CPU in user mode uses no kernel translation
 * before it enters the kernel, so a flush of kernel addresses can wait until then.
 */
import { ACTIVITY_INTERRUPT } from "../arch/cycle-accounts.ts";
import type { EventLoop } from "../arch/event-loop.ts";
import type { KernelCosts } from "./kernel-costs.ts";

/** A flush that a CPU owes: run at its next kernel entry. */
export type OwedFlush = (cpu: number) => void;

/** User mode on every CPU of a machine. */
export class UserMode {
  /** CPUs that no kernel work disturbs (`nohz_full=`): flushes are put off for these only. */
  readonly isolated: Uint8Array;
  private readonly inUser: Uint8Array;
  private readonly owed: (OwedFlush | null)[];
  private readonly outside: Int32Array;
  private readonly loop: EventLoop;
  private readonly costs: KernelCosts;
  private readonly userActivity: number;

  constructor(loop: EventLoop, costs: KernelCosts, isolated: readonly number[]) {
    this.loop = loop;
    this.costs = costs;
    this.isolated = new Uint8Array(loop.cpus);
    for (const cpu of isolated) this.isolated[cpu] = 1;
    this.inUser = new Uint8Array(loop.cpus);
    this.owed = new Array<OwedFlush | null>(loop.cpus).fill(null);
    this.outside = new Int32Array(loop.cpus);
    this.userActivity = loop.accounts.activity("user mode");
  }

  /** The current CPU goes to user mode. */
  enterUser(): void {
    const { loop } = this;
    loop.spend(this.costs.kernelExitCycles);
    this.inUser[loop.currentCpu] = 1;
    this.outside[loop.currentCpu] = loop.enterActivity(this.userActivity);
  }

  /** The current CPU comes back by a system call or a fault: what it owes is flushed first. */
  enterKernel(): void {
    const { loop } = this;
    const cpu = loop.currentCpu;
    this.inUser[cpu] = 0;
    loop.enterActivity(this.outside[cpu]);
    loop.spend(this.costs.kernelEntryCycles);
    this.payUp(cpu);
  }

  /** An interrupt takes `cpu` into the kernel for a moment. */
  interruptEntry(cpu: number): void {
    this.payUp(cpu);
  }

  /** Whether `cpu` is isolated and in user mode. */
  canDefer(cpu: number): boolean {
    return this.inUser[cpu] !== 0 && this.isolated[cpu] !== 0;
  }

  /** Has `cpu` flush at its next kernel entry; a flush of the whole TLB that it owes already covers the new one. */
  defer(cpu: number, flush: OwedFlush): void {
    this.owed[cpu] = flush;
  }

  /** Whether `cpu` owes a flush. */
  owes(cpu: number): boolean {
    return this.owed[cpu] !== null;
  }

  private payUp(cpu: number): void {
    const flush = this.owed[cpu];
    if (flush === null) return;
    this.owed[cpu] = null;
    const activity = this.loop.accounts.enter(cpu, ACTIVITY_INTERRUPT);
    flush(cpu);
    this.loop.accounts.enter(cpu, activity);
  }
}
