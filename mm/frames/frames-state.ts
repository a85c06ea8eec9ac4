/** What the page allocator has handed out and what it keeps, for saved states. */
import { checkState, restoreArray } from "../../arch/isa/state-error.ts";
import type { FrameList } from "./frame-list.ts";
import { FRAME_USER } from "./frame-uses.ts";
import type { MemCgroup } from "./mem-cgroup.ts";
import type { PageAllocator } from "./page-allocator.ts";
import type { PageLines } from "./page-lines.ts";
import { MAX_PAGE_ORDER, type Zone } from "./zone.ts";

const ORDERS = MAX_PAGE_ORDER + 1;

/** Several lists of frames: how many each has, and the frames of all, one list after the other. */
export interface FrameLists {
  readonly counts: Uint32Array;
  readonly frames: Uint32Array;
}

/** Where the lines of pages are (`PageLines`). */
export interface PageLinesState {
  /** By frame below `zoneTouchedEnd`, zone by zone: who used its `struct page` last, plus one, and who zeroed it; and when. */
  readonly user: Uint16Array;
  readonly usedAt: Uint32Array;
  readonly zeroedBy: Uint16Array;
  readonly zeroedAt: Uint32Array;
  /** By CPU: lines fetched; the frame whose line was the last, and its direction. */
  readonly fetched: Uint32Array;
  readonly lastFrame: Float64Array;
  readonly direction: Int32Array;
  /** By CPU: the frame after the one that it zeroed last; absent in files of versions before 16. */
  readonly nextZeroed?: Float64Array | undefined;
}

/** What is charged to the memory cgroup (`MemCgroup`). */
export interface MemcgState {
  /** By frame below `zoneTouchedEnd`, zone by zone: to whom it is charged. */
  readonly charged: Uint8Array;
  /** By level, pages charged; by CPU, pages charged in advance. */
  readonly usagePages: Float64Array;
  readonly stockPages: Int32Array;
  /** Bytes that each CPU keeps for objects; absent where there are none, and in files of versions before 13. */
  readonly stockBytes?: Int32Array | undefined;
}

/** The state of a page allocator. Frames are named by their numbers. */
export interface FramesState {
  /** Frames that were ever handed out, and ever given back. */
  readonly allocatedPages: number;
  readonly freedPages: number;
  /** By zone, in order of addresses: its first frame, one past its last, and one past the last that was ever used. */
  readonly zoneStart: Float64Array;
  readonly zoneEnd: Float64Array;
  readonly zoneTouchedEnd: Float64Array;
  /** What the frames below `zoneTouchedEnd` are used for (`FRAME_*`), zone by zone. */
  readonly use: Uint8Array;
  /** First frames of the free blocks: eleven lists a zone, by order, each in the order in which blocks are taken. */
  readonly freeBlocks: FrameLists;
  /** Single frames kept for a CPU: for each CPU a list a zone; the last of a list is taken first. */
  readonly cpuLists: FrameLists;
  /** By frame below `zoneTouchedEnd`, zone by zone: 1 where it is on an LRU list; absent in files of versions before 11, where all user pages are. */
  readonly onLru?: Uint8Array | undefined;
  /** Where the lines of pages are; absent in files of versions before 9. */
  readonly lines?: PageLinesState | undefined;
  /** To whom pages are charged; absent without memory cgroups. */
  readonly memcg?: MemcgState | undefined;
  /** Only in files of versions before 9: how many of the CPUs' frames, the last to be taken, are in no cache. */
  readonly coldOfCpuLists?: Uint32Array | undefined;
  /** Single frames kept for page tables: a list a zone. */
  readonly tableLists: FrameLists;
  /** Frames with more than one holder, and how many holders they have beside the first. */
  readonly shared: { readonly frame: Uint32Array; readonly further: Uint32Array };
}

/** Copies the state of an allocator. */
export function captureFrames(pages: PageAllocator): FramesState {
  const { zones, perCpu, tableLists, references } = pages;
  const frame: number[] = [];
  const further: number[] = [];
  references.forEach((each, count) => {
    frame.push(each);
    further.push(count);
  });
  return {
    allocatedPages: pages.allocatedPages,
    freedPages: pages.freedPages,
    zoneStart: Float64Array.from(zones, (zone) => zone.startFrame),
    zoneEnd: Float64Array.from(zones, (zone) => zone.endFrame),
    zoneTouchedEnd: Float64Array.from(zones, (zone) => zone.touchedEnd),
    use: joined(zones, ({ use }) => use, Uint8Array),
    onLru: joined(zones, ({ onLru }) => onLru, Uint8Array),
    freeBlocks: listsOf(zones.flatMap(freeBlocksOf)),
    cpuLists: listsOf(perCpu.flat().map(framesOf)),
    tableLists: listsOf(tableLists.map(framesOf)),
    shared: { frame: Uint32Array.from(frame), further: Uint32Array.from(further) },
    ...(pages.memcg === null ? {} : { memcg: captureMemcg(pages.zones, pages.memcg) }),
    ...(pages.lines === null ? {} : { lines: captureLines(pages.zones, pages.lines) }),
  };
}

function captureMemcg(zones: readonly Zone[], { usagePages, stockPages, stockBytes }: MemCgroup): MemcgState {
  const bytes = stockBytes.some((each) => each !== 0) ? { stockBytes: stockBytes.slice() } : {};
  const charged = joined(zones, ({ memcgData }) => memcgData, Uint8Array);
  return { charged, usagePages: usagePages.slice(), stockPages: stockPages.slice(), ...bytes };
}

function restoreMemcg(zones: readonly Zone[], memcg: MemCgroup, state: MemcgState): void {
  restoreArray("memory cgroup", "levels", memcg.usagePages, state.usagePages);
  restoreArray("memory cgroup", "CPUs", memcg.stockPages, state.stockPages);
  memcg.stockBytes.fill(0);
  if (state.stockBytes !== undefined) restoreArray("memory cgroup", "CPUs", memcg.stockBytes, state.stockBytes);
  const total = zones.reduce((sum, zone) => sum + zone.touchedEnd - zone.startFrame, 0);
  checkState("memory cgroup", state.charged.length === total, `is charged some of ${total} frames`);
  let at = 0;
  for (const zone of zones) {
    const end = at + zone.touchedEnd - zone.startFrame;
    zone.memcgData.fill(0).set(state.charged.subarray(at, end));
    at = end;
  }
}

/** Says which frames are on the LRU lists, once the zones are restored. */
function restoreLru(zones: readonly Zone[], onLru: Uint8Array): void {
  const total = zones.reduce((sum, zone) => sum + zone.touchedEnd - zone.startFrame, 0);
  const fits = onLru.length === total && onLru.every((each) => each <= 1);
  checkState("page allocator", fits, `knows of ${total} frames whether they are on an LRU list`);
  let at = 0;
  for (const zone of zones) {
    const end = at + zone.touchedEnd - zone.startFrame;
    zone.onLru.fill(0).set(onLru.subarray(at, end));
    at = end;
  }
}

function captureLines(
  zones: readonly Zone[],
  { fetched, lastFrame, direction, nextZeroed }: PageLines,
): PageLinesState {
  return {
    user: joined(zones, ({ user }) => user, Uint16Array),
    usedAt: joined(zones, ({ usedAt }) => usedAt, Uint32Array),
    zeroedBy: joined(zones, ({ zeroedBy }) => zeroedBy, Uint16Array),
    zeroedAt: joined(zones, ({ zeroedAt }) => zeroedAt, Uint32Array),
    fetched: fetched.slice(),
    lastFrame: Float64Array.from(lastFrame),
    direction: direction.slice(),
    nextZeroed: nextZeroed.slice(),
  };
}

/** Brings the lines of pages into a captured state, once the zones are. */
function restoreLines(zones: readonly Zone[], cpus: number, lines: PageLines, state: PageLinesState): void {
  restoreArray("page allocator", "CPUs", lines.fetched, state.fetched);
  restoreArray("page allocator", "CPUs", lines.lastFrame, state.lastFrame);
  restoreArray("page allocator", "CPUs", lines.direction, state.direction);
  restoreArray("page allocator", "CPUs", lines.nextZeroed, state.nextZeroed ?? new Float64Array(cpus));
  const total = zones.reduce((sum, zone) => sum + zone.touchedEnd - zone.startFrame, 0);
  const byFrame = [state.user, state.usedAt, state.zeroedBy, state.zeroedAt];
  const fits = byFrame.every(({ length }) => length === total);
  checkState("page allocator", fits, `knows the lines of ${total} frames`);
  const known = [state.user, state.zeroedBy].every((users) => users.every((user) => user <= cpus));
  checkState("page allocator", known, `has ${cpus} CPUs`);
  let at = 0;
  for (const zone of zones) {
    const end = at + zone.touchedEnd - zone.startFrame;
    zone.user.fill(0).set(state.user.subarray(at, end));
    zone.usedAt.fill(0).set(state.usedAt.subarray(at, end));
    zone.zeroedBy.fill(0).set(state.zeroedBy.subarray(at, end));
    zone.zeroedAt.fill(0).set(state.zeroedAt.subarray(at, end));
    at = end;
  }
}

/** Older files say of the frames on a CPU's lists only how many were in no cache: the others were in that CPU's. */
function warmLists({ zones, perCpu }: PageAllocator, coldOfLists: Uint32Array): void {
  const lists = perCpu.flat();
  checkState("page allocator", coldOfLists.length === lists.length, "has another number of lists of each CPU");
  lists.forEach(({ frames, count }, i) => {
    const zone = zones[i % zones.length];
    const self = Math.floor(i / zones.length) + 1;
    for (let at = coldOfLists[i]; at < count; at++) {
      zone.user[frames[at] - zone.startFrame] = self;
      zone.zeroedBy[frames[at] - zone.startFrame] = self;
    }
  });
}

/**
 * Brings an allocator into a captured state.
 * @throws StateError when it is one of other memory or other CPUs
 */
export function restoreFrames(pages: PageAllocator, state: FramesState): void {
  const { zones, perCpu, tableLists } = pages;
  const isSame = (mine: (zone: Zone) => number, theirs: Float64Array) =>
    theirs.length === zones.length && zones.every((zone, i) => mine(zone) === theirs[i]);
  const sameZones =
    isSame((zone) => zone.startFrame, state.zoneStart) && isSame((zone) => zone.endFrame, state.zoneEnd);
  checkState("page allocator", sameZones && state.zoneTouchedEnd.length === zones.length, "has other zones");
  const freeBlocks = cut(state.freeBlocks, zones.length * ORDERS);
  let at = 0;
  zones.forEach((zone, i) => {
    const touched = state.zoneTouchedEnd[i] - zone.startFrame;
    checkState("page allocator", touched >= 0 && touched <= zone.managedPages, `has no frames up to ${touched}`);
    const blocks = freeBlocks.slice(i * ORDERS, (i + 1) * ORDERS);
    const isInside = (frame: number) => frame >= zone.startFrame && frame < state.zoneTouchedEnd[i];
    checkState(
      "page allocator",
      blocks.every((frames) => frames.every(isInside)),
      "has free blocks outside its zone",
    );
    zone.restore(state.zoneTouchedEnd[i], state.use.subarray(at, at + touched), blocks);
    at += touched;
  });
  checkState("page allocator", at === state.use.length, `knows the use of ${state.use.length} frames, not of ${at}`);
  restoreLru(zones, state.onLru ?? state.use.map((use) => (use === FRAME_USER ? 1 : 0)));
  fill(perCpu.flat(), state.cpuLists);
  fill(tableLists, state.tableLists);
  pages.lines?.forgetOwnFrames();
  if (state.coldOfCpuLists !== undefined) warmLists(pages, state.coldOfCpuLists);
  if (pages.memcg !== null && state.memcg !== undefined) restoreMemcg(zones, pages.memcg, state.memcg);
  if (pages.lines !== null && state.lines !== undefined) restoreLines(zones, pages.cpus, pages.lines, state.lines);
  pages.references.restore(state.shared.frame, state.shared.further);
  pages.allocatedPages = state.allocatedPages;
  pages.freedPages = state.freedPages;
}

function freeBlocksOf(zone: Zone): Uint32Array[] {
  const byOrder = Array.from({ length: ORDERS }, (): number[] => []);
  zone.forEachFreeBlock((frame, order) => {
    byOrder[order].push(frame);
  });
  return byOrder.map((frames) => Uint32Array.from(frames));
}

function framesOf({ frames, count }: FrameList): Uint32Array {
  return frames.subarray(0, count);
}

/** What the zones know of their frames below `touchedEnd`, one zone after the other. */
function joined<Column extends Uint8Array | Uint16Array | Uint32Array>(
  zones: readonly Zone[],
  of: (zone: Zone) => Column,
  ColumnArray: new (length: number) => Column,
): Column {
  const touched = (zone: Zone): number => zone.touchedEnd - zone.startFrame;
  const all = new ColumnArray(zones.reduce((sum, zone) => sum + touched(zone), 0));
  let at = 0;
  for (const zone of zones) {
    all.set(of(zone).subarray(0, touched(zone)), at);
    at += touched(zone);
  }
  return all;
}

function listsOf(lists: readonly Uint32Array[]): FrameLists {
  const frames = new Uint32Array(lists.reduce((sum, list) => sum + list.length, 0));
  let at = 0;
  for (const list of lists) {
    frames.set(list, at);
    at += list.length;
  }
  return { counts: Uint32Array.from(lists, (list) => list.length), frames };
}

function cut({ counts, frames }: FrameLists, lists: number): Uint32Array[] {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const fits = counts.length === lists && total === frames.length;
  checkState("page allocator", fits, `has ${lists} lists, not ${counts.length}`);
  let at = 0;
  return Array.from(counts, (count) => {
    at += count;
    return frames.subarray(at - count, at);
  });
}

function fill(lists: readonly FrameList[], saved: FrameLists): void {
  cut(saved, lists.length).forEach((frames, i) => {
    const room = lists[i].frames.length;
    checkState("page allocator", frames.length <= room, `keeps at most ${room} frames in a list`);
    lists[i].frames.set(frames);
    lists[i].count = frames.length;
  });
}
