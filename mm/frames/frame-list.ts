/** Lists of free frames in front of the zones: those of each CPU, and those kept for page tables. */
import { MAX_PAGE_ORDER, type Zone } from "./zone.ts";

/** Frames moved between a per-CPU list and its zone at a time. */
export const PCP_BATCH = 63;
/** A per-CPU list longer than this gives a batch back. */
export const PCP_HIGH = 1024;
/** Room on a per-CPU list. */
export const LIST_CAPACITY = PCP_HIGH + PCP_BATCH + 1;
/** From so many frames on a copy by the host's `set` is quicker than a loop. */
const COPY_MIN = 24;
/** Page tables take at most one part in so many of a zone at a time. */
const TABLE_BLOCK_SHARE = 64;

/** A stack of frame numbers. */
export interface FrameList {
  readonly frames: Uint32Array;
  count: number;
}

/**
 * Lists of all CPUs, side by side: for each CPU one a zone. A list with an array of its own is six objects and arrays of the host, one found through the other,
 * and with a thousand CPUs in none of its caches when it is that CPU's turn: pairs of vmalloc and vfree on 1024 CPUs took 1.03 to 1.08 times as long
 * with such, old and new in turns in one process.
 */
export class CpuFrameLists {
  /** By list: how many frames are on it. */
  readonly counts: Int32Array;
  /** Their numbers, from {@link begin} on. */
  readonly frames: Uint32Array;
  /** By list, for the host's sake: the frame that was put there last and is taken next; 0 where that has to be looked up in the list. */
  readonly latest: Uint32Array;
  /** Each of them as a list, by CPU and zone. */
  readonly lists: readonly (readonly FrameList[])[];
  private readonly zones: number;

  constructor(cpus: number, zones: number) {
    this.zones = zones;
    this.counts = new Int32Array(cpus * zones);
    this.latest = new Uint32Array(cpus * zones);
    this.frames = new Uint32Array(cpus * zones * LIST_CAPACITY);
    this.lists = Array.from({ length: cpus }, (_, cpu) =>
      Array.from({ length: zones }, (_, zone) => new CpuFrameList(this, this.place(cpu, zone))),
    );
  }

  /** Which list is that of a CPU and a zone. */
  place(cpu: number, zone: number): number {
    return cpu * this.zones + zone;
  }

  /** Where the frames of the list at a place begin. */
  begin(place: number): number {
    return place * LIST_CAPACITY;
  }

  /** Moves the last `count` frames of a list, which has as many, to `out`. */
  take(place: number, count: number, out: Uint32Array, offset: number): void {
    const { counts, latest } = this;
    const frame = latest[place];
    latest[place] = 0;
    counts[place] -= count;
    if (count === 1 && frame !== 0) out[offset] = frame;
    else copyFrames(this.frames, this.begin(place) + counts[place], out, offset, count);
  }

  /** Adds frames to a list, which has room for them. */
  put(place: number, from: Uint32Array, offset: number, count: number): void {
    const { counts } = this;
    copyFrames(from, offset, this.frames, this.begin(place) + counts[place], count);
    counts[place] += count;
    this.latest[place] = from[offset + count - 1];
  }
}

class CpuFrameList implements FrameList {
  readonly frames: Uint32Array;
  private readonly all: CpuFrameLists;
  private readonly place: number;

  constructor(all: CpuFrameLists, place: number) {
    const begin = all.begin(place);
    this.frames = all.frames.subarray(begin, begin + LIST_CAPACITY);
    this.all = all;
    this.place = place;
  }

  get count(): number {
    return this.all.counts[this.place];
  }

  set count(frames: number) {
    this.all.counts[this.place] = frames;
    this.all.latest[this.place] = 0;
  }
}

/** Copies `count` frame numbers. */
function copyFrames(from: Uint32Array, fromOffset: number, to: Uint32Array, toOffset: number, count: number): void {
  if (count >= COPY_MIN) {
    to.set(from.subarray(fromOffset, fromOffset + count), toOffset);
    return;
  }
  for (let i = 0; i < count; i++) to[toOffset + i] = from[fromOffset + i];
}

/** Marks frames of one zone with a use. */
export function markFrames(zone: Zone, frames: Uint32Array, offset: number, count: number, use: number): void {
  const { use: marks } = zone;
  const startFrame = zone.startFrame | 0;
  const end = (offset + count) | 0;
  // Frame numbers are 32 bits; `| 0` keeps V8 in integers.
  for (let i = offset | 0; i < end; i = (i + 1) | 0) marks[((frames[i] | 0) - startFrame) | 0] = use;
}

/** Puts a block of frames on the list for page tables, the lowest to be taken first. */
export function fillForTables(list: FrameList, zone: Zone): boolean {
  const order = Math.min(MAX_PAGE_ORDER, 31 - Math.clz32(zone.managedPages / TABLE_BLOCK_SHARE));
  const first = order < 0 ? 0 : zone.__rmqueueSmallest(order);
  if (first === 0) return false;
  for (let i = (1 << order) - 1; i >= 0; i--) list.frames[list.count++] = first + i;
  return true;
}

/** Puts frames on a list and marks them, up to the first that lies outside `zone` or for which there is no room; returns how many. */
export function pushRun(
  zone: Zone,
  list: FrameList,
  from: Uint32Array,
  offset: number,
  count: number,
  mark: number,
): number {
  const { use } = zone;
  const { frames } = list;
  const startFrame = zone.startFrame | 0;
  const frameCount = Math.min(zone.managedPages, 0x7fff_ffff);
  const first = offset | 0;
  const toList = (list.count - first) | 0;
  const end = (first + Math.min(count, LIST_CAPACITY - list.count)) | 0;
  let at = first;
  for (; at < end; at = (at + 1) | 0) {
    const frame = from[at] | 0;
    const index = (frame - startFrame) | 0;
    if (index < 0 || index >= frameCount) break;
    use[index] = mark;
    frames[(toList + at) | 0] = frame;
  }
  const done = at - first;
  list.count += done;
  return done;
}

/** Gives a batch of the oldest frames of a CPU's list back to its zone, marked as free. */
export function freePcppagesBulk(list: FrameList, zone: Zone, mark: number): void {
  const { frames } = list;
  markFrames(zone, frames, 0, PCP_BATCH, mark);
  zone.freeFrames(frames, PCP_BATCH);
  frames.copyWithin(0, PCP_BATCH, list.count);
  list.count -= PCP_BATCH;
}

/** Gives all frames of a list back to their zone, marked as free; how many there were. */
export function drainList(list: FrameList, zone: Zone, mark: number): number {
  const { count, frames } = list;
  markFrames(zone, frames, 0, count, mark);
  while (list.count > 0) zone.__freeOnePage(frames[--list.count], 0);
  return count;
}

/** A frame off the first list, one a zone each, that has one of a zone which `isMeant`; 0 when there is none. */
export function stealSingle(
  lists: readonly (readonly FrameList[])[],
  zones: readonly Zone[],
  isMeant: (zone: Zone) => boolean,
): number {
  for (const ofZones of lists) {
    for (let i = 0; i < ofZones.length; i++) {
      const list = ofZones[i];
      if (list.count > 0 && isMeant(zones[i])) return list.frames[--list.count];
    }
  }
  return 0;
}

/** Fills a CPU's list, which is empty, with a batch of frames of its zone, and marks them; false when there is none. */
export function rmqueueBulk(list: FrameList, zone: Zone, mark: number): boolean {
  const { frames } = list;
  let taken = 0;
  while (taken < PCP_BATCH) {
    const frame = zone.__rmqueueSmallest(0);
    if (frame === 0) break;
    frames[taken++] = frame;
  }
  markFrames(zone, frames, 0, taken, mark);
  list.count = taken;
  return taken > 0;
}
