/** The parts of a file with a kernel's state; how they are packed, summed up and written is the caller's. */
import { StateError } from "../../arch/index.ts";
import { ALL_FLUSH_POLICIES } from "../../mm/index.ts";
import type { GuestConfig } from "../guests/guest-config.ts";
import { hypervisorCostValues } from "../guests/hypervisor-costs.ts";
import type { Kernel } from "../machine/kernel.ts";
import { encodeData } from "./container.ts";
import { captureKernel, type KernelState } from "./kernel-state.ts";
import { STATE_BYTES_MAX, STATE_FORMAT, STATE_VERSION } from "./state-kernel.ts";

/** How every refusal to save begins. */
export const REFUSED = "the state cannot be saved";

/**
 * The state of an idle kernel, not packed.
 * @throws StateError when something of it cannot be saved
 */
export function stateOf(kernel: Kernel): Uint8Array {
  const bugs = kernel.config.bugs ?? [];
  if (bugs.length > 0)
    throw new StateError(REFUSED, `the kernel has former bugs of Linux switched on (${bugs.join(", ")})`);
  if (kernel.config.guest?.balloon !== undefined)
    throw new StateError(REFUSED, "the guest has a balloon, whose driver's pages are not part of it");
  const state = encodeData(captured(kernel));
  if (state.length > STATE_BYTES_MAX)
    throw new StateError(REFUSED, `${state.length} bytes are more than are read again`);
  return state;
}

/**
 * The first line of the file.
 * @param madeBy a few words on what brought it there
 * @param bodyBytes of the packed state
 * @throws StateError for a configuration that has no name
 */
export function stateHeader(kernel: Kernel, madeBy: string, bodyBytes: number, more: object = {}): string {
  const [format, version] = [STATE_FORMAT, STATE_VERSION];
  return `${JSON.stringify({ format, version, madeBy, ...more, config: configOf(kernel), bodyBytes })}\n`;
}

function captured(kernel: Kernel): KernelState {
  try {
    return captureKernel(kernel);
  } catch (error) {
    if (error instanceof StateError) throw new StateError(REFUSED, error.message);
    throw error;
  }
}

/** All of the configuration, defaults included. */
function configOf({ config, machine, mm, vm }: Kernel) {
  const { policy, ceilingPages, isolation } = mm.flushing;
  if (!ALL_FLUSH_POLICIES.includes(policy)) {
    const known = ALL_FLUSH_POLICIES.map(({ name }) => name).join(", ");
    throw new StateError(REFUSED, `flush policy "${policy.name}": is none of ${known}`);
  }
  return {
    cpus: config.cpus,
    memoryBytes: config.memoryBytes,
    preset: machine.preset,
    features: { ...machine.features },
    topology: machine.loop.topology.config,
    numaNodes: config.numaNodes,
    kernel: mm.version.name,
    flushPolicy: policy.name,
    isolatedCpus: [...(config.isolatedCpus ?? [])],
    pageTableIsolation: isolation,
    ...(config.mitigations === undefined ? {} : { mitigations: config.mitigations }),
    ...(config.memcgLevels === undefined ? {} : { memcgLevels: config.memcgLevels }),
    ...(config.spinlocks === undefined ? {} : { spinlocks: config.spinlocks }),
    ...(config.idleStates === undefined ? {} : { idleStates: config.idleStates }),
    flushCeilingPages: ceilingPages,
    ...(mm.flushing.flushFreedTables ? { flushFreedTables: true } : {}),
    ...(mm.lockdep === null ? {} : { proveLocking: true }),
    ...(config.guest === undefined ? {} : { guest: guestConfigOf(config.guest, machine.config.physicalCpus) }),
    costs: config.costs,
    vmalloc: vm.config,
  };
}

/** A guest's configuration, defaults included; an absent size of the guest's own pages is no default but all sizes. */
function guestConfigOf({ guestPages, hostPages = "4K", numaBalancing, costs }: GuestConfig, physicalCpus: number) {
  return {
    ...(guestPages === undefined ? {} : { guestPages }),
    hostPages,
    physicalCpus,
    ...(numaBalancing === undefined ? {} : { numaBalancing }),
    ...(costs === undefined ? {} : { costs: hypervisorCostValues(costs) }),
  };
}
