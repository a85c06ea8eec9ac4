/**
 * What is counted of one structure of cached translations, by what its entries are: pages of a size, or entries that refer to tables, of a
 * level. Nothing is counted unless somebody asks (arch/cpu/structure-counting.ts).
 */

import { SIZE_TABLE, TAG_LEVEL_STEP } from "../isa/translation.ts";

/** What entries can be, by their number here. */
export const ENTRY_NAMES = ["4K", "2M", "1G", "PDE", "PDPTE", "PML4E", "PML5E"] as const;
/** In place of the size of a page, where pages of all sizes are looked up at once. */
export const ANY_PAGE = 0;
/** The number of an entry that refers to a table, less its level (2 PDE to 5 PML5E). */
const TABLES = 1;

/** The number of an entry of a table of `level`: 2 (PDE) to 5. */
export function tableEntry(level: number): number {
  return level + TABLES;
}

/** The number of an entry by its size (`SIZE_*`) and its tag. */
export function entryOf(size: number, tag: number): number {
  return size === SIZE_TABLE ? tableEntry((tag % (8 * TAG_LEVEL_STEP)) / TAG_LEVEL_STEP) : size;
}

/** Counts by the number of an entry. */
export class StructureCounts {
  /** Lookups of pages, of all sizes at once, at ANY_PAGE (entry 0); of entries of tables by level. */
  readonly lookups = new Float64Array(ENTRY_NAMES.length);
  /** Lookups that found what the access could use. */
  readonly hits = new Float64Array(ENTRY_NAMES.length);
  /** Entries put in. */
  readonly fills = new Float64Array(ENTRY_NAMES.length);
  /** Entries that went to make room for another in their set; those that an invalidation or a fault removes are none. */
  readonly evictions = new Float64Array(ENTRY_NAMES.length);

  /** Begins anew. */
  clear(): void {
    for (const counts of [this.lookups, this.hits, this.fills, this.evictions]) counts.fill(0);
  }
}
