/** The vmalloc range as it is: areas, what is lazily freed or pooled, and the blocks of `vm_map_ram` with their pages. */
import { PAGE_SIZE } from "../../../arch/index.ts";
import { busyLine, hasBusyLine, MODULES_END, VMALLOC_END, VMALLOC_START, type Vmalloc } from "../../../mm/index.ts";
import { VM_ALLOC, VM_IOREMAP, VM_MAP } from "../../../mm/vmalloc/areas/vm-structs.ts";
import type { VmapNode } from "../../../mm/vmalloc/areas/vmap-node.ts";
import { lazyRanges } from "../../../mm/vmalloc/lazy-ranges.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { AREA_KINDS, type AreaKind } from "./area-kinds.ts";
import { orderOfRuns } from "./merge-runs.ts";

/** Areas that are described at the most: those of the window, by address. */
const ROWS_MAX = 200;

/** A part of the address space that is looked at. */
export interface AddressWindow {
  readonly start: number;
  readonly end: number;
}

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

/** All areas by address, pooled ones included, as columns: a hundred thousand go to the page at once. */
export interface SpaceMap {
  readonly starts: Float64Array;
  readonly ends: Float64Array;
  /** Index into `AREA_KINDS`. */
  readonly kinds: Uint8Array;
}

/** The range and its figures. */
export interface SpaceView {
  readonly rangeStart: number;
  /** One past its last byte. */
  readonly rangeEnd: number;
  readonly map: SpaceMap;
  /** Areas in use or lazily freed; `/proc/vmallocinfo` leaves out those that are only reserved. */
  readonly areaCount: number;
  /** Those in the window, by address: the first of them. */
  readonly areas: readonly SpaceArea[];
  /** Areas of the window that are not described for want of room. */
  readonly omitted: number;
  /** Lazily freed pages, and above how many of them the kernel purges. */
  readonly lazyPages: number;
  readonly lazyMaxPages: number;
  /** Pages allocated for all areas (`nr_vmalloc_pages`). */
  readonly allocatedPages: number;
}

const NO_BLOCK = { pageMap: "", free: 0, used: 0, dirty: 0 } as const;
const NOT_BUSY = 0;

/** Areas as columns, in the order in which they were found. */
class Places {
  starts = new Float64Array(256);
  ends = new Float64Array(256);
  /** Index into `AREA_KINDS`. */
  kinds = new Uint8Array(256);
  /** The number of an area in use; of others `NOT_BUSY`. */
  areas = new Uint32Array(256);
  length = 0;

  add(start: number, end: number, kind: number, area: number): void {
    if (this.length === this.starts.length) this.grow();
    const at = this.length++;
    this.starts[at] = start;
    this.ends[at] = end;
    this.kinds[at] = kind;
    this.areas[at] = area;
  }

  private grow(): void {
    const { starts, ends, kinds, areas } = this;
    const length = 2 * this.length;
    this.starts = new Float64Array(length);
    this.ends = new Float64Array(length);
    this.kinds = new Uint8Array(length);
    this.areas = new Uint32Array(length);
    this.starts.set(starts);
    this.ends.set(ends);
    this.kinds.set(kinds);
    this.areas.set(areas);
  }
}

/** Areas by address. */
interface OrderedPlaces extends SpaceMap {
  readonly areas: Uint32Array;
}

const [VMALLOC, VMAP, IOREMAP, VM_MAP_RAM, BLOCK, LAZILY_FREED, POOLED, OTHER] = AREA_KINDS.keys();

/** The range. @param window whose areas are described; null: all of it, and the modules behind it */
export function spaceView(kernel: Kernel, window: AddressWindow | null = null): SpaceView {
  const { vm } = kernel;
  const blocks = blocksByStart(kernel);
  const places = orderedPlaces(kernel, blocks);
  const { starts, ends, kinds } = places;
  const { start, end } = window ?? { start: VMALLOC_START, end: MODULES_END };
  const areas: SpaceArea[] = [];
  let [areaCount, seen] = [0, 0];
  for (let i = 0; i < starts.length; i++) {
    if (kinds[i] === POOLED) continue;
    areaCount++;
    if (starts[i] >= end || ends[i] <= start) continue;
    if (seen++ < ROWS_MAX) areas.push(areaAt(kernel, places, i, blocks));
  }
  return {
    rangeStart: VMALLOC_START,
    rangeEnd: VMALLOC_END + 1,
    map: { starts, ends, kinds },
    areaCount,
    areas,
    omitted: seen - areas.length,
    lazyPages: vm.lazyNr,
    lazyMaxPages: vm.config.lazyMaxPages,
    allocatedPages: vm.nrVmallocPages,
  };
}

/** All areas by address: nearly all are in order in the table of starts, which all nodes share. */
function orderedPlaces(kernel: Kernel, blocks: ReadonlyMap<number, number>): OrderedPlaces {
  const { nodes } = kernel.vm;
  const places = new Places();
  const addBusy = (area: number): void => addBusyPlace(places, kernel, area, blocks);
  nodes[0].busy.forEachInTable(addBusy);
  for (const node of nodes) {
    node.busy.forEachElsewhere(addBusy);
    addFreedPlaces(places, kernel, node);
  }
  const order = orderOfRuns(places.starts.subarray(0, places.length));
  const { length } = order;
  const starts = new Float64Array(length);
  const ends = new Float64Array(length);
  const kinds = new Uint8Array(length);
  const areas = new Uint32Array(length);
  for (let i = 0; i < length; i++) {
    const from = order[i];
    starts[i] = places.starts[from];
    ends[i] = places.ends[from];
    kinds[i] = places.kinds[from];
    areas[i] = places.areas[from];
  }
  return { starts, ends, kinds, areas };
}

/** Adds an area in use. */
function addBusyPlace(places: Places, { vm }: Kernel, area: number, blocks: ReadonlyMap<number, number>): void {
  const { areas, vms } = vm;
  const struct = areas.vmOf(area);
  const start = areas.startOf(area);
  if (struct === 0) places.add(start, areas.endOf(area), kindWithoutStruct(vm, area, blocks), area);
  else places.add(start, start + vms.sizeBytes[struct], kindOfFlags(vms.flags[2 * struct]), area);
}

/** Adds the areas of a vmap node that are lazily freed or pooled. */
function addFreedPlaces(places: Places, { vm }: Kernel, node: VmapNode): void {
  const { areas } = vm;
  for (const { start, end } of lazyRanges(vm, node)) places.add(start, end, LAZILY_FREED, NOT_BUSY);
  for (let pool = 0; pool < node.poolsUsed; pool++) {
    const head = node.poolHead(pool);
    for (let area = areas.nextOf(head); area !== head; area = areas.nextOf(area)) {
      places.add(areas.startOf(area), areas.endOf(area), POOLED, NOT_BUSY);
    }
  }
}

/** An area without a vm_struct is one of `vm_map_ram`, or one that is only reserved: its call goes on, or ftrace text has told of it. */
function kindWithoutStruct(vm: Vmalloc, area: number, blocks: ReadonlyMap<number, number>): number {
  if (!hasBusyLine(vm, area)) return OTHER;
  return blocks.has(vm.areas.startOf(area)) ? BLOCK : VM_MAP_RAM;
}

function kindOfFlags(flags: number): number {
  if ((flags & VM_ALLOC) !== 0) return VMALLOC;
  if ((flags & VM_MAP) !== 0) return VMAP;
  return (flags & VM_IOREMAP) !== 0 ? IOREMAP : OTHER;
}

/** One of them, described. */
function areaAt(kernel: Kernel, places: OrderedPlaces, i: number, blocks: ReadonlyMap<number, number>): SpaceArea {
  const [start, end, area] = [places.starts[i], places.ends[i], places.areas[i]];
  const kind = AREA_KINDS[places.kinds[i]];
  const line = area === NOT_BUSY ? null : busyLine(kernel.vm, area);
  const block = blocks.get(start);
  const words = (line?.words ?? []).filter((word) => word !== kind);
  if (line !== null && line.phys !== null) words.push(`phys=0x${line.phys.toString(16)}`);
  const pages = block === undefined || kind !== "block" ? NO_BLOCK : pagesOfBlock(kernel, block);
  const { caller, pages: allocated } = line ?? { caller: "", pages: 0 };
  return { start, end, kind, caller, pages: allocated, more: words.join(" "), ...pages };
}

/** The numbers of vmap blocks, by the address of their area. */
function blocksByStart({ vm }: Kernel): Map<number, number> {
  const { blocks, areas } = vm;
  const found = new Map<number, number>();
  for (const index of blocks.index) {
    for (const block of index.values()) found.set(areas.startOf(blocks.area[block]), block);
  }
  return found;
}

/** Pages of a block that one word of its bitmap stands for. */
const WORD_PAGES = 32;
const ALL_FREE = ".".repeat(WORD_PAGES);

type BlockPages = Pick<SpaceArea, "pageMap" | "free" | "used" | "dirty">;

function pagesOfBlock({ vm }: Kernel, block: number): BlockPages {
  const { blocks, areas } = vm;
  const pages = (areas.endOf(blocks.area[block]) - areas.startOf(blocks.area[block])) / PAGE_SIZE;
  const [dirtyMin, dirtyMax] = [blocks.dirtyMin[block], blocks.dirtyMax[block]];
  let pageMap = "";
  for (let page = 0; page < pages; page += WORD_PAGES) {
    const word = blocks.usedMap[block * blocks.wordsPerBlock + page / WORD_PAGES];
    if (word === 0 && (page >= dirtyMax || page + WORD_PAGES <= dirtyMin)) pageMap += ALL_FREE;
    else pageMap += pagesOfWord(word, page, dirtyMin, dirtyMax);
  }
  return { pageMap, free: blocks.free[block], used: blocks.usedPages[block], dirty: blocks.dirty[block] };
}

/** The states of the pages of one word. */
function pagesOfWord(word: number, firstPage: number, dirtyMin: number, dirtyMax: number): string {
  let states = "";
  for (let bit = 0; bit < WORD_PAGES; bit++) {
    const isDirty = firstPage + bit >= dirtyMin && firstPage + bit < dirtyMax;
    states += ((word >>> bit) & 1) === 1 ? "u" : isDirty ? "d" : ".";
  }
  return states;
}
