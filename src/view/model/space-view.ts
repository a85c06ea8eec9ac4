/** The vmalloc range as it is: areas, what is lazily freed, and the blocks of `vm_map_ram` with their pages. */
import { PAGE_SIZE } from "../../../arch/index.ts";
import { parseVmallocinfoLine, VMALLOC_END, VMALLOC_START, vmallocinfo } from "../../../mm/index.ts";
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
  const areas = vmallocinfo(vm)
    .map(parseVmallocinfoLine)
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

type BlockPages = Pick<SpaceArea, "pageMap" | "free" | "used" | "dirty">;

/** The vmap blocks by the address of their area. */
function blocksByStart({ vm }: Kernel): Map<number, BlockPages> {
  const { blocks, areas } = vm;
  const found = new Map<number, BlockPages>();
  for (const index of blocks.index) {
    for (const block of index.values()) {
      const start = areas.startOf(blocks.area[block]);
      const pages = (areas.endOf(blocks.area[block]) - start) / PAGE_SIZE;
      let pageMap = "";
      for (let page = 0; page < pages; page++) {
        const word = blocks.usedMap[block * blocks.wordsPerBlock + (page >> 5)];
        const isDirty = page >= blocks.dirtyMin[block] && page < blocks.dirtyMax[block];
        pageMap += ((word >>> (page & 31)) & 1) === 1 ? "u" : isDirty ? "d" : ".";
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
