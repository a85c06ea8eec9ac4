/**
 * Figures: numbers with a unit, each of which says how it is known. The constructors here are how presets and cost profiles are
 * written; a figure without an origin does not type-check, and `preset-schema.ts` refuses one.
 */

/**
 * How a figure is known: `measured` on hardware by somebody who is named, `documented` by the vendor (or computed from what is),
 * or `assumed`: remembered, taken over from another part, or the nearest that there is.
 */
export const BASES = ["measured", "documented", "assumed"] as const;
/** A basis by its name. */
export type Basis = (typeof BASES)[number];

/** How something is known. */
export interface Origin {
  readonly basis: Basis;
  /** Who measured it and on what, which document says so, or why it is assumed. */
  readonly source: string;
}

/** Units of figures. */
export type Unit =
  | "cycles"
  | "bytes"
  | "sets"
  | "ways"
  | "bits"
  | "GHz"
  | "PCIDs"
  | "ns"
  | "cores"
  | "walkers"
  | "accesses";

/** A number with its unit, and how it is known. */
export interface Figure<U extends Unit = Unit> extends Origin {
  readonly value: number;
  readonly unit: U;
}

/** Measured on hardware. @param source who measured it, and on what */
export function measured(source: string): Origin {
  return { basis: "measured", source };
}

/** Said by the vendor, or computed from what it says. @param source the document, or the CPUID leaf */
export function documented(source: string): Origin {
  return { basis: "documented", source };
}

/** Neither. @param source why this value */
export function assumed(source: string): Origin {
  return { basis: "assumed", source };
}

/** A number of cycles. */
export function cycles(value: number, origin: Origin): Figure<"cycles"> {
  return { value, unit: "cycles", ...origin };
}

/** A size in bytes. */
export function bytes(value: number, origin: Origin): Figure<"bytes"> {
  return { value, unit: "bytes", ...origin };
}

/** A number of sets. */
export function sets(value: number, origin: Origin): Figure<"sets"> {
  return { value, unit: "sets", ...origin };
}

/** An associativity. */
export function ways(value: number, origin: Origin): Figure<"ways"> {
  return { value, unit: "ways", ...origin };
}

/** A number of PCIDs. */
export function pcids(value: number, origin: Origin): Figure<"PCIDs"> {
  return { value, unit: "PCIDs", ...origin };
}

/** A width in bits. */
export function bits(value: number, origin: Origin): Figure<"bits"> {
  return { value, unit: "bits", ...origin };
}

/** A time. */
export function nanoseconds(value: number, origin: Origin): Figure<"ns"> {
  return { value, unit: "ns", ...origin };
}

/** A number of cores. */
export function cores(value: number, origin: Origin): Figure<"cores"> {
  return { value, unit: "cores", ...origin };
}

/** A frequency. */
export function gigahertz(value: number, origin: Origin): Figure<"GHz"> {
  return { value, unit: "GHz", ...origin };
}

/**
 * Origins of several fields: all the same, but for some.
 * @param fields what has an origin
 * @param exceptions fields that are known otherwise
 */
export function allFrom<Field extends string>(
  fields: readonly Field[],
  origin: Origin,
  exceptions?: Readonly<Partial<Record<Field, Origin>>>,
): Readonly<Record<Field, Origin>> {
  const all = Object.fromEntries(fields.map((field) => [field, exceptions?.[field] ?? origin]));
  return all as Readonly<Record<Field, Origin>>;
}

/** What is known of another part, taken over: assumed, however well it is known there. @param part its name */
export function takenOver<O extends Origin>(origin: O, part: string): O {
  // What was taken over before names a part; "as with a flush" speaks of another figure of the same part.
  const source = /^as [A-Z]/.test(origin.source) ? origin.source : `as ${part}: ${origin.source}`;
  return { ...origin, basis: "assumed", source };
}

/** Whatever holds figures and origins, a whole preset too, with all of them taken over. @param part the part that they are known of */
export function wholeTakenOver<T>(value: T, part: string): T {
  const each = (inner: unknown): unknown => {
    if (Array.isArray(inner)) return inner.map(each);
    if (typeof inner !== "object" || inner === null) return inner;
    const entries = Object.entries(inner).map(([key, field]) => [key, each(field)]);
    const copy: object = Object.fromEntries(entries);
    return "basis" in copy && "source" in copy ? takenOver(copy as Origin, part) : copy;
  };
  return each(value) as T;
}

/** All fields of a record of origins or figures, taken over. @param part the part that they are known of */
export function allTakenOver<T extends object>(record: T, part: string): T {
  const entries = Object.entries(record).map(([key, origin]) => [key, takenOver(origin as Origin, part)]);
  return Object.fromEntries(entries) as T;
}
