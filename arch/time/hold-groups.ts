/**
 * CPUs of a group that have a lock, or a cache line, in a row: who comes before one of its group that waits has got it has it right behind that one, its
 * leader, and before others that came earlier. Who comes later than that waits for its own turn, so that nobody waits for ever. For cache lines a group is
 * the cores that share a last-level cache (`line-transfers.ts`).
 *
 * A hold that does not follow a leader is in the order of when its CPU came; one that does is in its leader's. CPUs may come late, at times that others
 * have gone past (`hold-queue.ts`): those that would have followed them do so from then on.
 */
import { ARRIVED, CPU, HOLD_SHIFT, ORDER, UNTIL, WORKS } from "./hold-numbers.ts";
import type { ByDistance, Topology } from "./topology.ts";

/** Which CPUs have a lock in a row. */
export interface HoldGroups {
  /** By CPU: its group. */
  readonly groupOf: ArrayLike<number>;
  /** What taking the lock over costs `cpu` from `before`, in cycles. */
  takeOverCycles(before: number, cpu: number): number;
}

/**
 * Cores that share a last-level cache which is a part of a socket; null where one cache is all of a socket's. Whether such a one serves its own cores first
 * is not known: here it does not.
 */
export function clustersOf(topology: Topology, lines: { readonly transferCycles: ByDistance }): HoldGroups | null {
  if (topology.coresPerCluster >= topology.config.coresPerSocket) return null;
  return {
    groupOf: topology.clusterOf,
    takeOverCycles: (from, to) => lines.transferCycles[topology.distance(from, to)],
  };
}

/** The first hold between `first` and `place` that `cpu` follows, which comes at `atCycles`; -1 when there is none. */
export function leaderOf(
  holds: Float64Array,
  first: number,
  place: number,
  cpu: number,
  atCycles: number,
  groupOf: ArrayLike<number>,
): number {
  const group = groupOf[cpu];
  let leader = -1;
  for (let at = place - 1; at >= first && holds[(at << HOLD_SHIFT) | UNTIL] > atCycles; at--)
    if (groupOf[holds[(at << HOLD_SHIFT) | CPU]] === group && !follows(holds, at)) leader = at;
  return leader;
}

/** Where the row of a leader ends, which may have holds up to `end`. */
export function endOfRow(holds: Float64Array, leader: number, end: number, groupOf: ArrayLike<number>): number {
  const group = groupOf[holds[(leader << HOLD_SHIFT) | CPU]];
  let at = leader + 1;
  while (at < end && groupOf[holds[(at << HOLD_SHIFT) | CPU]] === group && follows(holds, at)) at++;
  return at;
}

/**
 * `cpu`, which has come late at the time `order`, has the lock at `place` from `freeAtCycles`: the next row of its group comes there, to follow it, if its CPUs
 * have come before `cpu` has the lock.
 */
export function bringRow(
  holds: Float64Array,
  place: number,
  end: number,
  cpu: number,
  freeAtCycles: number,
  order: number,
  { groupOf, takeOverCycles }: HoldGroups,
): void {
  let from = place;
  while (from < end && groupOf[holds[(from << HOLD_SHIFT) | CPU]] !== groupOf[cpu]) from++;
  if (from === end || follows(holds, from)) return;
  // It takes the lock over as the leader of the row has, and that one from it.
  const works = (from << HOLD_SHIFT) | WORKS;
  const until = freeAtCycles + holds[works];
  const rowEnd = endOfRow(holds, from, end, groupOf);
  let to = from;
  while (to < rowEnd && holds[(to << HOLD_SHIFT) | ARRIVED] < until) holds[(to++ << HOLD_SHIFT) | ORDER] = order;
  if (to === from) return;
  holds[works] = Math.min(holds[works], takeOverCycles(cpu, holds[(from << HOLD_SHIFT) | CPU]));
  moveHolds(holds, from, to, place);
}

/** The holds from `from` to `to` come to `place`, which is not behind them. */
function moveHolds(holds: Float64Array, from: number, to: number, place: number): void {
  if (from === place) return;
  const row = holds.slice(from << HOLD_SHIFT, to << HOLD_SHIFT);
  holds.copyWithin((place + to - from) << HOLD_SHIFT, place << HOLD_SHIFT, from << HOLD_SHIFT);
  holds.set(row, place << HOLD_SHIFT);
}

/** Whether a hold follows a leader. */
function follows(holds: Float64Array, at: number): boolean {
  return holds[(at << HOLD_SHIFT) | ARRIVED] !== holds[(at << HOLD_SHIFT) | ORDER];
}
