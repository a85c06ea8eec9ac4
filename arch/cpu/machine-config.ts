/** What a machine is built from, checked. */
import { MachineUsageError } from "../isa/errors.ts";
import { CPUS_MAX, isMemorySize, MEMORY_SIZES, PHYSICAL_BITS_MAX, PHYSICAL_BITS_MIN } from "../isa/limits.ts";
import { HIGH_MEMORY_START, LOW_MEMORY_BYTES } from "../memory/physical-memory.ts";
import { PRESETS, presetByName } from "../presets/index.ts";
import type { CpuFeatures, Preset } from "../presets/preset.ts";
import { checkPreset } from "../presets/preset-schema.ts";
import type { TopologyConfig } from "../time/topology.ts";

/** Settings of a machine. */
export interface MachineConfig {
  /** Number of CPUs, 1 to `CPUS_MAX`. Default 1. */
  readonly cpus?: number;
  /** Memory, a positive multiple of 4096 up to `MEMORY_BYTES_MAX`. Default 4 GiB. */
  readonly memoryBytes?: number;
  /** The microarchitecture: the name of one of `PRESETS` (`skylake`, `zen4`, ...), or one's own. Default `skylake`. */
  readonly preset?: string | Preset | undefined;
  /** Features to take away from or to add to the preset's. */
  readonly features?: Partial<CpuFeatures>;
  /** Physical-address width, 36 to 52 bits. Default: the preset's. */
  readonly maxPhyAddr?: number;
  /** Levels of page tables, 4 or 5; five need the feature `la57`. Default 4. */
  readonly pagingLevels?: 4 | 5;
  /**
   * The CPUs are virtual ones, in a guest, of so many physical CPUs, whose TLBs and caches they share in turn; `cpus` at most. Default:
   * each has its own.
   */
  readonly physicalCpus?: number | undefined;
  /**
   * The memory is a guest's, in a machine with so many bytes (`HostMemory`). Default: it is the machine's own.
   */
  readonly hostMemoryBytes?: number | undefined;
  /** Sockets, cores, threads; their product is `cpus`. Default: one thread a core, sockets of 64 cores. */
  readonly topology?: TopologyConfig | undefined;
}

/** All settings filled in. */
export interface CheckedConfig {
  /** Number of CPUs. */
  readonly cpus: number;
  /** Bytes of memory. */
  readonly memoryBytes: number;
  /** The microarchitecture. */
  readonly preset: Preset;
  /** The preset's features with the changes asked for. */
  readonly features: CpuFeatures;
  /** Width of physical addresses in bits. */
  readonly maxPhyAddr: number;
  /** Levels of page tables. */
  readonly pagingLevels: 4 | 5;
  /** Physical CPUs, whose TLBs and caches the CPUs share in turn. */
  readonly physicalCpus: number;
  /** The topology asked for, if any. */
  readonly topology: TopologyConfig | undefined;
}

/**
 * Fills in defaults and checks.
 * @throws MachineUsageError naming the setting, its value and what was expected
 */
export function checkConfig(config: MachineConfig): CheckedConfig {
  const { cpus = 1, memoryBytes = 2 ** 32, pagingLevels = 4 } = config;
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > CPUS_MAX) {
    throw new MachineUsageError("cpus", cpus, `a whole number from 1 to ${CPUS_MAX}`);
  }
  const preset = typeof config.preset === "object" ? config.preset : presetByName(config.preset ?? "skylake");
  // Those that come with the machine are right; booting one of them need not look at each field.
  if (!PRESETS.includes(preset)) checkPreset(preset, cpus);
  const features = { ...preset.features, ...config.features };
  const maxPhyAddr = config.maxPhyAddr ?? preset.maxPhyAddr.value;
  if (!isMemorySize(memoryBytes)) {
    throw new MachineUsageError("memoryBytes", memoryBytes, MEMORY_SIZES);
  }
  for (const [name, value] of Object.entries(features)) {
    if (!Object.hasOwn(preset.features, name)) {
      throw new MachineUsageError("features", name, `names among ${Object.keys(preset.features).join(", ")}`);
    }
    if (typeof value !== "boolean") throw new MachineUsageError(`features: ${name}`, value, "true or false");
  }
  if (!Number.isInteger(maxPhyAddr) || maxPhyAddr < PHYSICAL_BITS_MIN || maxPhyAddr > PHYSICAL_BITS_MAX) {
    const expected = `a whole number from ${PHYSICAL_BITS_MIN} to ${PHYSICAL_BITS_MAX}`;
    throw new MachineUsageError("maxPhyAddr", maxPhyAddr, expected);
  }
  const end = memoryBytes > LOW_MEMORY_BYTES ? HIGH_MEMORY_START + memoryBytes - LOW_MEMORY_BYTES : memoryBytes;
  if (end > 2 ** maxPhyAddr) {
    throw new MachineUsageError(
      "memoryBytes",
      memoryBytes,
      `memory below 2^${maxPhyAddr}, the end of physical addresses`,
    );
  }
  if (pagingLevels !== 4 && pagingLevels !== 5) throw new MachineUsageError("pagingLevels", pagingLevels, "4 or 5");
  if (pagingLevels === 5 && !features.la57) {
    throw new MachineUsageError("pagingLevels", 5, `4: ${preset.name} has no five-level paging (feature la57)`);
  }
  const { topology, physicalCpus = cpus } = config;
  if (!Number.isInteger(physicalCpus) || physicalCpus < 1 || physicalCpus > cpus) {
    throw new MachineUsageError("physicalCpus", physicalCpus, `a whole number from 1 to ${cpus}`);
  }
  return { cpus, memoryBytes, preset, features, maxPhyAddr, pagingLevels, physicalCpus, topology };
}
