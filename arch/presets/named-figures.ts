/** All figures of a preset by name, as listings, reports and `--set` have them: `tlbs.0.ways`, `costs.walk`. */
import { isRecord } from "./field-checks.ts";
import type { Basis, Figure, Origin } from "./figure.ts";
import type { CpuFeatures, Preset } from "./preset.ts";

/** What a figure can be given: a number, a name, on or off, page sizes. */
export type FigureValue = number | string | boolean | readonly string[];

/** A figure with its name and with what it is a figure of. */
export interface NamedFigure extends Origin {
  /** The way to it in the preset, with dots: `dataCaches.0.hitCycles`. */
  readonly name: string;
  /** A number, the name of a policy or hash, or page sizes joined by `+`. */
  readonly value: number | string;
  /** `cycles`, `bytes`, `ways`, `sets`, `bits`, `GHz`, `PCIDs`, `ns`, `cores`, `walkers`, `accesses`; empty for what is no number. */
  readonly unit: string;
  /** What it belongs to, where the name does not say it: `L2 TLB`; else empty. */
  readonly of: string;
}

/** Figures that play no part in a CPU without a feature. */
const NEEDED_FEATURES: Readonly<Record<string, keyof CpuFeatures>> = {
  "costs.invpcidAddress": "invpcid",
  "costs.invpcidContext": "invpcid",
  "costs.invpcidAll": "invpcid",
  "costs.invpcidAllNonGlobal": "invpcid",
  "costs.movCr3NoFlush": "pcid",
  "costs.wrpkru": "pku",
  "costs.invlpgb": "invlpgb",
  "costs.tlbsync": "invlpgb",
  "costs.remoteAction": "rar",
};

/** Units of plain fields that are numbers. */
const PLAIN_UNITS: Readonly<Record<string, string>> = { sets: "sets", ways: "ways" };

/** How the names of figures begin that play a part in guests only. */
const GUESTS = "virtualization.";
/** How the names of figures begin that play a part for independent accesses only. */
const OVERLAP = "overlap.";
const MITIGATIONS = "mitigations.";
const IDLE_STATES = "idleStates.";

/** What of a preset only some machines use. */
export interface FiguresUsed {
  /** Those of guests. Default: no. */
  readonly guests?: boolean;
  /** Those of independent accesses. Default: no. */
  readonly overlap?: boolean;
  /** Those of mitigations. Default: no. */
  readonly mitigations?: boolean;
  /** Those of idle states. Default: no. */
  readonly idleStates?: boolean;
}

/** Figures that play a part in a CPU with the preset's features. */
export function figuresOf(preset: Preset, used: FiguresUsed = {}): NamedFigure[] {
  const all = [
    ...allFiguresOf(preset),
    ...(used.guests === true ? guestAbilities(preset) : []),
    ...(used.mitigations === true ? selectedMitigations(preset) : []),
  ];
  return all.filter(({ name }) => {
    if (name.startsWith(GUESTS)) return used.guests === true;
    if (name.startsWith(OVERLAP)) return used.overlap === true;
    if (name.startsWith(MITIGATIONS)) return used.mitigations === true;
    if (name.startsWith(IDLE_STATES)) return used.idleStates === true;
    const feature = NEEDED_FEATURES[name];
    return feature === undefined || preset.features[feature];
  });
}

/** All figures of a preset, in the order in which it has them. */
export function allFiguresOf(preset: Preset): NamedFigure[] {
  const { maxPhyAddr, frequencyGhz, tlbs, pagingStructureCaches, dataCaches, memory, costs } = preset;
  return [
    named("maxPhyAddr", "", maxPhyAddr),
    named("frequencyGhz", "", frequencyGhz),
    ...tlbs.flatMap((tlb, index) => shapeFigures(`tlbs.${index}`, tlb.name, tlb)),
    ...Object.entries(pagingStructureCaches).flatMap(([name, cache]) =>
      shapeFigures(`pagingStructureCaches.${name}`, "", cache),
    ),
    ...dataCaches.flatMap((cache, index) => shapeFigures(`dataCaches.${index}`, cache.name, cache)),
    named("memory", "", memory),
    ...Object.entries(preset.lineTransfers).map(([name, figure]) => named(`lineTransfers.${name}`, "", figure)),
    named("sharedCore.throughput", "", preset.sharedCore.throughput),
    ...Object.entries(preset.overlap).map(([name, figure]) => named(`${OVERLAP}${name}`, "", figure)),
    ...Object.entries(costs).map(([name, figure]) => named(`costs.${name}`, "", figure)),
    ...guestFigures(preset),
    ...Object.entries(preset.mitigations?.costs ?? {}).map(([name, figure]) =>
      named(`${MITIGATIONS}costs.${name}`, "", figure),
    ),
    ...(preset.idleStates ?? []).flatMap(({ name, exitLatency, targetResidency }, index) => [
      named(`${IDLE_STATES}${index}.exitLatency`, name, exitLatency),
      named(`${IDLE_STATES}${index}.targetResidency`, name, targetResidency),
    ]),
  ];
}

/** What Linux selects on the part, which is no number. */
function selectedMitigations({ mitigations }: Preset): NamedFigure[] {
  if (mitigations === undefined) return [];
  return Object.entries(mitigations.selected).map(([field, value]) => {
    const origin = mitigations.origins[field as keyof typeof mitigations.origins];
    return { name: `${MITIGATIONS}selected.${field}`, of: "", value: String(value), unit: "", ...origin };
  });
}

function guestFigures({ virtualization }: Preset): NamedFigure[] {
  const { guestPhysicalCaches, costs } = virtualization;
  return [
    ...Object.entries(guestPhysicalCaches).flatMap(([name, cache]) =>
      shapeFigures(`${GUESTS}guestPhysicalCaches.${name}`, "", cache),
    ),
    ...Object.entries(costs).map(([name, figure]) => named(`${GUESTS}costs.${name}`, "", figure)),
  ];
}

/** What is known of guests that is no number. */
function guestAbilities({ virtualization }: Preset): NamedFigure[] {
  const { origins, features, invlpgDropsFractured } = virtualization;
  const has = Object.entries(features).filter(([, there]) => there);
  return [
    { name: `${GUESTS}features`, of: "", value: has.map(([name]) => name).join("+"), unit: "", ...origins.features },
    {
      name: `${GUESTS}invlpgDropsFractured`,
      of: "",
      value: String(invlpgDropsFractured),
      unit: "",
      ...origins.invlpgDropsFractured,
    },
  ];
}

/** How many of some figures have each basis. */
export function countByBasis(figures: readonly Origin[]): Record<Basis, number> {
  const counts: Record<Basis, number> = { measured: 0, documented: 0, assumed: 0 };
  for (const { basis } of figures) counts[basis]++;
  return counts;
}

/**
 * The preset with another value for one of its figures, or of its features (`features.invlpgb`). It is not checked.
 * @param name one of `allFiguresOf`, or a feature
 * @param origin how the new value is known
 */
export function withFigure(preset: Preset, name: string, value: FigureValue, origin: Origin): Preset {
  return changed(preset, name.split("."), value, origin) as Preset;
}

function changed(whole: object, path: readonly string[], value: FigureValue, origin: Origin): object {
  const [key, ...rest] = path;
  const fields = whole as Readonly<Record<string, unknown>>;
  const old = fields[key];
  const copy = (field: unknown): object =>
    Array.isArray(whole) ? whole.with(Number(key), field) : { ...fields, [key]: field };
  if (rest.length > 0) return copy(changed(old as object, rest, value, origin));
  if (isRecord(old) && "unit" in old) return copy({ ...old, value, ...origin });
  const { origins } = fields;
  const hasOrigin = isRecord(origins) && Object.hasOwn(origins, key);
  return hasOrigin ? { ...copy(value), origins: { ...origins, [key]: origin } } : copy(value);
}

function named(name: string, of: string, { value, unit, basis, source }: Figure): NamedFigure {
  return { name, of, value, unit, basis, source };
}

/** Figures of a structure: fields that are figures, and plain fields whose origins stand in `origins`. */
function shapeFigures(path: string, of: string, shape: object): NamedFigure[] {
  const fields: Readonly<Record<string, unknown>> = { ...shape };
  const origins: Readonly<Record<string, Origin>> = isRecord(fields.origins)
    ? (fields.origins as Readonly<Record<string, Origin>>)
    : {};
  return Object.entries(fields).flatMap(([field, value]): NamedFigure[] => {
    const name = `${path}.${field}`;
    if (isRecord(value) && "unit" in value) return [named(name, of, value as unknown as Figure)];
    if (!Object.hasOwn(origins, field)) return [];
    const shown = Array.isArray(value) ? value.join("+") : (value as number | string);
    return [{ name, of, value: shown, unit: PLAIN_UNITS[field] ?? "", ...origins[field] }];
  });
}
