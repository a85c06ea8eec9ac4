/**
 * A kernel's state as it was, to go back to thousands of times a second: booting takes milliseconds, going back some hundred
 * microseconds.
 *
 * The image does not know what it copies. It follows every reference from the objects it is given and keeps each array, map, set,
 * typed array and property; going back writes what differs. So it needs no list of what a kernel consists of. It cannot see
 * variables that only a function knows; the tests compare runs before and after (`test/src/explore/kernel-image.test.ts`).
 * Physical memory is copied by frame: those in use, then or now.
 */
import type { PhysicalMemory } from "../../../arch/index.ts";
import { FRAME_FREE } from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";

type TypedArray = Float64Array | Int32Array | Uint32Array | Uint16Array | Uint8Array | Int8Array | Int16Array;

const FRAME_WORDS = 1024;

/** What `kernel` and whatever is reachable from `others` consist of at the moment when it is made. No thread may be alive. */
export class KernelImage {
  private readonly kernel: Kernel;
  private readonly owners: Record<string, unknown>[] = [];
  private readonly keys: string[] = [];
  private readonly values: unknown[] = [];
  private readonly lists: { readonly list: unknown[]; readonly copy: readonly unknown[] }[] = [];
  private readonly maps: { readonly map: Map<unknown, unknown>; readonly copy: ReadonlyMap<unknown, unknown> }[] = [];
  private readonly sets: { readonly set: Set<unknown>; readonly copy: ReadonlySet<unknown> }[] = [];
  private readonly typed: { readonly array: TypedArray; readonly copy: TypedArray }[] = [];
  private readonly frames = new Map<number, Int32Array>();
  private readonly seen = new Set<object>();
  private readonly buffers = new Set<ArrayBufferLike>();

  constructor(kernel: Kernel, others: readonly unknown[] = []) {
    this.kernel = kernel;
    const { memory } = kernel.machine;
    for (const frame of this.framesInUse()) this.frames.set(frame, wordsOf(memory, frame).slice());
    for (const chunk of memory.directory) this.buffers.add(chunk.buffer);
    // Data that nobody changes.
    const { machine, config } = kernel;
    for (const data of [config, machine.config, machine.preset, machine.features, kernel.mm.costs]) this.seen.add(data);
    this.collect([kernel, ...others]);
  }

  /** Makes everything as it was. Threads that were started since are forgotten, whatever they were doing. */
  restore(): void {
    this.restoreFrames();
    const { owners, keys, values } = this;
    for (let i = 0; i < owners.length; i++) {
      const owner = owners[i];
      if (owner[keys[i]] !== values[i]) owner[keys[i]] = values[i];
    }
    for (const { array, copy } of this.typed) array.set(copy);
    for (const { list, copy } of this.lists) restoreList(list, copy);
    for (const { map, copy } of this.maps) restoreMap(map, copy);
    for (const { set, copy } of this.sets) restoreSet(set, copy);
  }

  /** Frames that are in use now were perhaps written; what was not in use then need not be as it was, but zero. */
  private restoreFrames(): void {
    const { memory } = this.kernel.machine;
    for (const frame of this.framesInUse()) if (!this.frames.has(frame)) memory.zeroFrame(frame);
    for (const [frame, words] of this.frames) wordsOf(memory, frame).set(words);
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
      if (ArrayBuffer.isView(found)) this.keepTyped(found as TypedArray);
      else if (Array.isArray(found)) this.keepList(found, todo);
      else this.keepObject(found as Record<string, unknown>, todo);
    }
  }

  private keepTyped(array: TypedArray): void {
    // Several arrays may be views of one buffer; a copy of the whole buffer serves them all.
    if (this.buffers.has(array.buffer)) return;
    this.buffers.add(array.buffer);
    const whole = new Uint8Array(array.buffer);
    this.typed.push({ array: whole, copy: whole.slice() });
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
    if (Object.isFrozen(found)) return;
    for (const key of Object.keys(found)) {
      const value = found[key];
      todo.push(value);
      if (typeof value === "function") continue;
      this.owners.push(found);
      this.keys.push(key);
      this.values.push(value);
    }
  }
}

function wordsOf(memory: PhysicalMemory, frame: number): Int32Array {
  const base = (frame & 1023) * FRAME_WORDS;
  return memory.chunkForWrite(frame).subarray(base, base + FRAME_WORDS);
}

function restoreList(list: unknown[], copy: readonly unknown[]): void {
  if (list.length !== copy.length) list.length = copy.length;
  for (let i = 0; i < copy.length; i++) if (list[i] !== copy[i]) list[i] = copy[i];
}

function restoreMap(map: Map<unknown, unknown>, copy: ReadonlyMap<unknown, unknown>): void {
  if (map.size === 0 && copy.size === 0) return;
  map.clear();
  for (const [key, value] of copy) map.set(key, value);
}

function restoreSet(set: Set<unknown>, copy: ReadonlySet<unknown>): void {
  if (set.size === 0 && copy.size === 0) return;
  set.clear();
  for (const value of copy) set.add(value);
}
