/**
 * A kernel's state as it was, to go back to thousands of times a second: booting takes milliseconds, going back some ten
 * microseconds.
 *
 * The image does not know what it copies. It follows every reference from the objects it is given and keeps each array, map, set,
 * typed array and property; going back writes what differs. So it needs no list of what a kernel consists of. It cannot see
 * variables that only a function knows, nor properties that are added later, but for those that `FastPath.unwatch` takes away; the
 * tests compare runs before and after (`test/src/explore/kernel-image.test.ts`).
 * Physical memory is copied by frame: those in use, then or now, free frames on the lists of CPUs included.
 */
import { FastPath } from "../../../arch/fast-path/fast-path.ts";
import { FRAME_FREE, FRAME_PAGE_TABLE } from "../../../mm/index.ts";
import { lockClassesOf } from "../../../mm/kernel/lock-stat.ts";
import type { Kernel } from "../../machine/kernel.ts";
import type { FrameBytes } from "./frame-bytes.ts";
import { bytesOf, bytesOver, type HostBytes, zeroBytes } from "./host-bytes.ts";
import { SlotImage } from "./slot-image.ts";

/** Bytes that are compared at once; what differs is copied. The host compares some ten times as fast as it copies. */
interface Piece {
  readonly now: HostBytes;
  readonly before: HostBytes;
}

const FRAME_BYTES = 4096;
const PIECE_BYTES = 4 * FRAME_BYTES;
/** What is shorter is copied without a comparison. */
const COMPARED_MIN_BYTES = 1024;
const ZEROS = zeroBytes(PIECE_BYTES);

/** What `kernel` and whatever is reachable from `others` consist of at the moment when it is made. No thread may be alive. */
export class KernelImage {
  private readonly kernel: Kernel;
  private readonly slots = new SlotImage();
  private readonly lists: { readonly list: unknown[]; readonly copy: readonly unknown[] }[] = [];
  private readonly maps: { readonly map: Map<unknown, unknown>; readonly copy: ReadonlyMap<unknown, unknown> }[] = [];
  private readonly sets: { readonly set: Set<unknown>; readonly copy: ReadonlySet<unknown> }[] = [];
  /** Typed arrays, and the frames that are kept. */
  private readonly pieces: Piece[] = [];
  private readonly small: Piece[] = [];
  /** 1 for each frame that is kept. */
  private readonly isKept: Uint8Array;
  /** Frames of page tables that were zero. */
  private readonly zeroTables: number[] = [];
  private readonly bytes: FrameBytes;
  /** Fast paths that no attribution watches: to watch adds properties (`FastPath.watch`), which no image of those that were there takes away. */
  private readonly unwatched: FastPath[] = [];
  private readonly seen = new Set<object>();
  private readonly buffers = new Set<ArrayBufferLike>();

  constructor(kernel: Kernel, bytes: FrameBytes, others: readonly unknown[] = []) {
    this.kernel = kernel;
    this.bytes = bytes;
    const { memory } = kernel.machine;
    this.isKept = new Uint8Array(memory.frames);
    for (const frame of this.framesInUse()) this.isKept[frame] = 1;
    this.keepFrames();
    for (const chunk of [memory.zeroChunk, ...memory.directory]) this.buffers.add(chunk.buffer);
    // Data that nobody changes.
    const { machine, config } = kernel;
    for (const data of [config, machine.config, machine.preset, machine.features, kernel.mm.costs]) this.seen.add(data);
    this.collect([kernel, lockClassesOf(machine.loop), ...others]);
  }

  /** Makes everything as it was. Threads that were started since are forgotten, whatever they were doing. */
  restore(): void {
    this.restoreFrames();
    this.slots.restore();
    const { small, pieces, lists, maps, sets } = this;
    for (let i = 0; i < small.length; i++) small[i].now.set(small[i].before);
    for (let i = 0; i < pieces.length; i++) {
      const { now, before } = pieces[i];
      if (!before.equals(now)) now.set(before);
    }
    for (let i = 0; i < lists.length; i++) restoreList(lists[i].list, lists[i].copy);
    for (const { map, copy } of maps) restoreMap(map, copy);
    for (const { set, copy } of sets) restoreSet(set, copy);
    for (const fastPath of this.unwatched) if (fastPath.isWatched) fastPath.unwatch();
    this.bytes.forgetNotes();
  }

  /**
   * Frames that are in use now were perhaps written; what was not in use then need not be as it was, but zero. Page tables that `verify`
   * has just found to be zero are not looked at again.
   */
  private restoreFrames(): void {
    const { isKept, zeroTables, bytes } = this;
    for (let i = 0; i < zeroTables.length; i++) {
      const frame = zeroTables[i];
      if (!bytes.isNotedZero(frame) && !bytes.isZero(frame)) this.kernel.machine.memory.zeroFrame(frame);
    }
    const { memory } = this.kernel.machine;
    for (const { startFrame, touchedEnd, use } of this.kernel.pages.zones) {
      for (let frame = startFrame; frame < touchedEnd; frame++) {
        if (use[frame - startFrame] > FRAME_FREE + 1 && isKept[frame] === 0) memory.zeroFrame(frame);
      }
    }
  }

  private keepFrames(): void {
    const { isKept, bytes } = this;
    const { pages } = this.kernel;
    const isTable = (frame: number): boolean => pages.useOf(frame) === FRAME_PAGE_TABLE && bytes.isZero(frame);
    for (let frame = 0; frame < isKept.length; ) {
      const first = frame;
      while (this.canJoin(first, frame) && !isTable(frame)) frame++;
      if (frame > first) this.keepBytes(bytes.of(first, frame - first));
      else if (isKept[frame++] === 1) this.zeroTables.push(first);
    }
  }

  /** Whether a frame is kept and may be in one piece with those from `first` on. */
  private canJoin(first: number, frame: number): boolean {
    return (
      this.isKept[frame] === 1 && (frame - first) * FRAME_BYTES < PIECE_BYTES && this.bytes.isNeighbour(first, frame)
    );
  }

  private keepBytes(now: HostBytes): void {
    // What is zero is compared with the same zeros, which stay in the host's nearest cache.
    const zeros = ZEROS.subarray(0, now.length);
    const before = zeros.equals(now) ? zeros : bytesOf(now);
    if (now.length < COMPARED_MIN_BYTES) this.small.push({ now, before });
    else this.pieces.push({ now, before });
  }

  private *framesInUse(): Generator<number> {
    for (const { startFrame, touchedEnd, use } of this.kernel.pages.zones) {
      for (let frame = startFrame; frame < touchedEnd; frame++)
        if (use[frame - startFrame] > FRAME_FREE + 1) yield frame;
    }
  }

  private collect(roots: readonly unknown[]): void {
    const todo = [...roots];
    while (todo.length > 0) {
      const found = todo.pop();
      if (typeof found !== "object" || found === null || this.seen.has(found)) continue;
      this.seen.add(found);
      if (ArrayBuffer.isView(found)) this.keepTyped(found);
      else if (Array.isArray(found)) this.keepList(found, todo);
      else this.keepObject(found as Record<string, unknown>, todo);
    }
  }

  private keepTyped(array: ArrayBufferView): void {
    // Several arrays may be views of one buffer; a copy of the whole buffer serves them all.
    if (this.buffers.has(array.buffer)) return;
    this.buffers.add(array.buffer);
    for (let at = 0; at < array.buffer.byteLength; at += PIECE_BYTES) {
      this.keepBytes(bytesOver(array.buffer, at, Math.min(PIECE_BYTES, array.buffer.byteLength - at)));
    }
  }

  private keepList(list: unknown[], todo: unknown[]): void {
    this.lists.push({ list, copy: list.slice() });
    if (typeof list[0] !== "number") todo.push(...list);
  }

  private keepObject(found: Record<string, unknown>, todo: unknown[]): void {
    if (found instanceof Map) {
      this.maps.push({ map: found, copy: new Map(found) });
      todo.push(...found.keys(), ...found.values());
    } else if (found instanceof Set) {
      this.sets.push({ set: found, copy: new Set(found) });
      todo.push(...found);
    }
    if (found instanceof FastPath && !found.isWatched) this.unwatched.push(found);
    if (Object.isFrozen(found)) return;
    this.slots.keep(found);
    todo.push(...Object.values(found));
  }
}

function restoreList(list: unknown[], copy: readonly unknown[]): void {
  if (list.length !== copy.length) list.length = copy.length;
  for (let i = 0; i < copy.length; i++) if (list[i] !== copy[i]) list[i] = copy[i];
}

function restoreMap(map: Map<unknown, unknown>, copy: ReadonlyMap<unknown, unknown>): void {
  if (hasSameEntries(map, copy)) return;
  map.clear();
  for (const [key, value] of copy) map.set(key, value);
}

/** Whether two maps have the same entries in the same order. */
function hasSameEntries(map: ReadonlyMap<unknown, unknown>, copy: ReadonlyMap<unknown, unknown>): boolean {
  if (map.size !== copy.size) return false;
  if (map.size === 0) return true;
  const entries = map.entries();
  for (const [key, value] of copy) {
    const [keyNow, valueNow] = entries.next().value as [unknown, unknown];
    if (key !== keyNow || value !== valueNow) return false;
  }
  return true;
}

function restoreSet(set: Set<unknown>, copy: ReadonlySet<unknown>): void {
  if (set.size === 0 && copy.size === 0) return;
  set.clear();
  for (const value of copy) set.add(value);
}
