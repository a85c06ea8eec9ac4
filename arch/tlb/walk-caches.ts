/**
 * The data caches as the page walker sees them: which lines of page tables are near, so that hot and cold tables differ. Data
 * accesses do not go through it. Lines are 64 bytes: eight entries.
 */

import type { Preset } from "../presets/preset.ts";
import { type Replacement, replacementPolicy } from "../presets/replacement.ts";
import { NO_ADDRESS } from "../time/host-doubles.ts";

/** One level: physically indexed, tree-PLRU, or round robin where the number of ways is no power of two. */
export class LineCache {
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
    this.policy = replacementPolicy([1, 2, 4, 8, 16].includes(ways) ? "tree-plru" : "round-robin", ways);
  }

  /** Looks a line up and puts it in when it is not there; whether it was. */
  access(line: number): boolean {
    const { tag, ways, state, policy } = this;
    const set = (line | 0) & this.setMask;
    const start = set * ways;
    for (let way = 0; way < ways; way++) {
      if (tag[start + way] === line) {
        state[set] = (state[set] & (policy.hitUse[way] >>> 16)) | (policy.hitUse[way] & 0xffff);
        return true;
      }
    }
    const way = (policy.victims as Uint8Array)[state[set]];
    tag[start + way] = line;
    state[set] = (state[set] & (policy.fillUse[way] >>> 16)) | (policy.fillUse[way] & 0xffff);
    return false;
  }
}

/** The levels of one CPU; made when the CPU first walks. */
export class WalkCaches {
  private readonly preset: Preset;
  private levels: LineCache[] = [];
  private lastLine = NO_ADDRESS;
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
    this.lastLine = NO_ADDRESS;
  }

  private fetchOther(line: number): number {
    this.lastLine = line;
    if (this.levels.length === 0) {
      this.levels = this.preset.dataCaches.map(
        (level) => new LineCache(level.sizeBytes.value, level.ways.value, level.hitCycles.value),
      );
    }
    let cycles = this.memoryCycles;
    for (let i = this.levels.length - 1; i >= 0; i--)
      if (this.levels[i].access(line)) cycles = this.levels[i].hitCycles;
    return cycles;
  }
}
