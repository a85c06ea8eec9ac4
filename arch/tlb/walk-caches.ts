/**
 * The data caches as the page walker sees them: which level answers the fetch of a page-table entry, so that entries that are
 * used often cost less. Accesses to data do not go through them. A line has 64 bytes: eight entries.
 */

import type { Preset } from "../presets/preset.ts";
import { DeferredFetches } from "./deferred-fetches.ts";
import { LineCache, type TakeBytes } from "./line-cache.ts";
import { type WalkCacheShape, walkCacheShape } from "./walk-cache-shape.ts";

/** In place of a line's number, where there is none. */
const NO_WORD = -1;
const NO_WORDS = new Int32Array(0);

/** Lines that may be left for later, and whose numbers are words, are below this. */
const LINES_END = 2 ** 31;

/** The levels of one CPU; made when the CPU first walks. */
export class WalkCaches {
  /** What it has in common with those of other CPUs. */
  private readonly shape: WalkCacheShape;
  /** The words as the shape has them; none before the CPU first walks. */
  private words: Int32Array = NO_WORDS;
  /** The levels, and the words that they are in: the same, but where fetches are left for later. */
  private levels: WalkCacheShape["levels"];
  private levelWords: Int32Array = NO_WORDS;
  /** The number of the line that was fetched last; `NO_WORD` for none, and for one that is no word, which is in `lastWide`. */
  private lastWord = NO_WORD;
  private lastWide = Number.NaN;
  /** Where the levels have their memory from. */
  private readonly take: TakeBytes;
  /** The words that were made, for when they are needed again. Private to JavaScript as well: a machine that is set back to an earlier state has them. */
  #made: Int32Array | null = null;
  /** Fetches that are left for later; null before the first. */
  private deferred: DeferredFetches | null = null;
  /** Whether fetches of walks on the fast path are left for later now ({@link fetchFor}). */
  isDeferring = false;

  /** @param take takes so many bytes of the host's memory, all zero and for good: once, for all levels */
  constructor(preset: Preset, take: TakeBytes) {
    this.shape = walkCacheShape(preset);
    this.levels = this.shape.levels;
    this.take = take;
  }

  /** Cycles to fetch an entry of the line with this number (physical address / 64). */
  fetch(line: number): number {
    if (this.deferred !== null && this.deferred.count !== 0) this.makeDeferred();
    if ((line | 0) === this.lastWord && line < LINES_END) return this.shape.nearCycles;
    if (this.words.length === 0) this.makeLevels();
    return line < LINES_END ? this.fetchWord(line | 0) : this.fetchWide(line);
  }

  private fetchWord(line: number): number {
    const { words, shape } = this;
    const note = (line + 1) | 0;
    this.lastWord = line;
    const at = (shape.latestAt + ((line & shape.latestMask) << shape.latestShift)) | 0;
    // If it is fetched again, nothing has changed in its sets: the nearest level has it, as the way used last.
    if (words[at] === note) return shape.nearCycles;
    words[at] = note;
    const behind = (shape.behindAt + ((line & shape.behindMask) << shape.behindShift)) | 0;
    const isLatestBehind = words[behind] === note;
    words[behind] = note;
    return this.fetchOther(line, isLatestBehind);
  }

  /** {@link fetch} of a line whose number is no word: what is noted of the latest lines is of others. */
  private fetchWide(line: number): number {
    const { words, shape } = this;
    this.lastWord = NO_WORD;
    this.lastWide = line;
    words[shape.latestAt + ((line & shape.latestMask) << shape.latestShift)] = 0;
    words[shape.behindAt + ((line & shape.behindMask) << shape.behindShift)] = 0;
    return this.fetchOther(line, false);
  }

  /** As {@link fetch}, for an access of a kind (load 0, store 1, fetch 2); no cycles yet where the fetch is left for later. */
  fetchFor(kind: number, line: number): number {
    if (!this.isDeferring || line >= LINES_END) return this.fetch(line);
    this.leave(kind, line);
    return 0;
  }

  /** Leaves the fetch of a line below 2^31 for later, while {@link isDeferring}. */
  leave(kind: number, line: number): void {
    const { deferral } = this;
    const { count } = deferral;
    deferral.lines[count] = line;
    deferral.kinds[count] = kind;
    deferral.count = count + 1;
    if (deferral.isFull) this.makeDeferred();
  }

  /**
   * Where fetches are left for later: lines below 2^31, where all costs are whole numbers. Whoever leaves some settles before anybody looks at
   * these caches, at the clock or at what walks cost.
   */
  get deferral(): DeferredFetches {
    return this.deferred ?? this.beginDeferral();
  }

  /** Makes the fetches that were left for later. What they cost by kind of access, for who pays and then clears it; null: none were. */
  settle(): Float64Array | null {
    const { deferred } = this;
    if (deferred === null) return null;
    if (deferred.count !== 0) this.makeDeferred();
    return deferred.unpaidCycles;
  }

  /** Makes those that wait; there is room for others then. */
  makeDeferred(): void {
    const { deferral, words, shape } = this;
    const { latestAt, latestMask, latestShift, behindAt, behindMask, behindShift } = shape;
    const { lines, count } = deferral;
    for (let i = 0; i < count; i++) {
      const line = lines[i];
      words[(latestAt + ((line & latestMask) << latestShift)) | 0] = line + 1;
      words[(behindAt + ((line & behindMask) << behindShift)) | 0] = line + 1;
    }
    this.lastWord = lines[count - 1];
    deferral.make();
  }

  private beginDeferral(): DeferredFetches {
    if (this.words.length === 0) this.makeLevels();
    const deferred = new DeferredFetches(this.caches, this.shape.memoryCycles);
    this.deferred = deferred;
    this.levels = deferred.levels.map(({ shape }) => shape);
    this.levelWords = deferred.levels[0]?.words ?? this.words;
    return deferred;
  }

  /** Empties all levels (WBINVD). */
  clear(): void {
    this.deferred = null;
    this.words = NO_WORDS;
    this.lastWord = NO_WORD;
    this.lastWide = Number.NaN;
  }

  /** @param isLatestBehind whether it is the latest of its sets in all levels but the nearest, so that they have it and nothing changes there */
  private fetchOther(line: number, isLatestBehind: boolean): number {
    const { levels, levelWords } = this;
    let cycles = isLatestBehind ? levels[1].hitCycles : this.shape.memoryCycles;
    for (let i = isLatestBehind ? 0 : levels.length - 1; i >= 0; i--) {
      const level = levels[i];
      if (level.use(levelWords, line)) cycles = level.hitCycles;
    }
    return cycles;
  }

  private makeLevels(): void {
    const { shape } = this;
    if (this.#made === null) {
      const [buffer, at] = this.take(shape.words * Int32Array.BYTES_PER_ELEMENT);
      this.#made = new Int32Array(buffer, at, shape.words);
    } else {
      shape.clear(this.#made);
    }
    this.words = this.#made;
    this.levelWords = this.words;
    this.levels = shape.levels;
  }

  /** The line that was fetched last; NaN before the first. */
  get last(): number {
    return this.lastWord === NO_WORD ? this.lastWide : this.lastWord;
  }

  /** The levels, from the nearest on; none before the CPU first walks. */
  get caches(): readonly LineCache[] {
    if (this.words.length === 0) return [];
    return this.levels.map((shape) => new LineCache(shape, this.levelWords));
  }

  /** Empties all levels as if `lastLine` had been fetched last, for saved states; NaN: as if nothing had been fetched. */
  reset(lastLine: number): void {
    this.clear();
    if (Number.isNaN(lastLine)) return;
    this.makeLevels();
    if (lastLine < LINES_END) this.lastWord = lastLine;
    else this.lastWide = lastLine;
  }
}
