/** What a kernel that runs as a guest is booted with. */
import { type MachineConfig, type Preset, presetByName } from "../../arch/index.ts";
import { MEMORY_BYTES_MAX } from "../../arch/isa/limits.ts";
import { ConfigError } from "../../mm/index.ts";
import type { BalloonConfig } from "./balloon.ts";
import type { NumaBalancing } from "./host-unmap.ts";
import type { GuestPageSize } from "./hypervisor.ts";
import type { HypervisorCosts } from "./hypervisor-costs.ts";

/** Settings of a guest and of its host. The kernel's CPUs are the guest's vCPUs. */
export interface GuestConfig {
  /** Largest pages that the guest's kernel maps itself with: its direct map, and `vmalloc_huge`. Default: all that there are. */
  readonly guestPages?: GuestPageSize | undefined;
  /** Pages that the hypervisor maps guest memory with. Default: 4 KiB. */
  readonly hostPages?: GuestPageSize | undefined;
  /** NUMA balancing of the host, which takes guest memory away now and then. Default: none. */
  readonly numaBalancing?: NumaBalancing | undefined;
  /** A balloon, which the guest inflates and empties in turn. Default: none. */
  readonly balloon?: BalloonConfig | undefined;
  /** Physical CPUs, on which the vCPUs are pinned in turn. Default: one a vCPU. */
  readonly physicalCpus?: number | undefined;
  /** What the hypervisor's own code costs. Default: `HYPERVISOR_COSTS`. */
  readonly costs?: HypervisorCosts | undefined;
}

/** What the host has beside what the guest can use at the most: 4 GiB below its first page, tables, and pages of 1 GiB cut off. */
const HOST_OWN_BYTES = 6 * 2 ** 30;

/**
 * How large the host's memory must be for a guest of so much.
 * @throws ConfigError when no machine is so large
 */
function hostMemoryBytes(guestBytes: number, maxPhyAddr: number): number {
  const bytes = guestBytes + Math.ceil(guestBytes / 2 ** 20) * 4096 + HOST_OWN_BYTES;
  if (bytes + 2 ** 30 <= Math.min(MEMORY_BYTES_MAX, 2 ** maxPhyAddr)) return bytes;
  throw new ConfigError("memoryBytes of a guest", guestBytes, "so much that the host's memory has room for it");
}

/**
 * What a machine has more when its CPUs and memory are a guest's.
 * @throws ConfigError for settings that do not fit
 */
export function hostOf(
  {
    cpus,
    memoryBytes,
    preset,
  }: { readonly cpus: number; readonly memoryBytes: number; readonly preset?: string | Preset | undefined },
  { physicalCpus = cpus }: GuestConfig,
): Pick<MachineConfig, "physicalCpus" | "hostMemoryBytes"> {
  if (!Number.isInteger(physicalCpus) || physicalCpus < 1 || physicalCpus > cpus) {
    throw new ConfigError("physical CPUs", physicalCpus, `a whole number from 1 to ${cpus}, the guest's vCPUs`);
  }
  const { maxPhyAddr } = typeof preset === "object" ? preset : presetByName(preset ?? "skylake");
  return { physicalCpus, hostMemoryBytes: hostMemoryBytes(memoryBytes, maxPhyAddr.value) };
}
