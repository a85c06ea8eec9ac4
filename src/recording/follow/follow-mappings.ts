/** Page tables and flushes, event by event: each mapping is made in the emulated page tables, which say what must come with it. */

import type { KernelCode } from "../../../arch/index.ts";
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import { vmapLargePagesRangeNoflush, vmapPageRange, vmapPagesRangeNoflush } from "../../../mm/index.ts";
import { VM_ALLOC, VM_MAP_PUT_PAGES } from "../../../mm/vmalloc/areas/vm-structs.ts";
import type { RecordedEvent } from "../../events/recorded-event.ts";
import { addressOf, type FollowedEvent, numberOf } from "./followed-event.ts";
import { followPurgeFlush } from "./followed-purge.ts";
import { type Following, hex, isMapped } from "./following.ts";
import { beginFree } from "./lazy-count.ts";

const PAGE_SHIFT = 12;
/** Bytes of a pointer to a page. */
const POINTER_BYTES = 8;
/** Frames to map: which ones does not matter, as long as large pages find them in a row. */
const FIRST_FRAME = 512;
const frames = { array: new Uint32Array(0) };

function framesFor(pages: number): Uint32Array {
  if (frames.array.length < pages) {
    frames.array = Uint32Array.from({ length: Math.max(pages, 2 * frames.array.length) }, (_, i) => FIRST_FRAME + i);
  }
  return frames.array;
}

/** Does something to the emulated page tables; the events that it causes, but for the one that announces it. */
function eventsOf({ kernel, recorder }: Following, cpu: number, change: () => KernelCode<unknown>): RecordedEvent[] {
  kernel.vm.events = recorder.observer;
  kernel.run(change, cpu);
  kernel.vm.events = null;
  return recorder.take().slice(1);
}

/** Pages are mapped: tables that are made on the way, and those that large pages replace, come next on this CPU. */
export function followMapping(following: Following, event: FollowedEvent): void {
  const { state, findings } = following;
  const { mm } = state;
  const [start, end] = [addressOf(event, "start"), addressOf(event, "end")];
  if (!isInUse(following, start, end)) {
    findings.mismatch(event, "no area in use is there");
    return;
  }
  if (isMapped(following, start, end)) {
    findings.mismatch(event, "pages are mapped there already");
    return;
  }
  const prot = BigInt(String(event.event.prot));
  const protection = { low: Number(BigInt.asIntN(32, prot)), high: Number(prot >> 32n) };
  const pages = (end - start) / PAGE_SIZE;
  const shift = numberOf(event, "page_shift");
  const due = eventsOf(following, event.cpu, function* () {
    if (event.event.ev === "map_range") {
      const phys = Number(event.event.phys);
      yield* vmapPageRange(mm, start, end, phys, protection, numberOf(event, "max_shift"));
    } else if (shift === PAGE_SHIFT) vmapPagesRangeNoflush(mm, start, end, protection, framesFor(pages), 0);
    else yield* vmapLargePagesRangeNoflush(mm, start, end, protection, framesFor(pages), 0, shift);
  });
  const cpu = following.cpus[event.cpu];
  cpu.mapping = [start, end];
  cpu.due.push(...due.map(({ ev, ...fields }) => ({ ev, fields, start, end })));
  notePages(following, event, start, pages);
}

/** Whether a range lies in one area in use. */
function isInUse({ state }: Following, start: number, end: number): boolean {
  for (const node of state.nodes) {
    const area = node.busy.__findVmapArea(start);
    if (area !== 0) return end <= state.areas.endOf(area);
  }
  return false;
}

/** An area whose pages are mapped from its beginning on has so many. */
function notePages({ state }: Following, event: FollowedEvent, start: number, pages: number): void {
  const { vms, areas } = state;
  const area = state.addrToNode(start).busy.findStart(start);
  const vm = area === 0 ? 0 : areas.vmOf(area);
  if (vm === 0) return;
  if (event.event.ev === "map_range") vms.physAddr[vm] = Number(event.event.phys);
  else if ((vms.flags[2 * vm] & (VM_ALLOC | VM_MAP_PUT_PAGES)) !== 0) vms.nrPages[2 * vm] = pages;
  // An array of page pointers that is larger than a page is an area itself; which one, no event tells.
  const hasArrayArea = (vms.flags[2 * vm] & VM_ALLOC) !== 0 && pages * POINTER_BYTES > PAGE_SIZE;
  if (hasArrayArea && vms.pagesAddrOf(vm) === 0) vms.setPagesAddr(vm, start);
}

/** Pages are unmapped. */
export function followVunmap(following: Following, event: FollowedEvent): void {
  const { state, findings } = following;
  const [start, end] = [addressOf(event, "start"), addressOf(event, "end")];
  if (!isInUse(following, start, end)) findings.mismatch(event, "no area in use is there");
  const { owed } = state.tables;
  owed.waive(state.tables.vunmapRangeNoflush(start, end));
  following.cpus[event.cpu].unmapped = [start, end];
  const area = state.addrToNode(start).busy.findStart(start);
  if (area !== 0 && state.areas.endOf(area) === end) beginFree(following, event.cpu, area);
}

/** A table was made: due on this CPU, or on another that maps in the same region and came later. */
export function followPtAlloc(following: Following, event: FollowedEvent): void {
  const { findings } = following;
  const level = numberOf(event, "level");
  const bytes = 2 ** (12 + 9 * level);
  const { mapping } = following.cpus[event.cpu];
  for (const { due } of following.cpus) {
    const at = due.findIndex(
      ({ ev, fields, start, end }) =>
        ev === "pt_alloc" &&
        fields.level === level &&
        Math.floor(start / bytes) <= Math.floor((mapping[1] - 1) / bytes) &&
        Math.floor(mapping[0] / bytes) <= Math.floor((end - 1) / bytes),
    );
    if (at < 0) continue;
    due.splice(at, 1);
    return;
  }
  findings.mismatch(event, "the table is there already");
}

/** Translations were flushed: of a purge, or of what this CPU has just unmapped. */
export function followFlush(following: Following, event: FollowedEvent): void {
  const { purge, findings, state } = following;
  if (purge !== null && purge.cpu === event.cpu && purge.work.length === 0) {
    followPurgeFlush(following, event, purge);
    return;
  }
  const [start, end] = following.cpus[event.cpu].unmapped;
  const full = Number(end - start > state.flushing.ceilingPages * PAGE_SIZE);
  findings.compare(event, { start: hex(start), end: hex(end), full });
}
