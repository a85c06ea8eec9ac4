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
const NO_SLOTS = new Int32Array(0);

/** How many lines {@link WalkCaches} remembers the places of; a power of two: the entries of 64 MiB of small pages. */
const REMEMBERED_LINES = 2048;

/** One level: physically indexed, tree-PLRU, or round robin where that does not exist for the number of ways. */
export class LineCache {
  /** Cycles of a fetch that this level answers. */
  readonly hitCycles: number;
  private readonly tag: Float64Array;
  private readonly state: Int32Array;
  private readonly ways: number;
  private readonly setMask: number;
  private readonly policy: Replacement;
  private readonly hitUse: Int32Array;
  /** Number of sets. */
  readonly sets: number;

  constructor(sizeBytes: number, ways: number, hitCycles: number) {
    const sets = sizeBytes / 64 / ways;
    this.hitCycles = hitCycles;
    this.tag = new Float64Array(sets * ways).fill(-1);
    this.state = new Int32Array(sets);
    this.ways = ways;
    this.setMask = sets - 1;
    this.sets = sets;
    this.policy = replacementPolicy(replacementProblem("tree-plru", ways) === null ? "tree-plru" : "round-robin", ways);
    this.hitUse = this.policy.hitUse;
  }

  /** Whether `slot` holds a line; if so, that is a hit of it. */
  hit(slot: number, line: number): boolean {
    if (this.tag[slot] !== line) return false;
    const { state } = this;
    const set = (line | 0) & this.setMask;
    const use = this.hitUse[slot - Math.imul(set, this.ways)];
    state[set] = (state[set] & (use >>> 16)) | (use & 0xffff);
    return true;
  }

  /** The slot of a line; -1 when it is not there. Changes nothing. */
  find(line: number): number {
    const { tag, ways } = this;
    const start = ((line | 0) & this.setMask) * ways;
    for (let slot = start; slot < start + ways; slot++) if (tag[slot] === line) return slot;
    return -1;
  }

  /** Puts a line in, which is not there; returns its slot. */
  insert(line: number): number {
    const { tag, state, policy } = this;
    const set = (line | 0) & this.setMask;
    const way = (policy.victims as Uint8Array)[state[set]];
    tag[set * this.ways + way] = line;
    state[set] = afterUse(state[set], policy.fillUse[way]);
    return set * this.ways + way;
  }

  /** Has `visit` called with every line that it holds, by slot (set times ways plus way). */
  forEachLine(visit: (slot: number, line: number) => void): void {
    const { tag } = this;
    for (let slot = 0; slot < tag.length; slot++) if (tag[slot] >= 0) visit(slot, tag[slot]);
  }

  /** Has `visit` called with the replacement state of every set that is not in state 0. */
  forEachState(visit: (set: number, state: number) => void): void {
    const { state } = this;
    for (let set = 0; set < state.length; set++) if (state[set] !== 0) visit(set, state[set]);
  }

  /** Puts a line into a slot, for saved states. @throws StateError when there is no such slot */
  putBack(slot: number, line: number): void {
    checkState("data caches", slot < this.tag.length, `have no slot ${slot}`);
    this.tag[slot] = line;
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
  /** Where lines were found last, by a hash of their number and by level: a walk fetches the same few lines again and again. */
  private lastSlots: Int32Array = NO_SLOTS;
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
    const { levels, lastSlots } = this;
    // Tables are often used at the same index: the frame's number counts too.
    const remembered = ((line ^ (line / 64)) & (REMEMBERED_LINES - 1)) * levels.length;
    const { latestBehind } = this;
    const at = (line | 0) & (latestBehind.length - 1);
    const isLatestBehind = latestBehind[at] === line;
    latestBehind[at] = line;
    let cycles = isLatestBehind ? levels[1].hitCycles : this.memoryCycles;
    for (let i = isLatestBehind ? 0 : levels.length - 1; i >= 0; i--) {
      const level = levels[i];
      if (level.hit(lastSlots[remembered + i], line)) {
        cycles = level.hitCycles;
        continue;
      }
      let slot = level.find(line);
      if (slot < 0) {
        slot = level.insert(line);
      } else {
        level.hit(slot, line);
        cycles = level.hitCycles;
      }
      lastSlots[remembered + i] = slot;
    }
    return cycles;
  }

  private makeLevels(): void {
    this.levels = this.preset.dataCaches.map(
      (level) => new LineCache(level.sizeBytes.value, level.ways.value, level.hitCycles.value),
    );
    this.lastSlots = new Int32Array(REMEMBERED_LINES * this.levels.length);
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
