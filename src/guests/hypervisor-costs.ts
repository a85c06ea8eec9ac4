/** What a hypervisor's own code costs, beside VM exits and entries, which the preset has. As KVM's; none is published in full. */
import { assumed, documented, type Figure, type NamedFigure } from "../../arch/index.ts";
import { ConfigError } from "../../mm/index.ts";

/** Costs of a hypervisor. */
export interface HypervisorCosts {
  /** From a VM exit to what answers it, and back to the VM entry: registers saved and loaded, the exit's reason looked up. */
  readonly dispatch: Figure<"cycles">;
  /** Answering an access to guest memory that is not mapped: memory slot, host page, entry; beside filling the page with zeros, which the preset has. */
  readonly fault: Figure<"cycles">;
  /** Answering a write of the interrupt command register: the target looked up, its interrupt posted. */
  readonly icr: Figure<"cycles">;
  /** Letting another vCPU run: the host's context switch, and the state of a vCPU put away and loaded (`vcpu_put`, `vcpu_load`). */
  readonly vcpuSwitch: Figure<"cycles">;
  /** Waking a vCPU that waits for an interrupt in the host (`kvm_vcpu_block`): its thread becomes runnable and is picked. */
  readonly wake: Figure<"cycles">;
  /** Taking a page away from the guest: entry, reverse mapping, the host's own page table. */
  readonly zap: Figure<"cycles">;
  /** How long a vCPU runs while another waits. */
  readonly slice: Figure<"ns">;
  /** How long a vCPU with nothing to do polls before it blocks. */
  readonly haltPoll: Figure<"ns">;
}

/** Those of a host for which none are given. */
export const HYPERVISOR_COSTS: HypervisorCosts = {
  dispatch: cycles(500, "vcpu_enter_guest's own work around VMRESUME: some hundred instructions and barriers"),
  fault: cycles(1500, "kvm_mmu_page_fault: mmu_lock, memory slot, get_user_pages, rmap; about a host's page fault"),
  icr: cycles(300, "kvm_irq_delivery_to_apic_fast: one look-up, one posted interrupt"),
  vcpuSwitch: cycles(3000, "a context switch with vcpu_put and vcpu_load, VMCS switched: one to two microseconds"),
  wake: cycles(4000, "kvm_vcpu_block to vcpu_enter_guest: try_to_wake_up, schedule, about two microseconds"),
  zap: cycles(150, "kvm_unmap_gfn_range and change_pte_range: as kernel.user.protectEntryCycles, twice"),
  slice: {
    value: 3e6,
    unit: "ns",
    ...documented("kernel/sched/fair.c of 6.6 to 6.12: sysctl_sched_base_slice, 0.75 ms x 4 on 8 CPUs and more"),
  },
  haltPoll: { value: 2e5, unit: "ns", ...documented("arch/x86/include/asm/kvm_host.h: KVM_HALT_POLL_NS_DEFAULT") },
};

/** What the names of these figures begin with. */
export const HYPERVISOR = "hypervisor.";

/** Bounds of `sched_base_slice_ns` in debugfs, from memory of kernel/sched/debug.c. */
const SLICE_MIN_NS = 1e5;
const SLICE_MAX_NS = 1e9;
/** Cycles, or nanoseconds, of any other cost at the most, as of the kernel's costs. */
const COST_MAX = 2 ** 32;

/**
 * Costs with another value for one of them.
 * @param name with its prefix, such as `hypervisor.fault`
 * @throws ConfigError for a value that is not possible
 */
export function withHypervisorCost(costs: HypervisorCosts, name: string, value: number): HypervisorCosts {
  const key = name.slice(HYPERVISOR.length) as keyof HypervisorCosts;
  const { value: before, unit } = HYPERVISOR_COSTS[key];
  const [least, most] = key === "slice" ? [SLICE_MIN_NS, SLICE_MAX_NS] : [0, COST_MAX];
  if (!(value >= least && value <= most)) {
    throw new ConfigError(name, value, `a number of ${unit} from ${least} to ${key === "slice" ? most : "2^32"}`);
  }
  const figure = { value, unit, ...assumed(`given; by default ${before}`) };
  return { ...costs, [key]: value === before ? HYPERVISOR_COSTS[key] : figure };
}

/** Values by the names of their costs, as saved states have them. */
export type HypervisorCostValues = Readonly<Record<keyof HypervisorCosts, number>>;

/** The value of each. */
export function hypervisorCostValues(costs: HypervisorCosts): HypervisorCostValues {
  return Object.fromEntries(
    Object.entries(costs).map(([key, { value }]: [string, Figure]) => [key, value]),
  ) as HypervisorCostValues;
}

/** Costs with these values. @throws ConfigError for one that is not possible */
export function hypervisorCostsOf(values: HypervisorCostValues): HypervisorCosts {
  let costs = HYPERVISOR_COSTS;
  for (const [key, value] of Object.entries(values)) costs = withHypervisorCost(costs, `${HYPERVISOR}${key}`, value);
  return costs;
}

/** All of them by name, for reports. */
export function hypervisorFigures(costs = HYPERVISOR_COSTS): NamedFigure[] {
  return Object.entries(costs).map(([name, { value, unit, basis, source }]: [string, Figure]) => ({
    name: `${HYPERVISOR}${name}`,
    of: "",
    value,
    unit,
    basis,
    source,
  }));
}

function cycles(value: number, source: string): Figure<"cycles"> {
  return { value, unit: "cycles", ...assumed(source) };
}
