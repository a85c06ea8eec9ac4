/**
 * Fetches of page-table entries that walks leave for later: as long as nobody looks at the data caches, at the clock or at what walks cost, what
 * they do and cost can be found out for many at once (line-cache-module.ts), which takes the host a fifth of the time.
 */

import * as wasm from "../wasm/encoding.ts";
import { LineCache, type TakeBytes } from "./line-cache.ts";
import { type LevelLayout, lineCacheModule, VECTOR_WAYS_MAX } from "./line-cache-module.ts";
import { LineCacheShape } from "./line-cache-shape.ts";

const { WASM_PAGE_BYTES, WebAssembly } = wasm;
/** Most fetches that are left for later. */
const FETCHES_MAX = 1024;
/** Kinds of access. */
const KINDS = 3;
/** Bytes of a vector: arrays begin at multiples, and the last mark is followed by as many. */
const VECTOR_BYTES = 16;
const WORD_BYTES = 4;

/** Takes the first lines through all levels, as many words as these bytes, and writes what they cost. */
type UseLines = (bytes: number) => void;

/** The caches of one CPU, and the fetches that they are to be given. */
export class DeferredFetches {
  /** The levels, from the nearest on. */
  readonly levels: readonly LineCache[];
  /** Cycles of such fetches that nobody has paid for yet, by kind of access (load 0, store 1, fetch 2). */
  readonly unpaidCycles = new Float64Array(KINDS);
  /** How many wait. Who adds one writes its line and its kind at this index, and counts it; not when {@link isFull}. */
  count = 0;
  /** Their lines: numbers below 2^31. */
  readonly lines: Int32Array;
  /** The kinds of access that they are for. */
  readonly kinds = new Uint8Array(FETCHES_MAX);
  private readonly cycles: Int32Array;
  private readonly memoryCycles: number;
  private readonly useAll: UseLines;

  /** @param before levels that have what these are to have; all costs are whole numbers below 2^31 */
  constructor(before: readonly LineCache[], memoryCycles: number) {
    this.memoryCycles = memoryCycles;
    if (isForVectors(before)) {
      const { levels, lines, cycles, use } = inWebAssembly(before, memoryCycles);
      this.levels = levels;
      this.lines = lines;
      this.cycles = cycles;
      this.useAll = use;
    } else {
      this.levels = before;
      this.lines = new Int32Array(FETCHES_MAX);
      this.cycles = new Int32Array(FETCHES_MAX);
      this.useAll = () => this.useEach();
    }
  }

  /** Whether there is no room for another. */
  get isFull(): boolean {
    return this.count === FETCHES_MAX;
  }

  /** Makes those that wait, at least one; none does from then on. */
  make(): void {
    const { count, cycles, kinds, unpaidCycles } = this;
    this.useAll(WORD_BYTES * count);
    let all = 0;
    let stores = 0;
    let fetches = 0;
    for (let i = 0; i < count; i++) {
      all += cycles[i];
      stores += Math.imul(cycles[i], kinds[i] & 1);
      fetches += Math.imul(cycles[i], kinds[i] >> 1);
    }
    unpaidCycles[0] += all - stores - fetches;
    unpaidCycles[1] += stores;
    unpaidCycles[2] += fetches;
    this.count = 0;
  }

  /** What the module does, one by one. */
  private useEach(): void {
    const { levels, lines, cycles, count, memoryCycles } = this;
    for (let i = 0; i < count; i++) {
      cycles[i] = memoryCycles;
      for (let level = levels.length - 1; level >= 0; level--) {
        if (levels[level].use(lines[i])) cycles[i] = levels[level].shape.hitCycles;
      }
    }
  }
}

/** Whether the module does these caches, on a host that has WebAssembly. */
function isForVectors(levels: readonly LineCache[]): boolean {
  return levels.length > 0 && levels.every(({ shape }) => shape.ways <= VECTOR_WAYS_MAX) && WebAssembly !== undefined;
}

/** Caches that have what these have, in a memory of WebAssembly, and room for lines and what they cost. */
function inWebAssembly(before: readonly LineCache[], memoryCycles: number) {
  const shapes: LineCacheShape[] = [];
  let end = 2 * FETCHES_MAX;
  for (const { shape } of before) {
    const apart = new LineCacheShape(shape.sizes, end, true);
    shapes.push(apart);
    end = apart.end;
  }
  const tableBytes = before.reduce((sum, { shape }) => sum + tableBytesOf(shape), 0);
  const pages = Math.ceil((WORD_BYTES * end + tableBytes) / WASM_PAGE_BYTES);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const words = new Int32Array(memory.buffer);
  const take = takeFrom(memory.buffer, WORD_BYTES * end);
  const levels = before.map((each, i) => copyOf(each, shapes[i], words));
  const layouts = shapes.map((shape) => layoutOf(shape, take));
  const places = { linesAt: 0, cyclesAt: WORD_BYTES * FETCHES_MAX, memoryCycles };
  const module = new WebAssembly.Module(lineCacheModule(layouts, places));
  const { exports } = new WebAssembly.Instance(module, { caches: { memory } });
  const { use } = exports as { readonly use: UseLines };
  const [lines, cycles] = [words.subarray(0, FETCHES_MAX), words.subarray(FETCHES_MAX, 2 * FETCHES_MAX)];
  return { levels, lines, cycles, use };
}

/** What a level holds, in words of another shape for it. */
function copyOf(level: LineCache, shape: LineCacheShape, words: Int32Array): LineCache {
  const copy = new LineCache(shape, words);
  level.forEachLine((place, line) => copy.putBack(place, line));
  level.forEachState((set, state) => copy.setState(set, state));
  return copy;
}

/** Takes bytes of a buffer from `begin` on. */
function takeFrom(buffer: ArrayBuffer, begin: number): TakeBytes {
  let end = begin;
  return (size) => {
    const at = end;
    end = (at + size + VECTOR_BYTES) & -VECTOR_BYTES;
    return [buffer, at];
  };
}

/** Bytes of the tables of a level's policy in that memory. */
function tableBytesOf({ ways, policy }: LineCacheShape): number {
  return (policy.victims?.length ?? 0) + 2 * WORD_BYTES * ways + 2 * VECTOR_BYTES;
}

/** Where what a level has lies, with copies of the tables of its policy. */
function layoutOf(shape: LineCacheShape, take: TakeBytes): LevelLayout {
  const { sets, ways, hitCycles, policy, bytesApart } = shape;
  const { hitUse, fillUse } = policy;
  const victims = policy.victims ?? new Uint8Array(0);
  const victimBytes = new Uint8Array(...take(victims.length), victims.length);
  victimBytes.set(victims);
  const uses = new Int32Array(...take(2 * WORD_BYTES * ways), 2 * ways);
  uses.set(hitUse.subarray(0, ways));
  uses.set(fillUse.subarray(0, ways), ways);
  return { sets, ways, hitCycles, ...bytesApart, victimsAt: victimBytes.byteOffset, usesAt: uses.byteOffset };
}
