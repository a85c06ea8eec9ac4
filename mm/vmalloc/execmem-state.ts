/** The cache of executable memory as plain data, for saved states. */
import { checkState } from "../../arch/isa/state-error.ts";
import { captureLocks, type LocksState, restoreLocks } from "../kernel/locks-state.ts";
import type { AddressRanges } from "../lib/address-ranges.ts";
import type { ExecmemAreas } from "./execmem-areas.ts";

/** Address ranges in order. */
export interface RangesState {
  readonly start: Float64Array;
  readonly end: Float64Array;
}

/** Pieces in use and free ones, and the cache's mutex. */
export interface ExecmemState {
  readonly busy: RangesState;
  readonly free: RangesState;
  readonly mutex: LocksState;
}

/** Copies the cache's state. @throws StateError while a free is put off, or a call is under way */
export function captureExecmem({ busy, free, mutex, pendingFree }: ExecmemAreas): ExecmemState {
  checkState("executable memory", pendingFree.size === 0, "waits to be freed by its work item");
  return { busy: captureRanges(busy), free: captureRanges(free), mutex: captureLocks([mutex]) };
}

/** Brings a cache that was never used into a captured state. @throws StateError when it is that of none */
export function restoreExecmem(cache: ExecmemAreas, { busy, free, mutex }: ExecmemState): void {
  restoreRanges(cache.busy, busy);
  restoreRanges(cache.free, free);
  restoreLocks([cache.mutex], mutex);
}

function captureRanges(ranges: AddressRanges): RangesState {
  return {
    start: Float64Array.from({ length: ranges.count }, (_, i) => ranges.startOf(i)),
    end: Float64Array.from({ length: ranges.count }, (_, i) => ranges.endOf(i)),
  };
}

function restoreRanges(ranges: AddressRanges, { start, end }: RangesState): void {
  start.forEach((from, i) => {
    checkState("executable memory", (i === 0 || end[i - 1] <= from) && from < end[i], "has pieces that overlap");
    ranges.insert(from, end[i]);
  });
}
