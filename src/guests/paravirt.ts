/**
 * What the host does for flushes of its guest's kernel (`mm/kernel/paravirt-host.ts`), as KVM does it: vCPUs that do not run flush all that is
 * theirs before they run again (`record_steal_time`, `kvm_vcpu_flush_tlb_guest`); hypercalls put what is to be flushed to the vCPUs,
 * kick those that run out of the guest, and wait until all have left it (`kvm_hv_flush_tlb`, `kvm_make_vcpus_request_mask`).
 */

import { TLB_CONTROL_GUEST } from "../../arch/cpu/vcpu.ts";
import { type KernelCode, type Machine, PAUSE_SPIN, type Thread, type Vcpu } from "../../arch/index.ts";
import type { FlushAtEntry, HypercallFlush, IpiCosts, ParavirtHost } from "../../mm/index.ts";

const PAGE_BYTES = 4096;

/** What a call between CPUs is billed to. */
type Bill = Parameters<ParavirtHost["hypercallFlush"]>[3];

/** What it works with: the host of the guest. */
export interface ParavirtParts {
  readonly machine: Machine;
  readonly vcpus: readonly Vcpu[];
  readonly costs: IpiCosts;
  /** What it costs the host to kick a vCPU. */
  readonly kickCycles: () => number;
  /** Whether a vCPU does not run now. */
  readonly isPreempted: (cpu: number) => boolean;
  /** Has it enter the guest anew before it does anything. */
  readonly skip: (cpu: number) => void;
  /** Whether it invalidates what it has cached of the guest's memory before it runs again. */
  readonly owesInvalidation: (cpu: number) => boolean;
  /** Lets a vCPU leave the guest for the host, and come back; both book the time in the host. */
  readonly leave: (cpu: number) => void;
  readonly enter: (cpu: number) => void;
  /** The former bug of that name (`HISTORICAL_BUGS`). */
  readonly entryForgetsFlush: boolean;
}

/** A request to vCPUs that run, whose sender waits until they have left the guest. */
interface Kick {
  readonly sender: Thread;
  readonly senderCpu: number;
  readonly request: (cpu: number) => void;
  readonly bill: Bill;
  outstanding: number;
  seenAtCycles: number;
}

/** Flushes on behalf of the guest. */
export class Paravirt implements ParavirtHost {
  readonly stealTimeLines: number;
  private readonly parts: ParavirtParts;
  /** By vCPU: the flush that it owes before it runs again; null for none. */
  private readonly owed: (FlushAtEntry | null)[];
  /** vCPUs that the host is about to enter, and whose flags still say that they do not run; only with `entryForgetsFlush`. */
  private readonly isStillMarked = new Set<number>();

  constructor(parts: ParavirtParts) {
    const { loop } = parts.machine;
    this.parts = parts;
    this.owed = new Array<FlushAtEntry | null>(loop.cpus).fill(null);
    this.stealTimeLines = loop.lines.make(loop.cpus);
  }

  isPreempted(cpu: number): boolean {
    return this.isStillMarked.has(cpu) || this.parts.isPreempted(cpu);
  }

  /**
   * Clears the flags of a vCPU that will run again (`record_steal_time`). Flags are read and cleared in one exchange, so nothing can be asked
   * for in between; what is owed is done at the entry that follows.
   */
  recordStealTime(cpu: number): void {
    const { machine, entryForgetsFlush } = this.parts;
    if (!entryForgetsFlush) return;
    const flush = this.owed[cpu];
    this.isStillMarked.add(cpu);
    machine.loop.pointIrqsOff("record_steal_time: preempted is read");
    this.isStillMarked.delete(cpu);
    this.owed[cpu] = flush;
  }

  flushAtEntry(cpu: number, flush: FlushAtEntry): void {
    this.owed[cpu] ??= flush;
    // One that is in the host is entered anyway.
    if (this.parts.machine.cpus[cpu].vcpu !== null) this.parts.skip(cpu);
  }

  owesFlush(cpu: number): boolean {
    return this.owed[cpu] !== null || this.parts.owesInvalidation(cpu);
  }

  /** Flushes that vCPUs owe, by vCPU, for saved states; null for none. */
  get owedFlushes(): readonly (FlushAtEntry | null)[] {
    return this.owed;
  }

  /** VM entry, before which the vCPU flushes what it owes. */
  enterGuest(cpu: number): void {
    const { machine, vcpus } = this.parts;
    const { clockCycles } = machine.loop;
    const flush = this.owed[cpu];
    const enter = (): void => machine.cpus[cpu].enterGuest(vcpus[cpu]);
    if (flush === null) {
      enter();
      return;
    }
    this.owed[cpu] = null;
    const began = clockCycles[cpu];
    inItsName(flush, cpu, () => this.flushVcpu(cpu, enter));
    flush.paid?.(cpu, clockCycles[cpu] - began - machine.preset.virtualization.costs.vmEntry.value);
  }

  *hypercallFlush(cpus: readonly number[], flush: HypercallFlush, atEntry: FlushAtEntry, bill: Bill): KernelCode<void> {
    const { loop } = this.parts.machine;
    const self = loop.currentCpu;
    const began = loop.lines.ownCycles(self);
    // A guest takes its interrupts when it is entered again.
    loop.disableInterrupts();
    this.parts.leave(self);
    const invalidate = (cpu: number): void => this.flushInHost(cpu, flush, atEntry);
    if (cpus.includes(self)) invalidate(self);
    const kick = this.kick(
      cpus.filter((cpu) => cpu !== self),
      invalidate,
      atEntry,
      bill,
    );
    const kicked = loop.lines.ownCycles(self);
    if (kick.outstanding > 0) yield PAUSE_SPIN;
    const waited = loop.lines.ownCycles(self) - kicked;
    this.parts.enter(self);
    loop.enableInterrupts();
    if (bill === null) return;
    bill.waitCycles += waited;
    bill.workCycles += loop.lines.ownCycles(self) - began - waited;
  }

  /** Kicks those of `cpus` that run; the others flush all before they run again. */
  private kick(cpus: readonly number[], request: (cpu: number) => void, atEntry: FlushAtEntry, bill: Bill): Kick {
    const { machine, costs, kickCycles, isPreempted } = this.parts;
    const { loop } = machine;
    const senderCpu = loop.currentCpu;
    const sender = loop.currentThread;
    if (sender === null) throw new Error("a hypercall was made from outside any thread");
    const kick: Kick = { sender, senderCpu, request, bill, outstanding: 0, seenAtCycles: 0 };
    for (const cpu of cpus) {
      if (isPreempted(cpu) || machine.cpus[cpu].vcpu === null) {
        this.flushAtEntry(cpu, atEntry);
        continue;
      }
      kick.outstanding++;
      loop.spend(kickCycles());
      const latency = costs.latencyCycles[loop.topology.distance(senderCpu, cpu)];
      // The host's own interrupt: a guest that has its interrupts off takes it all the same.
      loop.sendInterrupt(cpu, loop.nowCycles(), latency, (target) => this.kicked(kick, target, atEntry), false);
    }
    return kick;
  }

  /** A kick arrives. */
  private kicked(kick: Kick, cpu: number, atEntry: FlushAtEntry): void {
    const { machine, leave, enter } = this.parts;
    const { loop } = machine;
    const found = loop.stateOf(cpu);
    const began = loop.lines.ownCycles(cpu);
    const isInGuest = machine.cpus[cpu].vcpu !== null;
    if (isInGuest) leave(cpu);
    else this.flushAtEntry(cpu, atEntry);
    const distance = loop.topology.distance(kick.senderCpu, cpu);
    kick.seenAtCycles = Math.max(kick.seenAtCycles, loop.clockCycles[cpu] + loop.lines.transferCycles[distance]);
    if (--kick.outstanding === 0) loop.wake(kick.sender, kick.seenAtCycles);
    if (!isInGuest) return;
    kick.request(cpu);
    enter(cpu);
    kick.bill?.stolen(cpu, loop.lines.ownCycles(cpu) - began, found);
  }

  /** Flushes addresses of a vCPU that is in the host. */
  private flushInHost(cpu: number, { start, end, full }: HypercallFlush, atEntry: FlushAtEntry): void {
    const { machine, vcpus } = this.parts;
    const { id } = vcpus[cpu];
    const isAmd = machine.preset.vendor === "amd";
    if (full) {
      // With AMD a VMRUN flushes; so may it with Intel.
      this.flushAtEntry(cpu, { ...atEntry, paid: null });
      return;
    }
    inItsName(atEntry, cpu, () => {
      for (let la = start; la < end; la += PAGE_BYTES) {
        if (isAmd) machine.cpus[cpu].invlpga(la, id);
        else machine.cpus[cpu].invvpid(0, id, la);
      }
    });
  }

  /** Flushes all of a vCPU, and enters it. */
  private flushVcpu(cpu: number, enter: () => void): void {
    const { machine, vcpus } = this.parts;
    const vcpu = vcpus[cpu];
    if (machine.preset.vendor === "amd") vcpu.tlbControl = TLB_CONTROL_GUEST;
    else machine.cpus[cpu].invvpid(1, vcpu.id);
    enter();
  }
}

function inItsName({ attributed }: FlushAtEntry, cpu: number, invalidate: () => void): void {
  if (attributed === null) invalidate();
  else attributed(cpu, invalidate);
}
