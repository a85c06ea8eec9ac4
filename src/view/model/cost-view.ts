/** Where cycles go: those of all CPUs by activity, those of the last calls and of the last flushes by their parts. */
import type { Kernel } from "../../machine/kernel.ts";
import type { CallCost } from "./call-costs.ts";
import type { Tracks } from "./tracks.ts";

/** Calls and flushes that are listed at the most, and calls that means are over. */
const ROWS_MAX = 40;
const MEAN_OVER = 3000;

/** The parts that a call's cycles are shown in, and the activities that each is made of; its own work is all that is left. */
export const CALL_PARTS = [
  { name: "work", activities: [] },
  { name: "page walks", activities: ["page walks"] },
  { name: "lock wait", activities: ["lock wait"] },
  { name: "line wait", activities: ["waiting for lines"] },
  { name: "TLB flush", activities: ["TLB flush"] },
  { name: "IPI send and wait", activities: ["IPI send", "IPI wait"] },
  { name: "handlers", activities: ["interrupts"] },
  { name: "shared core", activities: ["shared core"] },
] as const;

/** The parts of a flush: no cycle is in two of them. */
export const FLUSH_PARTS = ["work", "wait for acknowledgements", "handlers of others", "line wait", "refills"] as const;

/** Calls of one name. */
export interface CallMean {
  readonly name: string;
  readonly calls: number;
  /** Mean cycles of a call, by `CALL_PARTS`. */
  readonly parts: readonly number[];
}

/** One call. */
export interface CallRow extends Omit<CallCost, "parts"> {
  /** Cycles by `CALL_PARTS`. */
  readonly parts: readonly number[];
}

/** One flush. */
export interface FlushRow {
  readonly id: number;
  readonly cause: string;
  readonly cpu: number;
  readonly atCycles: number;
  readonly pages: number;
  /** Whether whole TLBs were flushed. */
  readonly isFull: boolean;
  readonly interrupted: number;
  /** Cycles by `FLUSH_PARTS`, refills up to now. */
  readonly parts: readonly number[];
}

/** Where cycles went up to now. */
export interface CostView {
  /** Cycles of all CPUs by activity; they sum up to the CPUs' clocks. */
  readonly activities: readonly (readonly [string, number])[];
  /** The latest calls by name, the most costly name first. */
  readonly means: readonly CallMean[];
  /** The last calls, the last first. */
  readonly calls: readonly CallRow[];
  /** The last flushes, the last first. */
  readonly flushes: readonly FlushRow[];
  readonly flushCount: number;
}

/** Where cycles went. */
export function costView(kernel: Kernel, { calls }: Tracks): CostView {
  const ended = calls.ended.items;
  // An experiment that asks for no accounts has none.
  const { accounts } = kernel.vm.flushing;
  const records = accounts?.records ?? [];
  return {
    activities: [...kernel.machine.loop.accounts.total()],
    means: meansOf(ended.slice(-MEAN_OVER)),
    calls: ended
      .slice(-ROWS_MAX)
      .reverse()
      .map((call) => ({ ...call, parts: partsOf(call) })),
    flushes: records
      .slice(-ROWS_MAX)
      .reverse()
      .map((record): FlushRow => {
        const { id, cause, cpu, atCycles, pages, full: isFull, interrupted } = record;
        const { workCycles, waitCycles, stolenCycles, lineCycles } = record;
        const refillCycles = accounts?.costOf(record).refillCycles ?? 0;
        const parts = [workCycles, waitCycles, stolenCycles, lineCycles, refillCycles];
        return { id, cause, cpu, atCycles, pages, isFull, interrupted, parts };
      }),
    flushCount: records.length,
  };
}

/** The activities of a part and where it is in `CALL_PARTS`, one pair for each activity: means are over thousands of calls at each step. */
const PART_OF_ACTIVITY = CALL_PARTS.flatMap(({ activities }, part) =>
  activities.map((activity) => [activity, part] as const),
);

/** Adds a call's cycles, by `CALL_PARTS`. */
function addParts(sums: number[], { parts, fromCycles, toCycles }: CallCost): void {
  let work = toCycles - fromCycles;
  for (const [activity, part] of PART_OF_ACTIVITY) {
    const cycles = parts[activity] ?? 0;
    work -= cycles;
    sums[part] += cycles;
  }
  sums[0] += work;
}

function partsOf(call: CallCost): number[] {
  const parts = CALL_PARTS.map(() => 0);
  addParts(parts, call);
  return parts;
}

function meansOf(calls: readonly CallCost[]): CallMean[] {
  const sums = new Map<string, { calls: number; parts: number[] }>();
  for (const call of calls) {
    const sum = sums.get(call.name) ?? { calls: 0, parts: CALL_PARTS.map(() => 0) };
    sums.set(call.name, sum);
    sum.calls++;
    addParts(sum.parts, call);
  }
  const total = ({ parts }: { readonly parts: readonly number[] }): number =>
    parts.reduce((sum, part) => sum + part, 0);
  return [...sums]
    .sort(([, a], [, b]) => total(b) - total(a))
    .map(([name, { calls: count, parts }]) => ({ name, calls: count, parts: parts.map((cycles) => cycles / count) }));
}
