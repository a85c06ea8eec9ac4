/**
 * Memory that the host takes from its guest while that runs, as `mmu_notifier` tells KVM of it (`kvm_mmu_notifier_invalidate_range_start`): the
 * entries of the second stage go, vCPUs that run are kicked out of the guest and waited for, and each vCPU invalidates what it has
 * cached of the guest's memory before it is entered again (KVM_REQ_TLB_FLUSH; INVEPT of one EPTP, TLB_CONTROL 3). NUMA balancing
 * does so now and then with memory that the guest keeps (`task_numa_work`), a balloon with memory that the guest gives away.
 */
import { type InterruptHandler, type KernelCode, type Machine, PAUSE_TURN } from "../../arch/index.ts";
import { checkState } from "../../arch/isa/state-error.ts";
import { type IpiCosts, POINT_FREES_HOST_PAGES } from "../../mm/index.ts";
import type { HostScheduler } from "./host-scheduler.ts";
import type { Hypervisor } from "./hypervisor.ts";

/** NUMA balancing of the host. */
export interface NumaBalancing {
  /** Pages of the host that a scan takes away (`numa_balancing_scan_size`). */
  readonly pages: number;
  /** Between two scans (`numa_balancing_scan_period`). */
  readonly periodUsec: number;
}

/** What it works with. */
export interface HostUnmapParts {
  readonly machine: Machine;
  readonly hypervisor: Hypervisor;
  readonly scheduler: HostScheduler;
  readonly costs: IpiCosts;
  /** What it costs to kick a vCPU, and to take a page of the host away. */
  readonly kickCycles: () => number;
  readonly zapCycles: () => number;
  /** Lets a vCPU leave the guest, says that it is in the host still, and lets it come back; all book the time in the host. */
  readonly leave: (cpu: number) => void;
  readonly staysInHost: (cpu: number) => void;
  readonly enter: (cpu: number) => void;
}

/** Unmapping under way. */
interface Unmapping {
  readonly cpu: number;
  readonly frames: readonly number[];
  outstanding: number;
  seenAtCycles: number;
}

/** A scan on its way to a vCPU. */
export interface PendingScan {
  readonly cpu: number;
  readonly atCycles: number;
}

/** What was taken so far. */
export interface HostUnmapState {
  readonly pages: number;
  readonly unmappings: number;
  readonly kicks: number;
  /** By vCPU: 1 if it invalidates all of the guest before it is entered. */
  readonly owed: Uint8Array;
  /** The scan that is on its way; absent when none is. */
  readonly nextScan?: PendingScan | undefined;
}

/** Takes memory from the guest. */
export class HostUnmap {
  /** Pages of the host taken away, the times that was done, and vCPUs that were kicked for it. */
  pages = 0;
  unmappings = 0;
  kicks = 0;
  private readonly parts: HostUnmapParts;
  private readonly numa: NumaBalancing | null;
  /** By vCPU: whether it invalidates all of the guest before it is entered. */
  private readonly owed: Uint8Array;
  /** What the interrupt does with which a scan begins. */
  readonly scanHandler: InterruptHandler = (cpu) => this.scan(cpu);
  /** The scan that is on its way to a vCPU; null when none is. */
  private nextScan: PendingScan | null = null;

  constructor(parts: HostUnmapParts, numa: NumaBalancing | null) {
    this.parts = parts;
    this.numa = numa;
    this.owed = new Uint8Array(parts.machine.loop.cpus);
  }

  /** Copies what was taken so far, who has to invalidate, and when the next scan is, for saved states. */
  capture(): HostUnmapState {
    const { pages, unmappings, kicks, owed, nextScan } = this;
    return { pages, unmappings, kicks, owed: owed.slice(), ...(nextScan === null ? {} : { nextScan }) };
  }

  /** Brings it into a captured state, but for the next scan ({@link sendScan}). @throws StateError for another number of vCPUs */
  restore({ pages, unmappings, kicks, owed }: HostUnmapState): void {
    checkState("unmapping by the host", owed.length === this.owed.length, `is not of ${this.owed.length} vCPUs`);
    this.pages = pages;
    this.unmappings = unmappings;
    this.kicks = kicks;
    this.owed.set(owed);
  }

  /** Whether a vCPU has yet to invalidate what it has cached of the guest's memory. */
  owesInvalidation(cpu: number): boolean {
    return this.owed[cpu] !== 0;
  }

  /** Whether it has, which it has done then. */
  payInvalidation(cpu: number): boolean {
    const owes = this.owed[cpu] !== 0;
    this.owed[cpu] = 0;
    return owes;
  }

  /** A vCPU is about to be entered: the next scan will find it, unless it has nothing to do. */
  arm(cpu: number): void {
    const { numa, parts } = this;
    const { loop, preset } = parts.machine;
    if (numa === null || this.nextScan !== null || loop.running[cpu] === null) return;
    const period = numa.periodUsec * 1000 * preset.frequencyGhz.value;
    this.sendScan({ cpu, atCycles: loop.clockCycles[cpu] + period });
  }

  /** Sends a scan on its way. @throws StateError for a vCPU that there is not */
  sendScan(scan: PendingScan): void {
    const { loop } = this.parts.machine;
    checkState("unmapping by the host", scan.cpu < loop.cpus, `has no vCPU ${scan.cpu} to scan on`);
    this.nextScan = scan;
    loop.postInterrupt(scan.cpu, scan.atCycles, this.scanHandler, false);
  }

  /** A balloon inflates by pages that the guest's kernel has allocated: what was in them is gone. Runs on the vCPU that says so. */
  *inflate(guestFrames: readonly number[]): KernelCode<void> {
    const { loop, hostMemory } = this.parts.machine;
    this.unmap(loop.currentCpu, guestFrames);
    // Until all vCPUs have left the guest, this one stays in the host.
    yield PAUSE_TURN;
    for (const frame of guestFrames) hostMemory?.guest.zeroFrame(frame);
  }

  /** `task_numa_work`, in the context of a vCPU: takes those pages away that the guest has had longest. */
  scan(cpu: number): void {
    const { hypervisor, machine } = this.parts;
    this.nextScan = null;
    if (this.numa === null || machine.cpus[cpu].vcpu === null) return;
    const frames = hypervisor.oldest(this.numa.pages);
    if (frames.length > 0) this.unmap(cpu, frames);
    else this.arm(cpu);
  }

  /** Takes pages away, in the context of a vCPU that is in the guest. */
  private unmap(cpu: number, guestFrames: readonly number[]): void {
    const { machine, hypervisor, scheduler, costs, kickCycles, zapCycles, leave } = this.parts;
    const { loop, cpus } = machine;
    leave(cpu);
    const frames = guestFrames.flatMap((frame) => hypervisor.unmap(frame));
    loop.clockCycles[cpu] += frames.length * zapCycles();
    this.unmappings++;
    this.pages += frames.length;
    // Its own part counts until all are kicked: those that were first may have left the guest by then.
    const unmapping: Unmapping = { cpu, frames, outstanding: 1, seenAtCycles: loop.clockCycles[cpu] };
    loop.pointIrqsOff("kvm_mmu_notifier_invalidate_range_start: entries are cleared");
    this.owed.fill(1);
    loop.pointIrqsOff("kvm_make_all_cpus_request: requests are made");
    for (let other = 0; other < loop.cpus; other++) {
      if (other === cpu || cpus[other].vcpu === null) continue;
      if (scheduler.isPreempted(other, loop.clockCycles[cpu])) {
        scheduler.skip(other);
        continue;
      }
      this.kicks++;
      unmapping.outstanding++;
      loop.clockCycles[cpu] += kickCycles();
      const latency = costs.latencyCycles[loop.topology.distance(cpu, other)];
      loop.sendInterrupt(other, loop.clockCycles[cpu], latency, (target) => this.kicked(unmapping, target), false);
      loop.pointIrqsOff("kvm_make_all_cpus_request: a vCPU is kicked");
    }
    if (--unmapping.outstanding === 0) {
      this.free(frames);
      this.parts.enter(cpu);
      return;
    }
    // The guest's interrupts wait as long as it does.
    loop.interrupts.disable(cpu, loop.clockCycles[cpu]);
    scheduler.hold(cpu);
  }

  /** Nothing leads to pages any more: they can be given again. */
  private free(frames: readonly number[]): void {
    const { machine, hypervisor } = this.parts;
    machine.loop.pointIrqsOff(POINT_FREES_HOST_PAGES, frames);
    hypervisor.free(frames);
  }

  private kicked(unmapping: Unmapping, cpu: number): void {
    const { machine, leave, enter } = this.parts;
    const { loop } = machine;
    const isInGuest = machine.cpus[cpu].vcpu !== null;
    if (isInGuest) leave(cpu);
    const distance = loop.topology.distance(unmapping.cpu, cpu);
    const seenAt = loop.clockCycles[cpu] + loop.lines.transferCycles[distance];
    unmapping.seenAtCycles = Math.max(unmapping.seenAtCycles, seenAt);
    if (--unmapping.outstanding === 0) this.finish(unmapping);
    if (isInGuest) enter(cpu);
  }

  private finish({ cpu, frames, seenAtCycles }: Unmapping): void {
    const { machine, scheduler, staysInHost, enter } = this.parts;
    this.free(frames);
    staysInHost(cpu);
    scheduler.release(cpu, seenAtCycles);
    enter(cpu);
    machine.loop.interrupts.enable(cpu, machine.loop.clockCycles[cpu]);
    machine.loop.refresh(cpu);
  }
}
