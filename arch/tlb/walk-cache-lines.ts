/** What the data caches hold of page tables, on all CPUs, for saved states. */
import { checkState } from "../isa/state-error.ts";
import type { WalkCaches } from "./walk-caches.ts";

/** Lines of 64 bytes, numbered by physical address / 64. */
export interface WalkCacheLines {
  /** By CPU: the line fetched last; NaN before the first. */
  readonly lastLine: Float64Array;
  /** A row a line: the CPU, the level (0 is the nearest), set times ways plus way, and the line's number. */
  readonly lines: {
    readonly cpu: Uint16Array;
    readonly level: Uint8Array;
    readonly slot: Uint32Array;
    readonly line: Float64Array;
  };
  /** A row a set whose replacement state is not 0, as its policy counts states (arch/presets/replacement). */
  readonly sets: {
    readonly cpu: Uint16Array;
    readonly level: Uint8Array;
    readonly set: Uint32Array;
    readonly state: Uint16Array;
  };
}

/** Copies what `caches` hold, which are those of all CPUs, in the CPUs' order. */
export function captureWalkCacheLines(caches: readonly WalkCaches[]): WalkCacheLines {
  const lines = { cpu: [] as number[], level: [] as number[], slot: [] as number[], line: [] as number[] };
  const sets = { cpu: [] as number[], level: [] as number[], set: [] as number[], state: [] as number[] };
  caches.forEach((each, cpu) => {
    each.caches.forEach((cache, level) => {
      cache.forEachLine((slot, line) => {
        lines.cpu.push(cpu);
        lines.level.push(level);
        lines.slot.push(slot);
        lines.line.push(line);
      });
      cache.forEachState((set, state) => {
        sets.cpu.push(cpu);
        sets.level.push(level);
        sets.set.push(set);
        sets.state.push(state);
      });
    });
  });
  return {
    lastLine: Float64Array.from(caches, ({ last }) => last),
    lines: {
      cpu: Uint16Array.from(lines.cpu),
      level: Uint8Array.from(lines.level),
      slot: Uint32Array.from(lines.slot),
      line: Float64Array.from(lines.line),
    },
    sets: {
      cpu: Uint16Array.from(sets.cpu),
      level: Uint8Array.from(sets.level),
      set: Uint32Array.from(sets.set),
      state: Uint16Array.from(sets.state),
    },
  };
}

/**
 * Makes the caches hold just that.
 * @throws StateError when they are other caches, or those of other CPUs
 */
export function restoreWalkCacheLines(caches: readonly WalkCaches[], { lastLine, lines, sets }: WalkCacheLines): void {
  checkState("data caches", lastLine.length === caches.length, `are those of ${lastLine.length} CPUs`);
  caches.forEach((each, cpu) => {
    each.reset(lastLine[cpu]);
  });
  const levels = caches.map((each) => each.caches);
  const cacheOf = (cpu: number, level: number) => {
    const cache = levels[cpu]?.[level];
    checkState("data caches", cache !== undefined, `of CPU ${cpu} have no level ${level + 1}`);
    return cache;
  };
  for (let row = 0; row < lines.cpu.length; row++) {
    cacheOf(lines.cpu[row], lines.level[row]).putBack(lines.slot[row], lines.line[row]);
  }
  for (let row = 0; row < sets.cpu.length; row++) {
    cacheOf(sets.cpu[row], sets.level[row]).setState(sets.set[row], sets.state[row]);
  }
}
