/** Which refills flushes have made necessary so far and will make necessary, on all CPUs, for saved states. */
import { checkState } from "../isa/state-error.ts";
import { GUEST_CONTEXTS, SIZE_TABLE } from "../isa/translation.ts";
import type { FlushAttribution } from "./flush-attribution.ts";
import { captureTlbEntries, type NumbersOfTlbs, restoreTlbEntries, type TlbEntries } from "./tlb-entries.ts";

/** One element or row a CPU, translation or flush, as said. */
export interface AttributionState {
  /** By CPU: walks that nothing explains. */
  readonly unexplainedWalks: Float64Array;
  /** The TLBs that see no flush, all CPUs' one after the other. */
  readonly unflushed: TlbEntries;
  /** Translations that a flush removed and that the unflushed TLBs hold: a row each. `side` is 0 for data, 1 for instructions; `pcid` 4096 is global. */
  readonly removed: {
    readonly cpu: Uint16Array;
    readonly side: Uint8Array;
    readonly address: Float64Array;
    readonly size: Uint8Array;
    readonly pcid: Uint16Array;
    readonly flush: Uint32Array;
    /** The VPID or ASID; absent where there are no guests. */
    readonly vpid?: Uint16Array | undefined;
  };
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
  const removed = { cpu: [], side: [], address: [], size: [], pcid: [], vpid: [], flush: [] } as Record<
    string,
    number[]
  >;
  const costs = { cpu: [], flush: [], refills: [], walkCycles: [] } as Record<string, number[]>;
  attributions.forEach((attribution, cpu) => {
    for (const side of [0, 1] as const) {
      attribution.notes.forEach(side, (address, size, context, flush) => {
        const guest = Math.floor(context / GUEST_CONTEXTS);
        removed.cpu.push(cpu);
        removed.side.push(side);
        removed.address.push(address);
        removed.size.push(size);
        removed.pcid.push(context % GUEST_CONTEXTS);
        removed.vpid.push(guest === 0 ? 0 : (numbers?.[cpu].idOf(guest) ?? 0));
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
    unflushed: captureTlbEntries(
      attributions.flatMap((each) => each.unflushedTlbs()),
      numbersOfTlbs(attributions, numbers),
    ),
    removed: {
      cpu: Uint16Array.from(removed.cpu),
      side: Uint8Array.from(removed.side),
      address: Float64Array.from(removed.address),
      size: Uint8Array.from(removed.size),
      pcid: Uint16Array.from(removed.pcid),
      flush: Uint32Array.from(removed.flush),
      ...(numbers === null ? {} : { vpid: Uint16Array.from(removed.vpid) }),
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
  const part = "refills of flushes";
  checkState(part, unexplainedWalks.length === attributions.length, `are of ${unexplainedWalks.length} CPUs`);
  restoreTlbEntries(
    attributions.flatMap((each) => each.unflushedTlbs()),
    state.unflushed,
    numbersOfTlbs(attributions, numbers),
  );
  attributions.forEach((attribution, cpu) => {
    attribution.clear();
    attribution.unexplainedWalks = unexplainedWalks[cpu];
  });
  for (let row = 0; row < removed.cpu.length; row++) {
    const [size, side] = [removed.size[row], removed.side[row]];
    checkState(part, removed.cpu[row] < attributions.length && size < SIZE_TABLE, "name a CPU or size that is not");
    const at = attributions[removed.cpu[row]];
    const vpid = removed.vpid?.[row] ?? 0;
    const guest = vpid === 0 ? 0 : (numbers?.[removed.cpu[row]].ofId(vpid)[0] ?? 0);
    checkState(part, (guest === 0) === (vpid === 0), `are of VPID or ASID ${vpid}`);
    const context = guest * GUEST_CONTEXTS + removed.pcid[row];
    at.notes.set({ address: removed.address[row], size, context }, side === 0 ? 0 : 1, removed.flush[row]);
  }
  for (let row = 0; row < costs.cpu.length; row++) {
    checkState(part, costs.cpu[row] < attributions.length, `name CPU ${costs.cpu[row]}`);
    const cost = { refills: costs.refills[row], walkCycles: costs.walkCycles[row] };
    attributions[costs.cpu[row]].putBackCost(costs.flush[row], cost);
  }
}

function numbersOfTlbs(attributions: readonly FlushAttribution[], numbers: NumbersOfTlbs): NumbersOfTlbs {
  if (numbers === null) return null;
  return attributions.flatMap((attribution, cpu) => attribution.unflushedTlbs().map(() => numbers[cpu]));
}
