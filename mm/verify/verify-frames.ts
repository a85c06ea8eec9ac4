/**
 * Checks frames: each is free, on one list, or used by exactly one owner, of the kind that it is marked with; the page
 * allocator's counts agree.
 */

import { UPPER_HALF } from "../../arch/isa/linear-address.ts";
import {
  FRAME_CALLER,
  FRAME_FREE,
  FRAME_PAGE_TABLE,
  FRAME_RESERVED,
  FRAME_USER,
  FRAME_VMALLOC,
} from "../frames/frame-uses.ts";
import type { PageAllocator } from "../frames/page-allocator.ts";
import { isOnLru } from "../frames/struct-pages.ts";
import { MAX_PAGE_ORDER, type Zone } from "../frames/zone.ts";
import { UserSpaces } from "../user/user-spaces.ts";
import { VM_MAP_PUT_PAGES } from "../vmalloc/areas/vm-structs.ts";
import type { Vmalloc } from "../vmalloc/vmalloc-state.ts";
import type { AreaCensus } from "./verify-areas.ts";
import { address, type Findings, frameName } from "./verify-findings.ts";
import type { TableWalk } from "./verify-page-tables.ts";

const NOBODY = 0;
const FREE_BLOCK = 1;
const CPU_LIST = 2;
const TABLE_LIST = 6;
const TABLE = 3;
const AREA = 4;
const USER_PAGE = 5;

const USE_NAMES: Readonly<Record<number, string>> = {
  [FRAME_FREE]: "free",
  [FRAME_RESERVED]: "reserved",
  [FRAME_PAGE_TABLE]: "page table",
  [FRAME_VMALLOC]: "vmalloc",
  [FRAME_CALLER]: "caller's",
  [FRAME_USER]: "user",
};

/** Checks all frames. `walks` are those of all trees of page tables of this machine. */
export function verifyFrames(
  state: Vmalloc,
  census: AreaCensus,
  walks: readonly TableWalk[],
  findings: Findings,
): void {
  const { pages } = state;
  const ledger = new Ledger(pages, findings);
  for (const zone of pages.zones) markFreeBlocks(ledger, zone, findings);
  for (let zone = 0; zone < pages.zones.length; zone++) {
    for (const frame of pages.tableFrames(zone)) ledger.mark(frame, TABLE_LIST, zone);
  }
  for (let cpu = 0; cpu < pages.cpus; cpu++) {
    for (let zone = 0; zone < pages.zones.length; zone++) {
      for (const frame of pages.perCpuFrames(cpu, zone)) {
        ledger.mark(frame, CPU_LIST, cpu);
        const { startFrame, endFrame } = pages.zones[zone];
        if (frame < startFrame || frame >= endFrame) {
          findings.add(`${frameName(frame)} is on CPU ${cpu}'s list of zone ${zone}, which does not hold it`);
        }
      }
    }
  }
  for (const { tables, leaves } of walks) {
    for (const table of tables) ledger.mark(table.frame, TABLE, table.la);
    for (let i = 0; i < leaves.la.length; i++) {
      const isUserPage = leaves.la[i] < UPPER_HALF && pages.useOf(leaves.frame[i]) === FRAME_USER;
      if (isUserPage) ledger.markUser(leaves.frame[i], leaves.la[i]);
    }
  }
  markAreas(state, census, ledger, findings);
  const batches = batchesOf(state);
  checkReferences(state, walks, batches, ledger, findings);
  checkLru(state, batches, findings);
  ledger.compareWithUse();
}

/** How often each frame is in a batch for the LRU lists. */
function batchesOf({ mm }: Vmalloc): Map<number, number> {
  const { userSpaces } = mm;
  const held = new Map<number, number>();
  const frames = userSpaces instanceof UserSpaces ? userSpaces.lru.batches.flat() : [];
  for (const frame of frames) held.set(frame, (held.get(frame) ?? 0) + 1);
  return held;
}

/** A page waits in one batch, once; it is on no list then; and whatever waits or is on a list is a user page. */
function checkLru({ pages }: Vmalloc, batches: ReadonlyMap<number, number>, findings: Findings): void {
  for (const [frame, times] of batches) {
    if (times > 1) findings.add(`${frameName(frame)} is ${times} times in batches for the LRU lists`);
    if (isOnLru(pages, frame)) findings.add(`${frameName(frame)} is in a batch for the LRU lists and on one`);
    const use = pages.markOf(frame);
    if (use !== FRAME_USER)
      findings.add(`${frameName(frame)} is in a batch for the LRU lists, but marked "${USE_NAMES[use]}"`);
  }
  for (const { onLru, use, startFrame, touchedEnd } of pages.zones) {
    for (let index = 0; index < touchedEnd - startFrame; index++) {
      if (onLru[index] === 0 || use[index] === FRAME_USER) continue;
      findings.add(`${frameName(startFrame + index)} is on an LRU list, but marked "${USE_NAMES[use[index]]}"`);
    }
  }
}

/**
 * A frame with further references has as many holders: mappings in user address spaces, batches for the LRU lists, and an area or not.
 */
function checkReferences(
  state: Vmalloc,
  walks: readonly TableWalk[],
  batches: ReadonlyMap<number, number>,
  ledger: Ledger,
  findings: Findings,
): void {
  const { references } = state.pages;
  if (references.isEmpty) return;
  const mappings = new Map(batches);
  for (const { leaves } of walks) {
    for (let i = 0; i < leaves.la.length; i++) {
      if (leaves.la[i] >= UPPER_HALF) continue;
      mappings.set(leaves.frame[i], (mappings.get(leaves.frame[i]) ?? 0) + 1);
    }
  }
  const check = (frame: number): void => {
    const further = references.furtherOf(frame);
    const holders = (mappings.get(frame) ?? 0) + (ledger.isOfArea(frame) ? 1 : 0);
    if (holders === further + 1) return;
    findings.add(`${frameName(frame)} has ${further + 1} references, but ${holders} holders`);
  };
  references.forEach(check);
  for (const frame of batches.keys()) if (references.furtherOf(frame) === 0) check(frame);
}

function markAreas(state: Vmalloc, census: AreaCensus, ledger: Ledger, findings: Findings): void {
  const { areas, vms, pageArrays, pages } = state;
  for (const area of census.busy) {
    const vm = areas.vmOf(area);
    if (vm === 0) continue;
    const block = 2 ** vms.pageOrderOf(vm);
    const array = vms.pages[2 * vm];
    const use = (vms.flags[2 * vm] & VM_MAP_PUT_PAGES) !== 0 ? FRAME_CALLER : FRAME_VMALLOC;
    for (let page = 0; page < vms.nrPages[2 * vm]; page++) {
      const frame = pageArrays.frames[array + page];
      const first = pageArrays.frames[array + page - (page % block)];
      if (frame !== first + (page % block) || first % block !== 0) {
        findings.add(`page ${page} of the area at ${address(vms.addr[vm])} breaks its block of ${block} frames`);
      }
      ledger.mark(frame, AREA, areas.startOf(area));
      const marked = pages.markOf(frame);
      if (marked !== use && marked !== FRAME_FREE) {
        findings.add(
          `${frameName(frame)} of the area at ${address(areas.startOf(area))} is marked "${USE_NAMES[marked]}", not "${USE_NAMES[use]}"`,
        );
      }
    }
  }
}

function markFreeBlocks(ledger: Ledger, zone: Zone, findings: Findings): void {
  const counts = new Array<number>(MAX_PAGE_ORDER + 1).fill(0);
  const orders = new Map<number, number>();
  zone.forEachFreeBlock((frame, order) => {
    counts[order]++;
    orders.set(frame, order);
    if (frame % 2 ** order !== 0)
      findings.add(`the free block of order ${order} at ${frameName(frame)} is not aligned`);
    for (let i = 0; i < 2 ** order; i++) ledger.mark(frame + i, FREE_BLOCK, order);
  });
  for (const [frame, order] of orders) {
    const buddy = frame % 2 ** (order + 1) === 0 ? frame + 2 ** order : -1;
    if (order < MAX_PAGE_ORDER && orders.get(buddy) === order) {
      findings.add(`free blocks of order ${order} at ${frameName(frame)} and ${frameName(buddy)} were not merged`);
    }
  }
  for (let order = 0; order <= MAX_PAGE_ORDER; order++) {
    if (counts[order] !== zone.freeBlocks[order]) {
      findings.add(
        `the zone at ${frameName(zone.startFrame)} counts ${zone.freeBlocks[order]} free blocks of order ${order}, but has ${counts[order]}`,
      );
    }
  }
}

/** Who has which frame. */
class Ledger {
  private readonly pages: PageAllocator;
  private readonly findings: Findings;
  /** By zone, from its first frame on: what has the frame, and which one of that kind. */
  private readonly kinds: readonly Uint8Array[];
  private readonly holders: readonly Float64Array[];

  constructor(pages: PageAllocator, findings: Findings) {
    this.pages = pages;
    this.findings = findings;
    this.kinds = pages.zones.map((zone) => new Uint8Array(zone.touchedEnd - zone.startFrame));
    this.holders = pages.zones.map((zone) => new Float64Array(zone.touchedEnd - zone.startFrame));
  }

  /** Notes that somebody has a frame; two who have the same one are a finding. */
  mark(frame: number, kind: number, holder: number): void {
    const at = this.zoneOf(frame);
    if (at < 0) {
      this.findings.add(`${frameName(frame)} is ${describe(kind, holder)}, but was never handed out`);
      return;
    }
    const index = frame - this.pages.zones[at].startFrame;
    if (this.kinds[at][index] !== NOBODY) {
      const other = describe(this.kinds[at][index], this.holders[at][index]);
      this.findings.add(`${frameName(frame)} is ${describe(kind, holder)} and ${other}`);
      return;
    }
    this.kinds[at][index] = kind;
    this.holders[at][index] = holder;
  }

  /** The number of the zone that has handed out the frame; -1 when none has. */
  private zoneOf(frame: number): number {
    const { zones } = this.pages;
    for (let at = 0; at < zones.length; at++) {
      if (frame >= zones[at].startFrame && frame < zones[at].touchedEnd) return at;
    }
    return -1;
  }

  /** Whether an area has the frame. */
  isOfArea(frame: number): boolean {
    const at = this.zoneOf(frame);
    return at >= 0 && this.kinds[at][frame - this.pages.zones[at].startFrame] === AREA;
  }

  /** Notes a user page; one with further references may be mapped as often as it has holders. */
  markUser(frame: number, la: number): void {
    const at = this.zoneOf(frame);
    const isNoted = at >= 0 && this.kinds[at][frame - this.pages.zones[at].startFrame] === USER_PAGE;
    if (isNoted && this.pages.references.furtherOf(frame) > 0) return;
    this.mark(frame, USER_PAGE, la);
  }

  /** Every touched frame is marked with the use that its holder makes of it. */
  compareWithUse(): void {
    let used = 0;
    for (let at = 0; at < this.pages.zones.length; at++) {
      const { startFrame, use } = this.pages.zones[at];
      const [kinds, holders] = [this.kinds[at], this.holders[at]];
      for (let index = 0; index < kinds.length; index++) {
        if (use[index] !== FRAME_FREE && kinds[index] !== CPU_LIST) used++;
        if (agrees(kinds[index], use[index])) continue;
        const frame = frameName(startFrame + index);
        const marked = USE_NAMES[use[index]] ?? `use ${use[index]}`;
        this.findings.add(
          kinds[index] === NOBODY
            ? `${frame} leaked: it is marked "${marked}", but nobody has it`
            : `${frame} is ${describe(kinds[index], holders[index])}, but marked "${marked}"`,
        );
      }
    }
    const free = this.pages.totalPages - used;
    if (free !== this.pages.freePages) {
      this.findings.add(`freePages is ${this.pages.freePages}, but ${free} frames are free`);
    }
  }
}

function agrees(kind: number, use: number): boolean {
  if (kind === FREE_BLOCK || kind === TABLE_LIST) return use === FRAME_FREE;
  if (kind === CPU_LIST) return use === FRAME_VMALLOC;
  if (kind === TABLE) return use === FRAME_PAGE_TABLE;
  if (kind === AREA) return use === FRAME_VMALLOC || use === FRAME_CALLER;
  if (kind === USER_PAGE) return use === FRAME_USER;
  return use === FRAME_CALLER || use === FRAME_USER;
}

function describe(kind: number, holder: number): string {
  if (kind === FREE_BLOCK) return `in a free block of order ${holder}`;
  if (kind === TABLE_LIST) return `kept free for page tables in zone ${holder}`;
  if (kind === CPU_LIST) return `on the list of free frames of CPU ${holder}`;
  if (kind === TABLE) return `a page table for ${address(holder)}`;
  return kind === USER_PAGE ? `a user page at ${address(holder)}` : `a page of the area at ${address(holder)}`;
}
