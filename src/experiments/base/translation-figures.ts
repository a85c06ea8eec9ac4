/** Which of a preset's figures a CPU has used to translate addresses, told by what it has counted. */
import type { CounterSnapshot, Cpu, Preset, TlbPreset } from "../../../arch/index.ts";

/** Kinds of accesses, as presets and as counters name them. */
const KINDS = [
  { kind: "load", accesses: "dTLB-loads", misses: "dtlb_load_misses" },
  { kind: "store", accesses: "dTLB-stores", misses: "dtlb_store_misses" },
  { kind: "fetch", accesses: "iTLB-loads", misses: "itlb_misses" },
] as const;
/** Sizes of pages, the largest first, as presets and as counters name them. */
const SIZES = [
  { size: "1G", counter: "walk_completed_1g" },
  { size: "2M", counter: "walk_completed_2m_4m" },
  { size: "4K", counter: "walk_completed_4k" },
] as const;

/**
 * The names of figures that a CPU has used, or, with a dot at the end, what the names of all figures of a structure begin with. A structure is used
 * where something was put into it or, of those that walks look up, where there was a walk.
 */
export function translationFigures(cpu: Cpu, preset: Preset): string[] {
  const counters = cpu.counters();
  const names = KINDS.flatMap(({ kind, accesses, misses }) => [
    ...(counters[accesses] > 0 ? [`costs.${kind}`] : []),
    ...(counters[`${misses}.stlb_hit`] > 0 ? ["costs.secondLevelHit"] : []),
    ...SIZES.flatMap(({ counter }, i) =>
      counters[`${misses}.${counter}`] > 0 ? tlbsFilled(preset, kind, SIZES.slice(i)) : [],
    ),
  ]);
  return [...names, ...walkFigures(counters, preset), ...eventFigures(counters), ...overlapFigures(cpu)];
}

/** The TLBs that a page goes into: in each level those that hold its size or, where none does, the largest pieces of it. */
function tlbsFilled(
  { tlbs }: Preset,
  kind: TlbPreset["kinds"][number],
  pieces: readonly { readonly size: TlbPreset["pageSizes"][number] }[],
): string[] {
  return [1, 2].flatMap((level) => {
    const ofKind = tlbs.filter((tlb) => tlb.level === level && tlb.kinds.includes(kind));
    const held = pieces.find(({ size }) => ofKind.some(({ pageSizes }) => pageSizes.includes(size)));
    if (held === undefined) return [];
    return ofKind.filter(({ pageSizes }) => pageSizes.includes(held.size)).map((tlb) => `tlbs.${tlbs.indexOf(tlb)}.`);
  });
}

function walkFigures(counters: CounterSnapshot, { pagingStructureCaches }: Preset): string[] {
  const walks = KINDS.reduce((sum, { misses }) => sum + counters[`${misses}.walk_completed`], 0);
  if (walks === 0) return [];
  const caches = Object.keys(pagingStructureCaches).map((name) => `pagingStructureCaches.${name}.`);
  const ofGuests = counters["second_stage.walks"] > 0 ? ["virtualization.guestPhysicalCaches."] : [];
  return ["costs.walk", "dataCaches.", "memory", ...caches, ...ofGuests];
}

function eventFigures(counters: CounterSnapshot): string[] {
  return [
    ...(counters["accessed-dirty-updates"] > 0 ? ["costs.setAccessedDirty"] : []),
    ...(counters["page-faults"] > 0 ? ["costs.pageFault"] : []),
    // Kernels boot with it.
    ...(counters["mov_cr3.flush"] > 0 ? ["costs.movCr3"] : []),
    ...(counters.invlpg > 0 ? ["costs.invlpg"] : []),
    ...(counters.vm_entries > 0 ? ["virtualization.features", "virtualization.invlpgDropsFractured"] : []),
  ];
}

/** Independent accesses have set back the time at which all is complete. */
function overlapFigures({ independent }: Cpu): string[] {
  return Number.isNaN(independent.window.completed) ? [] : ["overlap."];
}
