/** Settings of vmalloc, with the kernel's defaults for a given number of CPUs. */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { roundUpToPowerOfTwo } from "../../arch/isa/power-of-two.ts";
import { ConfigError } from "../lib/config-error.ts";
import type { KernelVersion } from "../versions/kernel-version.ts";
import { DEFAULT_KERNEL_VERSION } from "../versions/kernel-versions.ts";

/** Requests of up to this many pages come from vmap blocks (`VMAP_MAX_ALLOC`). */
export const VMAP_MAX_ALLOC = 64;
/** Most vmap nodes there are. */
const VMAP_NODES_MAX = 128;

/** Settings that a kernel has when it boots. */
export interface VmallocConfig {
  /** CPUs online: they set `lazyMaxPages`. */
  readonly onlineCpus: number;
  /** CPUs possible: they set the number of vmap nodes. */
  readonly possibleCpus: number;
  /** `NR_CPUS`, for which the kernel was built: it sets the size of vmap blocks. */
  readonly nrCpus: number;
  /** Vmap nodes (`nr_vmap_nodes`), 1 to 128. */
  readonly vmapNodes: number;
  /** Bytes of address space that belong to a node in turn (`vmap_zone_size`). */
  readonly zoneSizeBytes: number;
  /** Lazily freed pages above which a purge is due (`lazy_max_pages()`). */
  readonly lazyMaxPages: number;
  /** Pages of a vmap block (`VMAP_BBMAP_BITS`). */
  readonly blockPages: number;
  /** Blocks with fewer free pages than this may be purged (`VMAP_PURGE_THRESHOLD`); 0 where the kernel has no threshold. */
  readonly purgeThresholdPages: number;
  /** Whether `vmalloc_huge` uses large pages (`vmap_allow_huge`). */
  readonly allowHuge: boolean;
  /** Largest page that `ioremap` may use, as log2 of its bytes. */
  readonly ioremapMaxPageShift: number;
  /** Whether to answer as the real kernel does where it is known to be wrong (`vread` of vmap blocks). */
  readonly upstreamQuirks: boolean;
}

/** `lazy_max_pages()` of a kernel: 32 MiB, times one more than log2 of the CPUs online, in pages. */
export function lazyMaxPages(onlineCpus: number): number {
  return (32 - Math.clz32(onlineCpus)) * 8192;
}

/**
 * A full configuration from what is given; the rest are the kernel's defaults.
 * @throws ConfigError for a value out of range
 */
export function vmallocConfig(
  given: Partial<VmallocConfig>,
  version: KernelVersion = DEFAULT_KERNEL_VERSION,
): VmallocConfig {
  const onlineCpus = given.onlineCpus ?? 1;
  whole("onlineCpus", onlineCpus, 1, 8192);
  const possibleCpus = given.possibleCpus ?? onlineCpus;
  whole("possibleCpus", possibleCpus, onlineCpus, 8192);
  const nrCpus = given.nrCpus ?? Math.max(8, roundUpToPowerOfTwo(possibleCpus));
  whole("nrCpus", nrCpus, 1, 8192);
  const nodesMax = version.hasVmapNodes ? VMAP_NODES_MAX : 1;
  const vmapNodes = given.vmapNodes ?? Math.min(possibleCpus, nodesMax);
  whole("vmapNodes", vmapNodes, 1, nodesMax);
  const blockPages = given.blockPages ?? Math.min(1024, Math.max(128, 2 ** 25 / roundUpToPowerOfTwo(nrCpus) / 16));
  if (blockPages !== roundUpToPowerOfTwo(blockPages)) throw new ConfigError("blockPages", blockPages, "a power of two");
  whole("blockPages", blockPages, 128, 1024);
  const config: VmallocConfig = {
    onlineCpus,
    possibleCpus,
    nrCpus,
    vmapNodes,
    zoneSizeBytes: given.zoneSizeBytes ?? (vmapNodes > 1 ? 16 * PAGE_SIZE : 1),
    lazyMaxPages: given.lazyMaxPages ?? lazyMaxPages(onlineCpus),
    blockPages,
    purgeThresholdPages: given.purgeThresholdPages ?? (version.blocks.hasPurgeThreshold ? blockPages / 4 : 0),
    allowHuge: given.allowHuge ?? true,
    ioremapMaxPageShift: given.ioremapMaxPageShift ?? 63,
    upstreamQuirks: given.upstreamQuirks ?? false,
  };
  whole("zoneSizeBytes", config.zoneSizeBytes, 1, 2 ** 40);
  whole("lazyMaxPages", config.lazyMaxPages, 0, 2 ** 36);
  whole("purgeThresholdPages", config.purgeThresholdPages, 0, blockPages);
  return config;
}

function whole(setting: string, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new ConfigError(setting, value, `a whole number from ${low} to ${high}`);
  }
}
