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

/** One level: physically indexed, tree-PLRU, or round robin where that does not exist for the number of ways. */
export class LineCache {
  /** Cycles of a fetch that this level answers. */
  readonly hitCycles: number;
  private readonly tag: Float64Array;
  private readonly state: Int32Array;
  private readonly ways: number;
  private readonly setMask: number;
  private readonly policy: Replacement;

  constructor(sizeBytes: number, ways: number, hitCycles: number) {
    const sets = sizeBytes / 64 / ways;
    this.hitCycles = hitCycles;
    this.tag = new Float64Array(sets * ways).fill(-1);
    this.state = new Int32Array(sets);
    this.ways = ways;
    this.setMask = sets - 1;
    this.policy = replacementPolicy(replacementProblem("tree-plru", ways) === null ? "tree-plru" : "round-robin", ways);
  }

  /** Looks a line up and puts it in when it is not there; whether it was. */
  access(line: number): boolean {
    const { tag, ways, state, policy } = this;
    const set = (line | 0) & this.setMask;
    const start = set * ways;
    for (let way = 0; way < ways; way++) {
      if (tag[start + way] === line) {
        state[set] = afterUse(state[set], policy.hitUse[way]);
        return true;
      }
    }
    const way = (policy.victims as Uint8Array)[state[set]];
    tag[start + way] = line;
    state[set] = afterUse(state[set], policy.fillUse[way]);
    return false;
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
  private lastLine = NO_LINE;
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
    return this.fetchOther(line);
  }

  /** Empties all levels (WBINVD). */
  clear(): void {
    this.levels = [];
    this.lastLine = NO_LINE;
  }

  private fetchOther(line: number): number {
    this.lastLine = line;
    if (this.levels.length === 0) this.levels = this.makeLevels();
    let cycles = this.memoryCycles;
    for (let i = this.levels.length - 1; i >= 0; i--)
      if (this.levels[i].access(line)) cycles = this.levels[i].hitCycles;
    return cycles;
  }

  private makeLevels(): LineCache[] {
    return this.preset.dataCaches.map(
      (level) => new LineCache(level.sizeBytes.value, level.ways.value, level.hitCycles.value),
    );
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
    this.levels = Number.isNaN(lastLine) ? [] : this.makeLevels();
    this.lastLine = lastLine;
  }
}
