/** The preset whose TLBs are most like those that were measured. */
import type { Preset, TlbPreset, Vendor } from "../../arch/index.ts";
import type { SetGeometry } from "./set-geometry.ts";

/** Vendors as CPUID leaf 0 spells them. */
const VENDOR_NAMES: Readonly<Record<string, Vendor>> = { GenuineIntel: "intel", AuthenticAMD: "amd" };

/** The TLBs of a level that loads from 4 KiB pages use. */
export function loadTlbs({ tlbs }: Preset, level: 1 | 2): TlbPreset[] {
  return tlbs.filter((tlb) => tlb.level === level && tlb.kinds.includes("load") && tlb.pageSizes.includes("4K"));
}

/**
 * Compares entries and ways of both levels, by ratios.
 * @param presets one at least
 * @param second null when it is not known
 * @param vendor as CPUID spells it; only its presets count, if it has any. Empty when it is not known
 */
export function nearestPreset(
  presets: readonly Preset[],
  first: SetGeometry,
  second: SetGeometry | null,
  vendor: string,
): Preset {
  const own = presets.filter((preset) => preset.vendor === VENDOR_NAMES[vendor]);
  const distance = (preset: Preset) =>
    levelDistance(loadTlbs(preset, 1), first) + (second === null ? 0 : levelDistance(loadTlbs(preset, 2), second));
  return (own.length > 0 ? own : presets).reduce((best, each) => (distance(each) < distance(best) ? each : best));
}

/** A level that is absent is as far as one with a 64th of the entries. */
const ABSENT = 6;

function levelDistance(tlbs: readonly TlbPreset[], geometry: SetGeometry): number {
  if (tlbs.length === 0) return ABSENT;
  const entries = tlbs.reduce((sum, { sets, ways }) => sum + sets * ways, 0);
  const ways = tlbs.reduce((sum, tlb) => sum + tlb.ways, 0);
  const ratio = (a: number, b: number) => Math.abs(Math.log2(a / b));
  return ratio(entries, geometry.sets * geometry.ways) + ratio(ways, geometry.ways) / 2;
}
