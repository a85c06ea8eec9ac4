/**
 * The data caches as the page walker sees them: which level answers the fetch of a page-table entry, so that entries that are
 * used often cost less. Accesses to data do not go through them. A line has 64 bytes: eight entries.
 */

import type { Preset } from "../presets/preset.ts";
import { DeferredFetches } from "./deferred-fetches.ts";
import { HOST_LINE_BYTES, LineCache, lineCacheBytes, type TakeBytes } from "./line-cache.ts";

/** In place of the number of a line, where there is none: equal to no line. */
const NO_LINE = Number.NaN;
/** Such where lines are kept as words. */
const NO_WORD = -1;
const NO_LINES = new Int32Array(1).fill(NO_WORD);

/** Lines that may be left for later, and those that are kept as words, are below this. */
const LINES_END = 2 ** 31;

/** The levels of one CPU; made when the CPU first walks. */
export class WalkCaches {
  private readonly preset: Preset;
  /** Where the levels have their memory from. */
  private readonly take: TakeBytes;
  private levels: readonly LineCache[] = [];
  /** Those that were made, for when they are needed again. Private to JavaScript as well: a machine that is set back to an earlier state has them. */
  #made: readonly LineCache[] = [];
  private lastLine = NO_LINE;
  /**
   * The line fetched last of those with the same low bits of their number, as many as choose the set in the level of the fewest
   * sets. If it is fetched again, nothing has changed in its sets: the nearest level has it, as the way used last. `NO_WORD` where it is 2^31 or above.
   */
  private latest: Int32Array = NO_LINES;
  /**
   * {@link latest} of the levels behind the nearest, which have more sets: tables that are used at the same index keep each other from
   * being the latest in the nearest level, but not in these.
   */
  private latestBehind: Int32Array = NO_LINES;
  private readonly nearCycles: number;
  private readonly memoryCycles: number;
  /** Fetches that are left for later; null before the first. */
  private deferred: DeferredFetches | null = null;
  /** Whether fetches of walks on the fast path are left for later now ({@link fetchFor}). */
  isDeferring = false;

  /** @param take takes so many bytes of the host's memory, all zero and for good: once, for all levels */
  constructor(preset: Preset, take: TakeBytes) {
    this.preset = preset;
    this.take = take;
    this.memoryCycles = preset.memory.value;
    this.nearCycles = preset.dataCaches.length > 0 ? preset.dataCaches[0].hitCycles.value : this.memoryCycles;
  }

  /** Cycles to fetch an entry of the line with this number (physical address / 64). */
  fetch(line: number): number {
    if (this.deferred !== null && this.deferred.count !== 0) this.makeDeferred();
    if (line === this.lastLine) return this.nearCycles;
    this.lastLine = line;
    const { latest } = this;
    const word = line < LINES_END ? line | 0 : NO_WORD;
    if (latest[(line | 0) & (latest.length - 1)] === word && word >= 0) return this.nearCycles;
    if (this.levels.length === 0) this.makeLevels();
    this.latest[(line | 0) & (this.latest.length - 1)] = word;
    return this.fetchOther(line, word);
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
    const { deferral, latest, latestBehind } = this;
    const { lines, count } = deferral;
    for (let i = 0; i < count; i++) {
      const line = lines[i];
      latest[line & (latest.length - 1)] = line;
      latestBehind[line & (latestBehind.length - 1)] = line;
    }
    this.lastLine = lines[count - 1];
    deferral.make();
  }

  private beginDeferral(): DeferredFetches {
    if (this.levels.length === 0) this.makeLevels();
    const deferred = new DeferredFetches(this.levels, this.memoryCycles);
    this.deferred = deferred;
    this.levels = deferred.levels;
    return deferred;
  }

  /** Empties all levels (WBINVD). */
  clear(): void {
    this.deferred = null;
    this.levels = [];
    this.latest = NO_LINES;
    this.latestBehind = NO_LINES;
    this.lastLine = NO_LINE;
  }

  private fetchOther(line: number, word: number): number {
    const { levels, latestBehind } = this;
    const at = (line | 0) & (latestBehind.length - 1);
    const isLatestBehind = latestBehind[at] === word && word >= 0;
    latestBehind[at] = word;
    let cycles = isLatestBehind ? levels[1].hitCycles : this.memoryCycles;
    for (let i = isLatestBehind ? 0 : levels.length - 1; i >= 0; i--) {
      const level = levels[i];
      if (level.use(line)) cycles = level.hitCycles;
    }
    return cycles;
  }

  private makeLevels(): void {
    for (const level of this.#made) level.clear();
    if (this.#made.length === 0) this.#made = makeLineCaches(this.preset, this.take);
    this.levels = this.#made;
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

function makeLineCaches({ dataCaches }: Preset, take: TakeBytes): LineCache[] {
  const levels = dataCaches.map(({ sizeBytes, ways }) => lineCacheBytes(sizeBytes.value, ways.value).map(wholeLines));
  const [buffer, begin] = take(levels.flat().reduce((sum, bytes) => sum + bytes, 0));
  let end = begin;
  const takeNext: TakeBytes = (bytes) => {
    const at = end;
    end += wholeLines(bytes);
    return [buffer, at];
  };
  return dataCaches.map(({ sizeBytes: { value: size }, ways, hitCycles }) => {
    return new LineCache(size, ways.value, hitCycles.value, takeNext);
  });
}

/** Arrays begin at multiples of a line of the host's caches, so that what belongs to a set lies on as few lines as can be. */
function wholeLines(bytes: number): number {
  return (bytes + HOST_LINE_BYTES - 1) & -HOST_LINE_BYTES;
}

/** No lines, by the sets of the level of the fewest sets; at least one. */
function linesBySet(levels: readonly LineCache[]): Int32Array {
  const sets = levels.length === 0 ? 1 : Math.min(...levels.map((level) => level.sets));
  return new Int32Array(sets).fill(NO_WORD);
}
