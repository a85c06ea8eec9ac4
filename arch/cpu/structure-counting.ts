/**
 * Counts of every structure of cached translations, as architects know them of simulators: lookups, hits, misses, fills and evictions of each
 * TLB, paging-structure cache and cache of guest-physical mappings. While they are counted every access takes the general path, which
 * leaves the same state and takes longer (docs/replay.md).
 */

import type { Preset } from "../presets/preset.ts";
import { ANY_PAGE, ENTRY_NAMES, StructureCounts, tableEntry } from "../tlb/structure-counts.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { Cpu } from "./cpu.ts";

/** Counts of entries of one kind. */
export interface EntryCounts {
  readonly hits: number;
  readonly fills: number;
  /** Entries that went to make room for another. */
  readonly evictions: number;
}

/** What one structure did, of all CPUs together. */
export interface StructureReport extends EntryCounts {
  /** The preset's name for a TLB; `PDE cache` and the like; `guest-physical pages` and the like for the second stage of a guest. */
  readonly structure: string;
  /** Which accesses look it up: data, instructions, or both; page walks, or those of the second stage. */
  readonly usedBy: "data" | "instructions" | "data and instructions" | "walks" | "second stage";
  /** Which level of TLBs it is of; absent for caches of tables. */
  readonly level?: 1 | 2;
  /** What its entries are: `4K`, `2M`, `1G`, `PDE` and so on. */
  readonly entries: readonly string[];
  /** An access looks up all first-level TLBs of its kind at once, then those of the second level; a walk the caches of tables from PDEs up. */
  readonly lookups: number;
  readonly misses: number;
  /** Where it holds pages of several sizes: of each. */
  readonly bySize?: Readonly<Record<string, EntryCounts>>;
}

/** A structure and which of its entries (by their number, structure-counts.ts) are meant. */
interface Counted {
  readonly structure: string;
  readonly usedBy: StructureReport["usedBy"];
  readonly level?: 1 | 2;
  readonly tlb: Tlb;
  readonly entries: readonly number[];
}

const PAGES = [0, 1, 2];
const TABLE_LEVELS = [2, 3, 4, 5];

/** Counts from its making on, on the CPUs that it is given, for good. */
export class StructureCounting {
  private readonly counted: readonly Counted[];

  constructor(cpus: readonly Cpu[], preset: Preset, hasGuests: boolean) {
    for (const { mmu } of cpus) {
      mmu.takeGeneralPath();
      mmu.tlbs.isCounted = true;
      mmu.structures.isCounted = true;
    }
    const all = cpus.flatMap((cpu) => structuresOf(cpu, preset, hasGuests));
    for (const { tlb } of all) tlb.counts ??= new StructureCounts();
    // Virtual CPUs of one physical CPU share its structures.
    this.counted = all.filter(({ structure, tlb }, i) => {
      return all.findIndex((other) => other.tlb === tlb && other.structure === structure) === i;
    });
  }

  /** Begins anew. */
  clear(): void {
    for (const { tlb } of this.counted) tlb.counts?.clear();
  }

  /** What each structure did since then, in the order of a translation: TLBs, caches of tables, those of the second stage. */
  report(): StructureReport[] {
    const names = [...new Set(this.counted.map(({ structure }) => structure))];
    return names.map((name) => reportOf(this.counted.filter(({ structure }) => structure === name)));
  }
}

function structuresOf({ mmu, virtualization }: Cpu, preset: Preset, hasGuests: boolean): Counted[] {
  const tlbs = ([1, 2] as const).flatMap((level) =>
    (level === 1 ? mmu.tlbs.first : mmu.tlbs.second).map((tlb): Counted => {
      const sizes = preset.tlbs.find(({ name }) => name === tlb.name)?.pageSizes ?? [];
      const entries = PAGES.filter((size) => sizes.includes(ENTRY_NAMES[size] as (typeof sizes)[number]));
      return { structure: tlb.name, usedBy: usersOf(tlb), level, tlb, entries };
    }),
  );
  const tables = TABLE_LEVELS.flatMap((level): Counted[] => {
    const tlb = mmu.structures.ofLevel(level);
    if (tlb === null) return [];
    const name = ENTRY_NAMES[tableEntry(level)];
    const isIn = mmu.tlbs.second.includes(tlb) ? ` (in ${tlb.name})` : "";
    return [{ structure: `${name} cache${isIn}`, usedBy: "walks", tlb, entries: [tableEntry(level)] }];
  });
  if (!hasGuests) return [...tlbs, ...tables];
  const { ofPages, ofTables } = virtualization.ownPhysicalCaches();
  return [
    ...tlbs,
    ...tables,
    ...(ofPages === null
      ? []
      : [{ structure: ofPages.name, usedBy: "second stage" as const, tlb: ofPages, entries: PAGES }]),
    ...ofTables.map((tlb, i): Counted => {
      return { structure: tlb.name, usedBy: "second stage", tlb, entries: [tableEntry(TABLE_LEVELS[i])] };
    }),
  ];
}

function usersOf({ kinds }: Tlb): StructureReport["usedBy"] {
  if (!kinds.includes("fetch")) return "data";
  return kinds.length === 1 ? "instructions" : "data and instructions";
}

function reportOf(counted: readonly Counted[]): StructureReport {
  const [{ structure, usedBy, level, entries }] = counted;
  const sum = (what: keyof EntryCounts | "lookups", of: readonly number[]): number =>
    counted.reduce((total, { tlb }) => total + of.reduce((all, entry) => all + (tlb.counts?.[what][entry] ?? 0), 0), 0);
  const countsOf = (of: readonly number[]): EntryCounts => ({
    hits: sum("hits", of),
    fills: sum("fills", of),
    evictions: sum("evictions", of),
  });
  const lookups = sum("lookups", [entries[0] < PAGES.length ? ANY_PAGE : entries[0]]);
  const counts = countsOf(entries);
  return {
    structure,
    usedBy,
    ...(level === undefined ? {} : { level }),
    entries: entries.map((entry) => ENTRY_NAMES[entry]),
    lookups,
    misses: lookups - counts.hits,
    ...counts,
    ...(entries.length === 1
      ? {}
      : { bySize: Object.fromEntries(entries.map((entry) => [ENTRY_NAMES[entry], countsOf([entry])])) }),
  };
}
