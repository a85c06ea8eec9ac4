/**
 * The host below a kernel that runs as a guest, as KVM is: it enters the guest on every CPU, maps its memory as it is touched, and
 * answers VM exits without the guest's doing. The CPUs of the machine are the guest's vCPUs.
 */

import { TLB_CONTROL_GUEST, TLB_CONTROL_NOTHING } from "../../arch/cpu/vcpu.ts";
import { EptMisconfiguration, type Machine, Vcpu, type VmExit } from "../../arch/index.ts";
import { ConfigError, type KernelMm } from "../../mm/index.ts";
import { Balloon } from "./balloon.ts";
import type { GuestConfig } from "./guest-config.ts";
import { HostScheduler, type Resumption } from "./host-scheduler.ts";
import { HostUnmap } from "./host-unmap.ts";
import { Hypervisor } from "./hypervisor.ts";
import { HYPERVISOR_COSTS, type HypervisorCosts } from "./hypervisor-costs.ts";
import { Paravirt } from "./paravirt.ts";

/** What the host did for one vCPU. */
export interface VcpuCounts {
  /** Exits because guest memory was not mapped yet, or not any more. */
  faults: number;
  /** Exits because of writes of the interrupt command register. */
  icrWrites: number;
  /** How often it began to run again, after another vCPU or after it had blocked. */
  resumptions: number;
  /** Cycles in the host, exits and entries included; without those in which it did not run. */
  exitCycles: number;
}

/** The host of one guest. */
export class GuestHost {
  /** Gives the guest its memory. */
  readonly hypervisor: Hypervisor;
  /** The vCPUs, by the number of their CPU. */
  readonly vcpus: readonly Vcpu[];
  /** What was done for each of them. */
  readonly counts: readonly VcpuCounts[];
  /** The settings. */
  readonly config: GuestConfig;
  /** What the hypervisor's own code costs. */
  readonly costs: HypervisorCosts;
  /** Which vCPU runs where, and what it lost to others. */
  readonly scheduler: HostScheduler;
  private readonly machine: Machine;
  private sharesAsid = false;
  /** Flushes on behalf of the guest; null before it runs. */
  paravirt: Paravirt | null = null;
  /** What takes memory from the guest; null before it runs. */
  unmapping: HostUnmap | null = null;
  /** The guest's balloon; null before it runs, and where it has none. */
  balloon: Balloon | null = null;
  /** By vCPU that is in the host: what it did in the guest. */
  private readonly activityBefore: number[];
  /** The activity in which the time in the host is booked. */
  private readonly activity: number;

  /** @throws ConfigError for a size of pages that the machine's second stage does not have */
  constructor(machine: Machine, config: GuestConfig) {
    const { preset, features, loop } = machine;
    const { hostPages = "4K" } = config;
    const has1g = preset.vendor === "amd" ? features.page1g : preset.virtualization.features.ept1g;
    if (hostPages === "1G" && !has1g) throw new ConfigError("host pages", "1G", `4K or 2M on ${preset.name}`);
    this.machine = machine;
    this.config = config;
    this.costs = config.costs ?? HYPERVISOR_COSTS;
    this.hypervisor = new Hypervisor(machine, { pageSize: hostPages, levels: 4 });
    const { secondStage } = this.hypervisor;
    this.vcpus = machine.cpus.map(({ id }) => new Vcpu({ id: id + 1, secondStage }));
    this.counts = machine.cpus.map(() => ({ faults: 0, icrWrites: 0, resumptions: 0, exitCycles: 0 }));
    this.activityBefore = machine.cpus.map(() => 0);
    this.activity = loop.accounts.activity("hypervisor");
    const { slice, haltPoll } = this.costs;
    const gigahertz = preset.frequencyGhz.value;
    const times = {
      get sliceCycles() {
        return slice.value * gigahertz;
      },
      get haltPollCycles() {
        return haltPoll.value * gigahertz;
      },
    };
    this.scheduler = new HostScheduler(loop, machine.config.physicalCpus, times, (cpu, after) =>
      this.resume(cpu, after),
    );
  }

  /**
   * Enters the guest on all CPUs, on which nothing has run yet.
   * @param mm that of the guest's kernel
   * @throws ConfigError for a flush policy that there is not in a guest
   */
  start(mm: KernelMm): void {
    const { flushing, costs, bugs } = mm;
    const { policy, smp } = flushing;
    if (policy.usesRar === true) throw new ConfigError("flush policy", policy.name, "one that a guest can have");
    const { machine, vcpus, scheduler } = this;
    this.sharesAsid = policy.usesInvlpgb === true;
    const kickCycles = (): number => this.costs.icr.value + costs.ipi.sendCycles;
    const paravirt = new Paravirt({
      machine,
      vcpus,
      costs: costs.ipi,
      kickCycles,
      isPreempted: (cpu) => scheduler.isPreempted(cpu, machine.loop.nowCycles()),
      skip: (cpu) => scheduler.skip(cpu),
      owesInvalidation: (cpu) => this.unmapping?.owesInvalidation(cpu) === true,
      leave: (cpu) => this.leave(cpu),
      enter: (cpu) => this.enter(cpu),
      entryForgetsFlush: bugs.entryForgetsFlush,
    });
    this.paravirt = paravirt;
    this.unmapping = new HostUnmap(
      {
        machine,
        hypervisor: this.hypervisor,
        scheduler,
        costs: costs.ipi,
        kickCycles,
        zapCycles: () => this.costs.zap.value,
        leave: (cpu) => this.leave(cpu),
        staysInHost: (cpu) => {
          this.activityBefore[cpu] = machine.loop.accounts.enter(cpu, this.activity);
        },
        enter: (cpu) => this.enter(cpu),
      },
      this.config.numaBalancing ?? null,
    );
    const { balloon } = this.config;
    if (balloon !== undefined) this.balloon = new Balloon(machine, mm, this.unmapping, balloon);
    flushing.host = paravirt;
    smp.onIcrWrite = (cpu) => this.icrWritten(cpu);
    for (const cpu of machine.cpus) {
      // As with guests of SEV: what one broadcasts reaches the others by their ASID.
      if (this.sharesAsid) vcpus[cpu.id].id = 1;
      cpu.mmu.onVmExit = (exit) => this.handleExit(exit);
      cpu.enterGuest(vcpus[cpu.id]);
    }
    machine.loop.vcpuScheduler = scheduler;
    // Which vCPUs share a core is the host's matter.
    machine.loop.sharedCores = null;
  }

  /**
   * Lets a vCPU run where another one did, for a program that says itself whose turn it is and has no event loop: the entry and exit of a
   * switch, without waiting for the other's slice to end.
   */
  takeTurn(cpu: number): void {
    this.resume(cpu, "preemption");
  }

  /** A vCPU runs again: the exit with which it ended to, the host's scheduler, and a VM entry. */
  private resume(cpu: number, after: Resumption): void {
    const { vcpuSwitch, wake } = this.costs;
    const ownCycles = (after === "halt" ? wake : vcpuSwitch).value;
    const { cpus, loop, config } = this.machine;
    this.counts[cpu].resumptions++;
    if (cpus[cpu].vcpu === null) {
      // It had left the guest before, and is in the host still.
      loop.clockCycles[cpu] += ownCycles;
      return;
    }
    this.leave(cpu);
    loop.clockCycles[cpu] += ownCycles;
    this.paravirt?.recordStealTime(cpu);
    // vCPUs of one ASID are told apart by nothing else: the other's entries go.
    const hasOthersEntries = this.sharesAsid && config.physicalCpus < this.vcpus.length;
    if (hasOthersEntries) this.paravirt?.flushAtEntry(cpu, { flush: 0, attributed: null, paid: null });
    this.enter(cpu);
  }

  /** Removes what a vCPU, in the host, has cached of the guest's memory (`kvm_flush_remote_tlbs`). */
  private invalidateMemory(cpu: number): void {
    const { secondStage } = this.vcpus[cpu];
    if (secondStage !== null && "eptp" in secondStage) this.machine.cpus[cpu].invept(1, secondStage.eptp);
    else this.vcpus[cpu].tlbControl = TLB_CONTROL_GUEST;
  }

  /** A vCPU writes the interrupt command register: an exit, unless the machine had IPI virtualization. */
  private icrWritten(cpu: number): void {
    this.counts[cpu].icrWrites++;
    this.leave(cpu);
    this.machine.loop.clockCycles[cpu] += this.costs.icr.value;
    this.enter(cpu);
  }

  /** Answers an exit because of an access, on the CPU that made it; a misconfiguration is not answered. @throws NotEnoughMemory */
  private handleExit(exit: VmExit): void {
    if (exit instanceof EptMisconfiguration) return;
    const { hypervisor } = this;
    const before = hypervisor.pages;
    hypervisor.handleExit(exit);
    this.counts[exit.cpu].faults++;
    this.left(exit.cpu);
    const pages = hypervisor.pages - before;
    this.machine.loop.clockCycles[exit.cpu] += this.costs.fault.value + pages * this.zeroCycles();
    this.enter(exit.cpu);
  }

  /** Filling a page of the host's with zeros (`clear_page`, `clear_huge_page`): the host has not had it in its caches. */
  private zeroCycles(): number {
    const { zeroPageMemory, zeroPageNext } = this.machine.preset.costs;
    return zeroPageMemory.value + (this.hypervisor.pageFrames - 1) * zeroPageNext.value;
  }

  /** A vCPU leaves the guest; its time is the host's until {@link enter}. */
  private leave(cpu: number): void {
    this.machine.cpus[cpu].exitGuest();
    this.left(cpu);
  }

  /** Books the exit that a vCPU has just made. */
  private left(cpu: number): void {
    const { loop, preset } = this.machine;
    this.counts[cpu].exitCycles -= loop.clockCycles[cpu] - preset.virtualization.costs.vmExit.value;
    this.activityBefore[cpu] = loop.accounts.enter(cpu, this.activity);
    loop.clockCycles[cpu] += this.costs.dispatch.value;
  }

  /**
   * A vCPU goes into the guest (`vcpu_enter_guest`). Nothing comes between a look at what was asked of it and the entry: one that asks finds it
   * in the host, and does not kick it.
   */
  private enter(cpu: number): void {
    const { loop } = this.machine;
    this.point(cpu, "vcpu_enter_guest: in the host");
    if (this.unmapping?.payInvalidation(cpu)) this.invalidateMemory(cpu);
    this.paravirt?.enterGuest(cpu);
    this.vcpus[cpu].tlbControl = TLB_CONTROL_NOTHING;
    this.unmapping?.arm(cpu);
    this.balloon?.arm(cpu);
    loop.accounts.enter(cpu, this.activityBefore[cpu]);
    this.counts[cpu].exitCycles += loop.clockCycles[cpu];
    this.point(cpu, "vcpu_enter_guest: in the guest");
  }

  /** A point of a vCPU that is entered; where another CPU's handler lets it in it is not under way. */
  private point(cpu: number, name: string): void {
    const { loop } = this.machine;
    if (loop.currentCpu === cpu) loop.pointIrqsOff(name);
  }
}
