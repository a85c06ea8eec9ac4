/**
 * Which CPUs run in user mode, and flushes that wait for their return (`kernel/context_tracking.c`; Schneider's patches
 * "context_tracking,x86: Defer some IPIs until a user->kernel transition"). A CPU in user mode uses no kernel translation
 * before it enters the kernel, so a flush of kernel addresses can wait until then.
 */

import { checkState, restoreArray } from "../../arch/isa/state-error.ts";
import type { Machine } from "../../arch/machine.ts";
import { ACTIVITY_INTERRUPT, ACTIVITY_OTHER } from "../../arch/time/cycle-accounts.ts";
import type { KernelCosts } from "../kernel/kernel-costs.ts";
import type { UsePath } from "../kernel/kernel-paths.ts";
import { type MitigationCycles, NO_MITIGATIONS } from "../kernel/mitigations.ts";

/** A flush that was put off for a CPU: run at its next kernel entry. */
export type DeferredFlush = (cpu: number) => void;

/** Which CPUs are in user mode: an element a CPU. */
export interface UserModeState {
  readonly inUser: Uint8Array;
  /** What the CPU was doing before, by the name under which its cycles are booked. */
  readonly kernelActivity: readonly string[];
}

/** User mode on every CPU of a machine. */
export class UserMode {
  /** CPUs that no kernel work disturbs (`nohz_full=`): flushes are put off for these only. */
  readonly isolated: Uint8Array;
  /**
   * Called on the way to user mode and back; `user-spaces.ts` changes page tables there. They return cycles that they have
   * booked to a flush.
   */
  onEnterUser: ((cpu: number) => number) | null = null;
  onEnterKernel: ((cpu: number) => number) | null = null;
  /** As that of the kernel. */
  usePath: UsePath | null = null;
  /** Is told when the current CPU goes to user mode and when it comes back, but for interrupts; null for nobody. */
  observer: ((isInUser: boolean) => void) | null = null;
  private readonly inUser: Uint8Array;
  private readonly owed: (DeferredFlush | null)[];
  private readonly outside: Int32Array;
  private readonly machine: Machine;
  private readonly costs: KernelCosts;
  private readonly mitigations: MitigationCycles;
  private readonly userActivity: number;
  private readonly mitigationActivity: number;

  constructor(machine: Machine, costs: KernelCosts, isolated: readonly number[], mitigations: MitigationCycles) {
    const { cpus, accounts } = machine.loop;
    this.machine = machine;
    this.costs = costs;
    this.isolated = new Uint8Array(cpus);
    for (const cpu of isolated) this.isolated[cpu] = 1;
    this.inUser = new Uint8Array(cpus);
    this.owed = new Array<DeferredFlush | null>(cpus).fill(null);
    this.outside = new Int32Array(cpus);
    this.mitigations = mitigations;
    this.userActivity = accounts.activity("user mode");
    this.mitigationActivity = mitigations === NO_MITIGATIONS ? ACTIVITY_OTHER : accounts.activity("mitigations");
  }

  /**
   * Copies which CPUs are in user mode, for saved states.
   * @throws StateError when a CPU owes a flush: what it will run then has no form outside the program
   */
  capture(): UserModeState {
    const { owed, inUser, outside, machine } = this;
    const owing = owed.findIndex((flush) => flush !== null);
    checkState(`CPU ${owing}`, owing < 0, "owes a flush that was put off until it leaves user mode");
    const { names } = machine.loop.accounts;
    return { inUser: inUser.slice(), kernelActivity: Array.from(outside, (activity) => names[activity]) };
  }

  /** Brings all CPUs into a captured state. */
  restore({ inUser, kernelActivity }: UserModeState): void {
    const { accounts, cpus } = this.machine.loop;
    checkState("user mode", kernelActivity.length === cpus, `is not that of ${cpus} CPUs`);
    restoreArray("user mode", "CPUs", this.inUser, inUser);
    this.outside.set(kernelActivity.map((name) => accounts.activity(name)));
  }

  /**
   * The current CPU goes to user mode, CPL 3.
   * @param byException whether by IRET, from an exception, whose cycles are part of the preset's `pageFault`; else by SYSRET
   */
  enterUser(byException = false): void {
    const { loop } = this.machine;
    const cpu = loop.currentCpu;
    this.observer?.(true);
    if (!byException) loop.spend(this.costs.kernelExitCycles);
    this.usePath?.("exit");
    this.leaveKernel(cpu);
    this.inUser[cpu] = 1;
    this.outside[cpu] = loop.enterActivity(this.userActivity);
  }

  /**
   * The current CPU comes back by a system call or a fault: what it owes is flushed first.
   * @param byException whether by a fault, whose delivery is part of the preset's `pageFault`; else by SYSCALL
   */
  enterKernel(byException = false): void {
    const { loop } = this.machine;
    const cpu = loop.currentCpu;
    this.observer?.(false);
    this.inUser[cpu] = 0;
    loop.enterActivity(this.outside[cpu]);
    if (!byException) loop.spend(this.costs.kernelEntryCycles);
    this.reachKernel(cpu);
    this.usePath?.("entry");
  }

  /** An interrupt takes `cpu` into the kernel for a moment. Returns the cycles that owed flushes took. */
  interruptEntry(cpu: number): number {
    return this.inUser[cpu] === 0 ? 0 : this.reachKernel(cpu);
  }

  /** The end of that moment. Returns the cycles that owed flushes took. */
  interruptExit(cpu: number): number {
    return this.inUser[cpu] === 0 ? 0 : this.leaveKernel(cpu);
  }

  /** Whether what `cpu` runs is in user mode; an interrupt of it changes nothing. */
  isInUser(cpu: number): boolean {
    return this.inUser[cpu] !== 0;
  }

  /** Whether `cpu` is isolated and in user mode. */
  canDefer(cpu: number): boolean {
    return this.inUser[cpu] !== 0 && this.isolated[cpu] !== 0;
  }

  /** Has `cpu` flush at its next kernel entry; a flush of the whole TLB that it owes already covers the new one. */
  defer(cpu: number, flush: DeferredFlush): void {
    this.owed[cpu] = flush;
  }

  /** Whether `cpu` owes a flush. */
  owes(cpu: number): boolean {
    return this.owed[cpu] !== null;
  }

  private leaveKernel(cpu: number): number {
    this.mitigate(cpu, this.mitigations.exit);
    const cycles = this.onEnterUser?.(cpu) ?? 0;
    this.machine.cpus[cpu].setCpl(3);
    return cycles;
  }

  private reachKernel(cpu: number): number {
    this.machine.cpus[cpu].setCpl(0);
    const cycles = this.onEnterKernel?.(cpu) ?? 0;
    this.mitigate(cpu, this.mitigations.entry);
    return cycles + this.runOwedFlush(cpu);
  }

  private mitigate(cpu: number, cycles: number): void {
    if (cycles === 0) return;
    const { accounts, clockCycles } = this.machine.loop;
    const activity = accounts.enter(cpu, this.mitigationActivity);
    clockCycles[cpu] += cycles;
    accounts.enter(cpu, activity);
  }

  private runOwedFlush(cpu: number): number {
    const flush = this.owed[cpu];
    if (flush === null) return 0;
    this.owed[cpu] = null;
    const { loop } = this.machine;
    const began = loop.clockCycles[cpu];
    const activity = loop.accounts.enter(cpu, ACTIVITY_INTERRUPT);
    flush(cpu);
    loop.accounts.enter(cpu, activity);
    return loop.clockCycles[cpu] - began;
  }
}
