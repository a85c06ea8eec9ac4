/** What changed between two looks at an address range. */
import type { LiveFile } from "./live-file.ts";
import type { Holding, SpaceReport } from "./space-report.ts";

/** How much more or less one holds than before. */
export interface HoldingChange {
  readonly name: string;
  readonly ranges: number;
  readonly addressBytes: number;
  readonly memoryBytes: number;
}

/** The second look against the first. */
export interface SpaceChanges {
  readonly before: SpaceReport;
  /** Ranges of the second that the first does not have with that place, kind and holder, and the other way round; null if hidden. */
  readonly newRanges: number | null;
  readonly goneRanges: number | null;
  readonly usedBytes: number;
  readonly lazyBytes: number;
  /** Those that changed, the largest change first. */
  readonly kinds: readonly HoldingChange[];
  readonly holders: readonly HoldingChange[];
}

/** Compares two files of one format that were reported on in the same way. */
export function spaceChanges(
  [oldFile, before]: readonly [LiveFile, SpaceReport],
  [newFile, after]: readonly [LiveFile, SpaceReport],
): SpaceChanges {
  const isHidden = oldFile.isHidden || newFile.isHidden;
  return {
    before,
    newRanges: isHidden ? null : countMissing(newFile, oldFile),
    goneRanges: isHidden ? null : countMissing(oldFile, newFile),
    usedBytes: after.usedBytes - before.usedBytes,
    lazyBytes: after.lazyBytes - before.lazyBytes,
    kinds: changesOf(before.kinds, after.kinds),
    holders: changesOf(before.holders, after.holders),
  };
}

/** Ranges of `from` that `other` does not have. */
function countMissing(from: LiveFile, other: LiveFile): number {
  const keys = new Set(other.ranges.map(({ start, end, kind, holder }) => `${start} ${end} ${kind} ${holder}`));
  return from.ranges.filter(({ start, end, kind, holder }) => !keys.has(`${start} ${end} ${kind} ${holder}`)).length;
}

function changesOf(before: readonly Holding[], after: readonly Holding[]): HoldingChange[] {
  const nothing = { ranges: 0, addressBytes: 0, memoryBytes: 0 };
  const names = new Set([...before, ...after].map(({ name }) => name));
  const changes = [...names].map((name) => {
    const old = before.find((each) => each.name === name) ?? nothing;
    const now = after.find((each) => each.name === name) ?? nothing;
    return {
      name,
      ranges: now.ranges - old.ranges,
      addressBytes: now.addressBytes - old.addressBytes,
      memoryBytes: now.memoryBytes - old.memoryBytes,
    };
  });
  return changes
    .filter(({ ranges, addressBytes, memoryBytes }) => ranges !== 0 || addressBytes !== 0 || memoryBytes !== 0)
    .sort((a, b) => Math.abs(b.addressBytes) - Math.abs(a.addressBytes) || (a.name < b.name ? -1 : 1));
}
