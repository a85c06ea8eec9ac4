/** What benchmarks of accesses work on: a machine with pages mapped one after the other, its page tables written by hand. */

import type { Cpu, PhysicalMemory } from "../arch/index.ts";
import {
  entryHigh,
  entryLow,
  Machine,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_GLOBAL,
  PTE_PAGE_SIZE,
  PTE_PRESENT,
  PTE_RW,
  PTE_XD_HIGH,
} from "../arch/index.ts";

/** First address of the region. */
export const REGION = 0xc900_0000_0000;
/** Pages of the largest region, and of most: more than any TLB holds. */
export const REGION_PAGES = 65_536;
/** Bytes of a page by the level of the entry that maps it: 1 (PTE) to 3 (PDPTE). */
export const PAGE_BYTES = { 1: 2 ** 12, 2: 2 ** 21, 3: 2 ** 30 } as const;
/** Level of the entry that maps a page. */
export type LeafLevel = keyof typeof PAGE_BYTES;

const ATTRIBUTES = PTE_PRESENT | PTE_RW | PTE_ACCESSED | PTE_DIRTY | PTE_GLOBAL;
/** Frames of the pages begin at 16 MiB for small pages, at 4 GiB for larger ones. */
const SMALL_FRAMES = 0x1000;
const LARGE_FRAMES = 2 ** 20;
/** Larger pages share memory: that of so many. */
const LARGE_PAGES_IN_MEMORY = 32;

/** The region, and what its tables are made with. */
export interface Region {
  readonly cpu: Cpu;
  readonly memory: PhysicalMemory;
  /** Frame and index of the entry that maps a page. */
  readonly leafOf: (page: number) => { readonly frame: number; readonly index: number };
  /** Maps a page: global, readable and writable, with A and D set. */
  readonly map: (page: number) => void;
}

/** A machine of a preset with `pages` pages of one size mapped. */
export function makeRegion(preset: string, pages = REGION_PAGES, level: LeafLevel = 1): Region {
  const memoryBytes = level === 1 ? 2 ** 32 : 2 ** 36;
  const { memory, cpus } = new Machine({ cpus: 1, memoryBytes, preset });
  const bytes = PAGE_BYTES[level];
  let nextFrame = 1;
  const root = nextFrame++;
  const table = (parent: number, index: number): number => {
    const low = memory.readWord(parent, index * 2);
    if ((low & PTE_PRESENT) !== 0) return low >>> 12;
    const frame = nextFrame++;
    memory.writeWord(parent, index * 2, entryLow(frame, PTE_PRESENT | PTE_RW | PTE_ACCESSED));
    return frame;
  };
  const leafOf = (page: number) => {
    const vpn = (REGION + page * bytes) / 4096;
    let frame = root;
    for (let at = 4; at > level; at--) frame = table(frame, Math.floor(vpn / 2 ** (9 * (at - 1))) & 511);
    return { frame, index: Math.floor(vpn / 2 ** (9 * (level - 1))) & 511 };
  };
  const map = (page: number): void => {
    const { frame, index } = leafOf(page);
    const inMemory = level === 1 ? SMALL_FRAMES + page : LARGE_FRAMES + ((page % LARGE_PAGES_IN_MEMORY) * bytes) / 4096;
    const size = level === 1 ? 0 : PTE_PAGE_SIZE;
    memory.writeWord(frame, index * 2, entryLow(inMemory, ATTRIBUTES | size));
    memory.writeWord(frame, index * 2 + 1, entryHigh(inMemory, PTE_XD_HIGH));
  };
  for (let page = 0; page < pages; page++) map(page);
  cpus[0].writeCr3(root * 4096);
  return { cpu: cpus[0], memory, leafOf, map };
}
