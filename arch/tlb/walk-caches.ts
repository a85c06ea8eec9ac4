/**
 * The data caches as the page walker sees them: which level answers the fetch of a page-table entry, so that entries that are
 * used often cost less. Accesses to data do not go through them. A line has 64 bytes: eight entries.
 */

import { checkState } from "../isa/state-error.ts";
import type { Preset } from "../presets/preset.ts";
import { replacementPolicy, replacementProblem } from "../presets/replacement/index.ts";
import { afterUse, type Replacement } from "../presets/replacement/policy.ts";

/** In place of the number of a line, where there is none: equal to no line. */
const NO_LINE = Number.NaN;
const NO_LINES = new Float64Array(1).fill(NO_LINE);

/** Ways of a word of marks, and most ways of a set whose marks are compared. */
const WORD_WAYS = 4;
const MARKED_WAYS_MAX = 32;
/** Marks that there are. */
const MARKS = 256;
/** A one in each byte of a word, and the highest bit of each. */
const ONES = 0x01010101;
const HIGHEST_BITS = 0x80808080;
/** Number of the highest bit of a byte. */
const HIGHEST_BIT = 7;

/** One level: physically indexed, tree-PLRU, or round robin where that does not exist for the number of ways. */
export class LineCache {
  /** Cycles of a fetch that this level answers. */
  readonly hitCycles: number;
  /**
   * One more than what of the line's number is above its set and its mark; 0 for no line. An array that nothing was written to is 0, and the
   * host commits no memory for it: many CPUs walk little.
   */
  private readonly tag: Int32Array;
  /** What a line's number is to be multiplied by, so that the whole part of it is above its set and its mark. */
  private readonly tagShare: number;
  /** A mark of each line, a byte: the low bits of its number above those that choose the set. */
  private readonly marks: Uint8Array;
  private readonly markWords: Int32Array;
  /** Words of the marks of a set; 0 where its ways do not fill words, so that tags are compared. */
  private readonly setWords: number;
  private readonly setShift: number;
  private readonly state: Uint16Array;
  private readonly ways: number;
  private readonly setMask: number;
  private readonly policy: Replacement;
  private readonly hitUse: Int32Array;
  /** Number of sets. */
  readonly sets: number;

  constructor(sizeBytes: number, ways: number, hitCycles: number) {
    const sets = sizeBytes / 64 / ways;
    this.hitCycles = hitCycles;
    this.tag = new Int32Array(sets * ways);
    this.tagShare = 1 / (sets * MARKS);
    this.marks = new Uint8Array((sets * ways + WORD_WAYS - 1) & -WORD_WAYS);
    this.markWords = new Int32Array(this.marks.buffer);
    this.setWords = ways % WORD_WAYS === 0 && ways <= MARKED_WAYS_MAX ? ways / WORD_WAYS : 0;
    this.setShift = 31 - Math.clz32(sets);
    this.state = new Uint16Array(sets);
    this.ways = ways;
    this.setMask = sets - 1;
    this.sets = sets;
    this.policy = replacementPolicy(replacementProblem("tree-plru", ways) === null ? "tree-plru" : "round-robin", ways);
    this.hitUse = this.policy.hitUse;
  }

  /** Records a hit of `slot`, which is in the set of `line`. */
  hit(slot: number, line: number): void {
    const { state } = this;
    const set = (line | 0) & this.setMask;
    const use = this.hitUse[slot - Math.imul(set, this.ways)];
    state[set] = (state[set] & (use >>> 16)) | (use & 0xffff);
  }

  /** The slot of a line; -1 when it is not there. Changes nothing. */
  find(line: number): number {
    const { markWords, setWords } = this;
    const set = (line | 0) & this.setMask;
    if (setWords === 0) return this.search(set, line) | 0;
    // All marks of the set at once: bit 8 * byte + word of `found` says that a way has that of the line, or that one before it in its word has.
    const mark = Math.imul(((line | 0) >>> this.setShift) & 0xff, ONES);
    const first = Math.imul(set, setWords);
    let found = 0;
    for (let word = 0; word < setWords; word++) {
      const differences = markWords[first + word] ^ mark;
      found |= ((differences - ONES) & ~differences & HIGHEST_BITS) >>> (HIGHEST_BIT - word);
    }
    if (found === 0) return -1;
    const bit = 31 - Math.clz32(found & -found);
    const slot = (Math.imul(set, this.ways) + (bit & 7) * WORD_WAYS + (bit >> 3)) | 0;
    return this.tag[slot] === this.tagOf(line) ? slot : this.search(set, line) | 0;
  }

  private search(set: number, line: number): number {
    const { tag, marks, ways } = this;
    const mark = ((line | 0) >>> this.setShift) & 0xff;
    const wanted = this.tagOf(line);
    const start = Math.imul(set, ways);
    for (let slot = start; slot < start + ways; slot++) if (marks[slot] === mark && tag[slot] === wanted) return slot;
    return -1;
  }

  private tagOf(line: number): number {
    return ((line * this.tagShare) | 0) + 1;
  }

  /** Puts a line in, which is not there. */
  insert(line: number): void {
    const { tag, state, policy } = this;
    const set = (line | 0) & this.setMask;
    const way = (policy.victims as Uint8Array)[state[set]];
    tag[set * this.ways + way] = this.tagOf(line);
    this.marks[set * this.ways + way] = (line | 0) >>> this.setShift;
    state[set] = afterUse(state[set], policy.fillUse[way]);
  }

  /** Has `visit` called with every line that it holds, by slot (set times ways plus way). */
  forEachLine(visit: (slot: number, line: number) => void): void {
    const { tag, marks, ways, sets } = this;
    for (let slot = 0; slot < tag.length; slot++) {
      if (tag[slot] > 0) visit(slot, ((tag[slot] - 1) * MARKS + marks[slot]) * sets + Math.floor(slot / ways));
    }
  }

  /** Has `visit` called with the replacement state of every set that is not in state 0. */
  forEachState(visit: (set: number, state: number) => void): void {
    const { state } = this;
    for (let set = 0; set < state.length; set++) if (state[set] !== 0) visit(set, state[set]);
  }

  /** Puts a line into a slot, for saved states. @throws StateError when there is no such slot, or not in the line's set */
  putBack(slot: number, line: number): void {
    checkState("data caches", slot < this.tag.length, `have no slot ${slot}`);
    const set = Math.floor(slot / this.ways);
    checkState("data caches", line % this.sets === set, `do not have line ${line} in set ${set}`);
    this.tag[slot] = this.tagOf(line);
    this.marks[slot] = (line | 0) >>> this.setShift;
  }

  /** Brings a set into a state, for saved states. @throws StateError when there is no such set or state */
  setState(set: number, state: number): void {
    const { victims } = this.policy;
    const exists = set < this.state.length && state < (victims?.length ?? 0);
    checkState("data caches", exists, `have no state ${state} of set ${set}`);
    this.state[set] = state;
  }
}

/** The levels of one CPU; made when the CPU first walks. */
export class WalkCaches {
  private readonly preset: Preset;
  private levels: LineCache[] = [];
  private lastLine = NO_LINE;
  /**
   * The line fetched last of those with the same low bits of their number, as many as choose the set in the level of the fewest
   * sets. If it is fetched again, nothing has changed in its sets: the nearest level has it, as the way used last.
   */
  private latest: Float64Array = NO_LINES;
  /**
   * {@link latest} of the levels behind the nearest, which have more sets: tables that are used at the same index keep each other from
   * being the latest in the nearest level, but not in these.
   */
  private latestBehind: Float64Array = NO_LINES;
  private readonly nearCycles: number;
  private readonly memoryCycles: number;

  constructor(preset: Preset) {
    this.preset = preset;
    this.memoryCycles = preset.memory.value;
    this.nearCycles = preset.dataCaches.length > 0 ? preset.dataCaches[0].hitCycles.value : this.memoryCycles;
  }

  /** Cycles to fetch an entry of the line with this number (physical address / 64). */
  fetch(line: number): number {
    if (line === this.lastLine) return this.nearCycles;
    this.lastLine = line;
    const { latest } = this;
    const at = (line | 0) & (latest.length - 1);
    if (latest[at] === line) return this.nearCycles;
    if (this.levels.length === 0) this.makeLevels();
    this.latest[(line | 0) & (this.latest.length - 1)] = line;
    return this.fetchOther(line);
  }

  /** Empties all levels (WBINVD). */
  clear(): void {
    this.levels = [];
    this.latest = NO_LINES;
    this.latestBehind = NO_LINES;
    this.lastLine = NO_LINE;
  }

  private fetchOther(line: number): number {
    const { levels, latestBehind } = this;
    const at = (line | 0) & (latestBehind.length - 1);
    const isLatestBehind = latestBehind[at] === line;
    latestBehind[at] = line;
    let cycles = isLatestBehind ? levels[1].hitCycles : this.memoryCycles;
    for (let i = isLatestBehind ? 0 : levels.length - 1; i >= 0; i--) {
      const level = levels[i];
      const slot = level.find(line);
      if (slot < 0) {
        level.insert(line);
      } else {
        level.hit(slot, line);
        cycles = level.hitCycles;
      }
    }
    return cycles;
  }

  private makeLevels(): void {
    this.levels = this.preset.dataCaches.map(
      (level) => new LineCache(level.sizeBytes.value, level.ways.value, level.hitCycles.value),
    );
    this.latest = linesBySet(this.levels);
    this.latestBehind = linesBySet(this.levels.slice(1));
  }

  /** The line that was fetched last; NaN before the first. */
  get last(): number {
    return this.lastLine;
  }

  /** The levels, from the nearest on; none before the CPU first walks. */
  get caches(): readonly LineCache[] {
    return this.levels;
  }

  /** Empties all levels as if `lastLine` had been fetched last, for saved states; NaN: as if nothing had been fetched. */
  reset(lastLine: number): void {
    this.clear();
    if (!Number.isNaN(lastLine)) this.makeLevels();
    this.lastLine = lastLine;
  }
}

/** No lines, by the sets of the level of the fewest sets; at least one. */
function linesBySet(levels: readonly LineCache[]): Float64Array {
  const sets = levels.length === 0 ? 1 : Math.min(...levels.map((level) => level.sets));
  return new Float64Array(sets).fill(NO_LINE);
}
