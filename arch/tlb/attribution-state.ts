/** Which refills flushes have made necessary so far and will make necessary, on all CPUs, for saved states. */
import { checkState } from "../isa/state-error.ts";
import { GUEST_CONTEXTS, SIZE_TABLE } from "../isa/translation.ts";
import type { FlushAttribution } from "./flush-attribution.ts";
import { captureTlbEntries, type NumbersOfTlbs, restoreTlbEntries, type TlbEntries } from "./tlb-entries.ts";

/** What is said to be wrong of a state that does not fit. */
const PART = "refills of flushes";

/** Which flush was the last to remove what an entry translates, and nothing has brought back since. `side` is 0 for data, 1 for instructions. */
interface NotedRows {
  readonly side: Uint8Array;
  readonly flush: Uint32Array;
  /** Which structure of `unflushed` has the entry, by its number in the list, and its slot there. Absent in files of versions before 15. */
  readonly structure?: Uint32Array | undefined;
  readonly slot?: Uint32Array | undefined;
  /**
   * Only in files of versions before 15, which say of which page entries are, and not which ones: all that translate it, or a piece of it.
   * `pcid` 4096 is global; the VPID or ASID is absent where there are no guests.
   */
  readonly cpu?: Uint16Array | undefined;
  readonly address?: Float64Array | undefined;
  readonly size?: Uint8Array | undefined;
  readonly pcid?: Uint16Array | undefined;
  readonly vpid?: Uint16Array | undefined;
}

/** One element or row a CPU, translation or flush, as said. */
export interface AttributionState {
  /** By CPU: walks that nothing explains. */
  readonly unexplainedWalks: Float64Array;
  /** The TLBs that see no flush, all CPUs' one after the other. */
  readonly unflushed: TlbEntries;
  /** Entries of the TLBs that see no flush whose translation a flush removed from the others: a row each. */
  readonly removed: NotedRows;
  /** What refills have cost: a row for each CPU and flush that has caused some. */
  readonly costs: {
    readonly cpu: Uint16Array;
    readonly flush: Uint32Array;
    readonly refills: Float64Array;
    readonly walkCycles: Float64Array;
  };
}

/**
 * Copies the state of `attributions`, which are those of all CPUs with caches of their own, in the CPUs' order.
 * @param numbers those of their guests, in the same order; null where there are none
 */
export function captureAttributions(
  attributions: readonly FlushAttribution[],
  numbers: NumbersOfTlbs = null,
): AttributionState {
  const unflushed = attributions.map((each) => each.unflushedTlbs());
  const removed = { side: [], structure: [], slot: [], flush: [] } as Record<string, number[]>;
  const costs = { cpu: [], flush: [], refills: [], walkCycles: [] } as Record<string, number[]>;
  attributions.forEach((attribution, cpu) => {
    for (const side of [0, 1] as const) {
      attribution.notes.forEach(side, (structure, slot, flush) => {
        removed.side.push(side);
        removed.structure.push(cpu * unflushed[cpu].length + structure);
        removed.slot.push(slot);
        removed.flush.push(flush);
      });
    }
    for (const [flush, cost] of attribution.allCosts()) {
      costs.cpu.push(cpu);
      costs.flush.push(flush);
      costs.refills.push(cost.refills);
      costs.walkCycles.push(cost.walkCycles);
    }
  });
  return {
    unexplainedWalks: Float64Array.from(attributions, (each) => each.unexplainedWalks),
    unflushed: captureTlbEntries(unflushed.flat(), numbersOfTlbs(attributions, numbers)),
    removed: {
      side: Uint8Array.from(removed.side),
      structure: Uint32Array.from(removed.structure),
      slot: Uint32Array.from(removed.slot),
      flush: Uint32Array.from(removed.flush),
    },
    costs: {
      cpu: Uint16Array.from(costs.cpu),
      flush: Uint32Array.from(costs.flush),
      refills: Float64Array.from(costs.refills),
      walkCycles: Float64Array.from(costs.walkCycles),
    },
  };
}

/**
 * Brings `attributions` into a captured state.
 * @throws StateError when they are those of other CPUs
 */
export function restoreAttributions(
  attributions: readonly FlushAttribution[],
  state: AttributionState,
  numbers: NumbersOfTlbs = null,
): void {
  const { unexplainedWalks, removed, costs } = state;
  checkState(PART, unexplainedWalks.length === attributions.length, `are of ${unexplainedWalks.length} CPUs`);
  restoreTlbEntries(
    attributions.flatMap((each) => each.unflushedTlbs()),
    state.unflushed,
    numbersOfTlbs(attributions, numbers),
  );
  attributions.forEach((attribution, cpu) => {
    attribution.clear();
    attribution.unexplainedWalks = unexplainedWalks[cpu];
  });
  if (removed.structure === undefined) restoreNotesOfPages(attributions, removed, numbers);
  else restoreNotes(attributions, removed);
  for (let row = 0; row < costs.cpu.length; row++) {
    checkState(PART, costs.cpu[row] < attributions.length, `name CPU ${costs.cpu[row]}`);
    const cost = { refills: costs.refills[row], walkCycles: costs.walkCycles[row] };
    attributions[costs.cpu[row]].putBackCost(costs.flush[row], cost);
  }
}

function restoreNotes(attributions: readonly FlushAttribution[], { side, structure, slot, flush }: NotedRows): void {
  checkState(PART, slot !== undefined, "name structures without slots");
  const tlbs = attributions.length === 0 ? 0 : attributions[0].unflushedTlbs().length;
  for (let row = 0; row < side.length; row++) {
    const [number, at] = [structure?.[row] ?? 0, slot?.[row] ?? 0];
    const attribution = attributions[Math.floor(number / tlbs)];
    const isPut = attribution?.notes.putBack(side[row] === 0 ? 0 : 1, number % tlbs, at, flush[row]) ?? false;
    checkState(PART, isPut, `name slot ${at} of structure ${number}, which has no such entry`);
  }
}

/** {@link restoreNotes} of files that name pages: at all entries of a page, as nobody knows at which. */
function restoreNotesOfPages(
  attributions: readonly FlushAttribution[],
  { cpu, side, address, size, pcid, vpid, flush }: NotedRows,
  numbers: NumbersOfTlbs,
): void {
  const isWhole = cpu !== undefined && address !== undefined && size !== undefined && pcid !== undefined;
  checkState(PART, isWhole, "name no entries and no pages");
  if (!isWhole) return;
  for (let row = 0; row < cpu.length; row++) {
    checkState(PART, cpu[row] < attributions.length && size[row] < SIZE_TABLE, "name a CPU or size that is not");
    const id = vpid?.[row] ?? 0;
    const guest = id === 0 ? 0 : (numbers?.[cpu[row]].ofId(id)[0] ?? 0);
    checkState(PART, (guest === 0) === (id === 0), `are of VPID or ASID ${id}`);
    const page = { address: address[row], size: size[row], context: guest * GUEST_CONTEXTS + pcid[row] };
    attributions[cpu[row]].notes.set(page, side[row] === 0 ? 0 : 1, flush[row]);
  }
}

function numbersOfTlbs(attributions: readonly FlushAttribution[], numbers: NumbersOfTlbs): NumbersOfTlbs {
  if (numbers === null) return null;
  return attributions.flatMap((attribution, cpu) => attribution.unflushedTlbs().map(() => numbers[cpu]));
}
