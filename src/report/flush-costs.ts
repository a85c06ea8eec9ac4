/** What the flushes of a run cost, by cause and by who freed, as plain data and for people. */
import type { FlushAccounts, FlushCause, FlushCost } from "../../mm/index.ts";
import { type Cell, renderTable } from "./tables.ts";

/** Who freed, in the order of what it costs; the rest are counted together. */
const ORIGINS_SHOWN = 10;

/** Flushes of one cause, page by page or of whole TLBs. Cycles of all CPUs. */
export interface CauseCost extends Readonly<FlushCost> {
  readonly cause: FlushCause;
  readonly wholeTlbBecause: "ceiling" | "no bounds" | null;
  readonly flushes: number;
  /** CPUs that were interrupted, over all flushes. */
  readonly interrupted: number;
}

/** Frees by one caller, and its share of the flushes that these led to. */
export interface OriginCost extends Readonly<FlushCost> {
  readonly origin: string;
  readonly frees: number;
  readonly pages: number;
}

/** What flushing cost. */
export interface FlushCosts {
  readonly policy: string;
  readonly byCause: readonly CauseCost[];
  readonly byOrigin: readonly OriginCost[];
  /** Cycles of all CPUs by what they went to; they sum up to the CPUs' clocks. */
  readonly cyclesByActivity: Readonly<Record<string, number>>;
}

/** The costs so far of all flushes that are accounted for. */
export function flushCosts(
  accounts: FlushAccounts,
  policy: string,
  cyclesByActivity: ReadonlyMap<string, number>,
): FlushCosts {
  const kinds = new Map<string, { cause: FlushCause; because: CauseCost["wholeTlbBecause"] }>();
  for (const { cause, fullBecause } of accounts.records) {
    kinds.set(`${cause} ${fullBecause}`, { cause, because: fullBecause });
  }
  const byCause = [...kinds.values()].map(({ cause, because }): CauseCost => {
    const own = accounts.records.filter((record) => record.cause === cause && record.fullBecause === because);
    const interrupted = own.reduce((sum, record) => sum + record.interrupted, 0);
    const cost = accounts.total((record) => record.cause === cause && record.fullBecause === because);
    return { cause, wholeTlbBecause: because, flushes: own.length, interrupted, ...costParts(cost) };
  });
  const byOrigin = [...accounts.costByOrigin()]
    .filter(([, { frees }]) => frees > 0)
    .map(([origin, cost]): OriginCost => {
      const { frees, pages } = cost;
      return { origin, frees, pages, ...costParts(cost) };
    });
  const descending = (a: FlushCost, b: FlushCost): number => totalCycles(b) - totalCycles(a);
  return {
    policy,
    byCause: byCause.sort(descending),
    byOrigin: byOrigin.sort(descending),
    cyclesByActivity: Object.fromEntries(cyclesByActivity),
  };
}

/** The parts of a cost as reports have them: named one by one, so that no change of the accounts changes a report. */
export function costParts(cost: FlushCost): FlushCost {
  const { workCycles, waitCycles, stolenCycles, lineCycles, refillCycles, refills } = cost;
  return { workCycles, waitCycles, stolenCycles, lineCycles, refillCycles, refills };
}

/** The parts together. */
export function totalCycles({ workCycles, waitCycles, stolenCycles, lineCycles, refillCycles }: FlushCost): number {
  return workCycles + waitCycles + stolenCycles + lineCycles + refillCycles;
}

/** Tables for people; ends with a newline. */
export function renderFlushCosts({ policy, byCause, byOrigin, cyclesByActivity }: FlushCosts): string {
  const parts = ["work", "wait", "stolen", "lines", "refills", "total"];
  const cells = (cost: FlushCost): Cell[] =>
    [...Object.values(costParts(cost)).slice(0, -1), totalCycles(cost)].map(Math.round);
  const causes = renderTable(
    ["cause", "TLBs", "flushes", "interrupts", ...parts],
    byCause.map((each): Cell[] => [
      each.cause,
      each.wholeTlbBecause === null ? "page by page" : `whole: ${each.wholeTlbBecause}`,
      each.flushes,
      each.interrupted,
      ...cells(each),
    ]),
  );
  const rest = byOrigin.length - ORIGINS_SHOWN;
  const origins = renderTable(
    ["freed by", "frees", "pages", ...parts],
    byOrigin.slice(0, ORIGINS_SHOWN).map((each): Cell[] => [each.origin, each.frees, each.pages, ...cells(each)]),
  );
  const more = rest > 0 ? `  and ${rest} more callers (--json)\n` : "";
  const sum = Object.values(cyclesByActivity).reduce((a, b) => a + b, 0);
  const activities = renderTable(
    ["activity", "cycles", "%"],
    [...Object.entries(cyclesByActivity), ["all", sum] as const].map(([name, cycles]): Cell[] => [
      name,
      Math.round(cycles),
      ((100 * cycles) / Math.max(1, sum)).toFixed(1),
    ]),
  );
  return [
    `What flushes cost, policy ${policy} (cycles of all CPUs)\n${causes}`,
    byOrigin.length === 0
      ? ""
      : `Who pays: each purge's flush shared out among the frees that fed it, by pages\n${origins}${more}`,
    `Where the cycles of all CPUs went\n${activities}`,
  ]
    .filter((part) => part !== "")
    .join("\n");
}
