/** The machine that tests run on unless they ask for another: small, so that it can be put back quickly. */
import { type Preset, presetByName, type TlbPreset } from "../../../arch/index.ts";
import { DEFAULT_KERNEL_CONFIG, type KernelConfig } from "../../machine/kernel.ts";

const MEMORY_BYTES = 16 * 2 ** 20;
const SECOND_LEVEL_SETS = 4;

/** Skylake with a small second-level TLB: what is stale must be found, not what is evicted. */
export function smallPreset(): Preset {
  const skylake = presetByName("skylake");
  const tlbs = skylake.tlbs.map((tlb): TlbPreset => (tlb.level === 2 ? { ...tlb, sets: SECOND_LEVEL_SETS } : tlb));
  return { ...skylake, name: "skylake with a small second level", tlbs };
}

/** Settings of the kernel in tests; the number of CPUs is the test's. */
export const EXPLORED_KERNEL: KernelConfig = {
  ...DEFAULT_KERNEL_CONFIG,
  memoryBytes: MEMORY_BYTES,
  preset: smallPreset(),
  proveLocking: true,
};
