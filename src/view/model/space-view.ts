/** The vmalloc range as it is: areas, what is lazily freed, and the blocks of `vm_map_ram` with their pages. */
import { PAGE_SIZE } from "../../../arch/index.ts";
import { VMALLOC_END, VMALLOC_START, vmallocinfoLines } from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";

/** Kinds of areas, as the page names and colours them. */
export const AREA_KINDS = ["vmalloc", "vmap", "ioremap", "vm_map_ram", "block", "lazily freed", "other"] as const;
export type AreaKind = (typeof AREA_KINDS)[number];

/** Areas that are sent at the most. */
const AREAS_MAX = 20_000;

/** One area. */
export interface SpaceArea {
  readonly start: number;
  /** One past the last byte, guard page included. */
  readonly end: number;
  readonly kind: AreaKind;
  /** Who asked for it; empty when nobody is known. */
  readonly caller: string;
  /** Pages allocated for it. */
  readonly pages: number;
  /** What else `/proc/vmallocinfo` says: `vpages`, `N0=3`, `phys=0x...`. */
  readonly more: string;
  /** Of a block: the state of each page, `u` used, `d` given back and not flushed, `.` free; else empty. */
  readonly pageMap: string;
  /** Of a block: pages never handed out, in use, and given back. */
  readonly free: number;
  readonly used: number;
  readonly dirty: number;
}

/** The range and its figures. */
export interface SpaceView {
  readonly rangeStart: number;
  readonly rangeEnd: number;
  /** By address. */
  readonly areas: readonly SpaceArea[];
  /** Areas that were left out for want of room. */
  readonly omitted: number;
  /** Lazily freed pages, and above how many of them the kernel purges. */
  readonly lazyPages: number;
  readonly lazyMaxPages: number;
  /** Pages allocated for all areas (`nr_vmalloc_pages`). */
  readonly allocatedPages: number;
}

const NO_BLOCK = { pageMap: "", free: 0, used: 0, dirty: 0 } as const;

/** Every area that `/proc/vmallocinfo` shows, by address. */
export function spaceView(kernel: Kernel): SpaceView {
  const { vm } = kernel;
  const blocks = blocksByStart(kernel);
  const areas = vmallocinfoLines(vm)
    .sort((a, b) => a.start - b.start)
    .map(({ start, end, caller, pages, phys, words, vmMapRam, unpurged }): SpaceArea => {
      const block = vmMapRam ? blocks.get(start) : undefined;
      const known = AREA_KINDS.find((kind) => words.includes(kind));
      const kind = unpurged ? "lazily freed" : block !== undefined ? "block" : vmMapRam ? "vm_map_ram" : known;
      const rest = words.filter((word) => word !== known);
      if (phys !== null) rest.push(`phys=0x${phys.toString(16)}`);
      return { start, end, kind: kind ?? "other", caller, pages, more: rest.join(" "), ...(block ?? NO_BLOCK) };
    });
  return {
    rangeStart: VMALLOC_START,
    rangeEnd: VMALLOC_END,
    areas: areas.slice(0, AREAS_MAX),
    omitted: Math.max(0, areas.length - AREAS_MAX),
    lazyPages: vm.lazyNr,
    lazyMaxPages: vm.config.lazyMaxPages,
    allocatedPages: vm.nrVmallocPages,
  };
}

/** Pages of a block that one word of its bitmap stands for. */
const WORD_PAGES = 32;
const ALL_FREE = ".".repeat(WORD_PAGES);

/** The states of the pages of one word. */
function pagesOfWord(word: number, firstPage: number, dirtyMin: number, dirtyMax: number): string {
  let states = "";
  for (let bit = 0; bit < WORD_PAGES; bit++) {
    const isDirty = firstPage + bit >= dirtyMin && firstPage + bit < dirtyMax;
    states += ((word >>> bit) & 1) === 1 ? "u" : isDirty ? "d" : ".";
  }
  return states;
}

type BlockPages = Pick<SpaceArea, "pageMap" | "free" | "used" | "dirty">;

/** The vmap blocks by the address of their area. */
function blocksByStart({ vm }: Kernel): Map<number, BlockPages> {
  const { blocks, areas } = vm;
  const found = new Map<number, BlockPages>();
  for (const index of blocks.index) {
    for (const block of index.values()) {
      const start = areas.startOf(blocks.area[block]);
      const pages = (areas.endOf(blocks.area[block]) - start) / PAGE_SIZE;
      const [dirtyMin, dirtyMax] = [blocks.dirtyMin[block], blocks.dirtyMax[block]];
      let pageMap = "";
      for (let page = 0; page < pages; page += WORD_PAGES) {
        const word = blocks.usedMap[block * blocks.wordsPerBlock + page / WORD_PAGES];
        if (word === 0 && (page >= dirtyMax || page + WORD_PAGES <= dirtyMin)) pageMap += ALL_FREE;
        else pageMap += pagesOfWord(word, page, dirtyMin, dirtyMax);
      }
      found.set(start, {
        pageMap,
        free: blocks.free[block],
        used: blocks.usedPages[block],
        dirty: blocks.dirty[block],
      });
    }
  }
  return found;
}
