/**
 * The host below a kernel that runs as a guest, as KVM is: it enters the guest on every CPU, maps its memory as it is touched, and
 * answers VM exits without the guest's doing. The CPUs of the machine are the guest's vCPUs.
 */

import { TLB_CONTROL_GUEST, TLB_CONTROL_NOTHING } from "../../arch/cpu/vcpu.ts";
import { EptMisconfiguration, type Machine, Vcpu, type VmExit } from "../../arch/index.ts";
import { ConfigError, type Flushing } from "../../mm/index.ts";
import type { GuestConfig } from "./guest-config.ts";
import { HostScheduler, type Resumption } from "./host-scheduler.ts";
import { Hypervisor } from "./hypervisor.ts";
import { HYPERVISOR_COSTS } from "./hypervisor-costs.ts";

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
  /** Which vCPU runs where, and what it lost to others. */
  readonly scheduler: HostScheduler;
  private readonly machine: Machine;
  private sharesAsid = false;
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
    this.hypervisor = new Hypervisor(machine, { pageSize: hostPages, levels: 4 });
    const { secondStage } = this.hypervisor;
    this.vcpus = machine.cpus.map(({ id }) => new Vcpu({ id: id + 1, secondStage }));
    this.counts = machine.cpus.map(() => ({ faults: 0, icrWrites: 0, resumptions: 0, exitCycles: 0 }));
    this.activity = loop.accounts.activity("hypervisor");
    const { slice, haltPoll } = HYPERVISOR_COSTS;
    const gigahertz = preset.frequencyGhz.value;
    const times = { sliceCycles: slice.value * gigahertz, haltPollCycles: haltPoll.value * gigahertz };
    this.scheduler = new HostScheduler(loop, machine.config.physicalCpus, times, (cpu, after) =>
      this.resume(cpu, after),
    );
  }

  /**
   * Enters the guest on all CPUs, on which nothing has run yet.
   * @param flushing that of the guest's kernel
   * @throws ConfigError for a flush policy that there is not in a guest
   */
  start({ smp, policy }: Flushing): void {
    if (policy.usesRar === true) throw new ConfigError("flush policy", policy.name, "one that a guest can have");
    this.sharesAsid = policy.usesInvlpgb === true;
    smp.onIcrWrite = (cpu) => this.icrWritten(cpu);
    for (const cpu of this.machine.cpus) {
      // As with guests of SEV: what one broadcasts reaches the others by their ASID.
      if (this.sharesAsid) this.vcpus[cpu.id].id = 1;
      cpu.mmu.onVmExit = (exit) => this.handleExit(exit);
      cpu.enterGuest(this.vcpus[cpu.id]);
    }
    this.machine.loop.vcpuScheduler = this.scheduler;
  }

  /** A vCPU runs again: the exit with which it ended to, the host's scheduler, and a VM entry. */
  private resume(cpu: number, after: Resumption): void {
    const { vcpuSwitch, wake } = HYPERVISOR_COSTS;
    const vcpu = this.vcpus[cpu];
    this.counts[cpu].resumptions++;
    this.machine.cpus[cpu].exitGuest();
    // vCPUs of one ASID are told apart by nothing else: the other's entries go.
    const hasOthersEntries = this.sharesAsid && this.machine.config.physicalCpus < this.vcpus.length;
    if (hasOthersEntries) vcpu.tlbControl = TLB_CONTROL_GUEST;
    this.answer(
      cpu,
      this.machine.preset.virtualization.costs.vmExit.value,
      (after === "halt" ? wake : vcpuSwitch).value,
    );
    vcpu.tlbControl = TLB_CONTROL_NOTHING;
  }

  /** A vCPU writes the interrupt command register: an exit, unless the machine had IPI virtualization. */
  icrWritten(cpu: number): void {
    this.counts[cpu].icrWrites++;
    this.machine.cpus[cpu].exitGuest();
    this.answer(cpu, this.machine.preset.virtualization.costs.vmExit.value, HYPERVISOR_COSTS.icr.value);
  }

  /** Answers an exit because of an access, on the CPU that made it; a misconfiguration is not answered. @throws NotEnoughMemory */
  private handleExit(exit: VmExit): void {
    if (exit instanceof EptMisconfiguration) return;
    const { hypervisor } = this;
    const before = hypervisor.pages;
    hypervisor.handleExit(exit);
    this.counts[exit.cpu].faults++;
    const zeroed = (hypervisor.pages - before) * hypervisor.pageFrames * HYPERVISOR_COSTS.zeroPage.value;
    this.answer(exit.cpu, this.machine.preset.virtualization.costs.vmExit.value, HYPERVISOR_COSTS.fault.value + zeroed);
  }

  /** Books what an exit took, and enters the guest again. @param exitCycles what the exit itself has taken already */
  private answer(cpu: number, exitCycles: number, ownCycles: number): void {
    const { loop, cpus } = this.machine;
    const began = loop.clockCycles[cpu] - exitCycles;
    const activity = loop.accounts.enter(cpu, this.activity);
    loop.clockCycles[cpu] += HYPERVISOR_COSTS.dispatch.value + ownCycles;
    cpus[cpu].enterGuest(this.vcpus[cpu]);
    loop.accounts.enter(cpu, activity);
    this.counts[cpu].exitCycles += loop.clockCycles[cpu] - began;
  }
}
