/** The machine that tests run on unless they ask for another: small, so that it can be put back quickly. */
import { type DataCachePreset, type Preset, presetByName, type TlbPreset } from "../../../arch/index.ts";
import { DEFAULT_KERNEL_CONFIG, type KernelConfig } from "../../machine/kernel.ts";

const MEMORY_BYTES = 16 * 2 ** 20;
const SECOND_LEVEL_SETS = 4;
const LINE_BYTES = 64;
/** What a preset's name gets more when it is made small. */
const SMALL = " with a small second level";

/**
 * A microarchitecture with a small second-level TLB and small data caches: what is stale must be found, not what is evicted, and how
 * long a page walk takes decides nothing.
 */
export function smallPreset(name = "skylake"): Preset {
  return shrunk(presetByName(name));
}

/** As {@link smallPreset}, for one that has no name of its own. */
export function shrunk(preset: Preset): Preset {
  const tlbs = preset.tlbs.map((tlb): TlbPreset => (tlb.level === 2 ? { ...tlb, sets: SECOND_LEVEL_SETS } : tlb));
  const dataCaches = preset.dataCaches.map(
    (cache): DataCachePreset => ({ ...cache, sizeBytes: { ...cache.sizeBytes, value: LINE_BYTES * cache.ways.value } }),
  );
  return { ...preset, name: `${preset.name}${SMALL}`, tlbs, dataCaches };
}

/** The name of the preset that a small one was made of. */
export function nameBeforeShrunk({ name }: Preset): string {
  return name.replace(SMALL, "");
}

/** The microarchitecture of tests that ask for none. */
export const EXPLORED_PRESET = smallPreset();

/** Settings of the kernel in tests; the number of CPUs is the test's. */
export const EXPLORED_KERNEL: KernelConfig = {
  ...DEFAULT_KERNEL_CONFIG,
  memoryBytes: MEMORY_BYTES,
  preset: EXPLORED_PRESET,
  proveLocking: true,
};
