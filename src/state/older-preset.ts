/**
 * Headers of saved states before version 16, in which filling pages with zeros was a cost of the kernel, the same for all presets; and presets as saved states of version 2 may hold them: written before each figure said how it is known. There `source` began with
 * `[F]` found, `[C]` computed or `[M]` remembered, and a TLB had one source for its whole shape.
 */
import { assumed, documented, type Origin } from "../../arch/index.ts";
import { allFrom } from "../../arch/presets/figure.ts";
import { STRUCTURE_SHAPE_FIELDS, TLB_SHAPE_FIELDS } from "../../arch/presets/preset.ts";

type Fields = Readonly<Record<string, unknown>>;

/** The preset with an origin for each figure that has none; anything else is left as it is. */
export function withOrigins(preset: unknown): unknown {
  if (!isFields(preset) || "origins" in preset) return preset;
  const { tlbs, pagingStructureCaches, ...rest } = preset;
  return {
    ...(withBasis(rest) as Fields),
    origins: { features: documented("a saved state, which does not say more") },
    tlbs: Array.isArray(tlbs) ? tlbs.map(tlbWithOrigins) : tlbs,
    pagingStructureCaches: isFields(pagingStructureCaches)
      ? Object.fromEntries(
          Object.entries(pagingStructureCaches).map(([name, cache]) => [name, structureWithOrigins(cache)]),
        )
      : pagingStructureCaches,
  };
}

/** The version from which on the preset says what filling a page with zeros takes. */
const ZEROING_IN_PRESET = 16;
/** What filling a page from the last level took in files that do not say it (before version 9). */
const ZERO_LAST_LEVEL_CYCLES = 400;

/** A header with the costs of filling pages in its preset, as they were; anything else is left as it is. */
export function withZeroingInPreset(header: unknown): unknown {
  if (!isFields(header) || Number(header.version) >= ZEROING_IN_PRESET || !isFields(header.config)) return header;
  const { costs, preset, guest } = header.config;
  if (!isFields(costs) || !isFields(costs.pages) || !isFields(preset) || !isFields(preset.costs)) return header;
  const { zeroPageCycles, pages, ...kernelCosts } = costs;
  const { zeroColdCycles, zeroLastLevelCycles = ZERO_LAST_LEVEL_CYCLES, ...pageCosts } = pages as Fields;
  const figure = (value: unknown) => ({ value, unit: "cycles", ...assumed("a saved state, which does not say more") });
  const zeroing = {
    zeroPage: figure(zeroPageCycles),
    zeroPageLastLevel: figure(zeroLastLevelCycles),
    zeroPageMemory: figure(zeroColdCycles),
    zeroPageNext: figure(zeroColdCycles),
  };
  const config = {
    ...header.config,
    costs: { ...kernelCosts, pages: { ...pageCosts, zeroCallCycles: 0 } },
    preset: { ...preset, costs: { ...preset.costs, ...zeroing } },
    ...(isFields(guest) ? { guest: withoutZeroing(guest) } : {}),
  };
  return { ...header, config };
}

/** A guest whose host fills its pages as the preset says. */
function withoutZeroing({ costs, ...guest }: Fields): Fields {
  if (!isFields(costs)) return { ...guest, ...(costs === undefined ? {} : { costs }) };
  const { zeroPage: _, ...rest } = costs;
  return { ...guest, costs: rest };
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** All figures within a value with a basis. */
function withBasis(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withBasis);
  if (!isFields(value)) return value;
  if ("unit" in value && typeof value.source === "string") return { ...value, ...originOf(value.source) };
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, withBasis(each)]));
}

function tlbWithOrigins(tlb: unknown): unknown {
  if (!isFields(tlb) || typeof tlb.source !== "string") return tlb;
  const { source, pcidCapacity, ...rest } = tlb;
  const origin = originOf(tlb.source);
  return {
    ...rest,
    ...(pcidCapacity === undefined ? {} : { pcidCapacity: { value: pcidCapacity, unit: "PCIDs", ...origin } }),
    origins: allFrom(TLB_SHAPE_FIELDS, origin),
  };
}

function structureWithOrigins(cache: unknown): unknown {
  if (!isFields(cache) || typeof cache.source !== "string") return cache;
  const { source, ...rest } = cache;
  const origin = originOf(cache.source);
  return {
    ...rest,
    origins: "sharedWith" in rest ? { sharedWith: origin } : allFrom(STRUCTURE_SHAPE_FIELDS, origin),
  };
}

function originOf(source: string): Origin {
  const text = source.replace(/^\[[FCM]\] ?/, "");
  const isFound = source.startsWith("[F]");
  return isFound ? documented(text) : assumed(text === "" ? "not said" : text);
}
