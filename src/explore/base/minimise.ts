/** A failing schedule with as little interference as possible. */
import { endsWithin, workedMs } from "./endless-code.ts";
import type { Explorer, ScheduleResult } from "./explorer.ts";
import type { Deviations } from "./schedule-text.ts";
import { Replayed, type Strategy } from "./strategies.ts";

/** Time that the host works on a schedule, which takes less than a thousandth of that, until it is taken to be without end. */
const ENDLESS_MS = 2000;
/** Time after which it is in any case, however busy the host is with other things. */
const PATIENCE_MS = 60_000;

/** Runs the schedule with these deviations. */
export function replaySchedule(explorer: Explorer<unknown>, deviations: Deviations): ScheduleResult {
  for (let limitMs = ENDLESS_MS; ; limitMs *= 2) {
    const strategy = new Replayed(deviations);
    strategy.begin(0);
    const before = workedMs();
    const result = runWithin(explorer, strategy, limitMs);
    if (result !== null) return result;
    // A host that has had no time for it has shown nothing.
    if (workedMs() - before > ENDLESS_MS / 2 || limitMs > PATIENCE_MS) return explorer.interrupted();
  }
}

/** Runs one schedule that `strategy` has begun, and ends it if it does not end by itself. */
export function runOne(explorer: Explorer<unknown>, strategy: Strategy): ScheduleResult {
  return runWithin(explorer, strategy, ENDLESS_MS) ?? explorer.interrupted();
}

/** What a schedule came to; null for one that took longer. */
function runWithin(explorer: Explorer<unknown>, strategy: Strategy, limitMs: number): ScheduleResult | null {
  let result: ScheduleResult | null = null;
  const run = (): void => {
    result = explorer.run(strategy);
  };
  return endsWithin(limitMs, run) ? result : null;
}

/** Leaves out of a failing schedule, one after the other, whatever it fails without, in the same way. */
export function minimise(explorer: Explorer<unknown>, found: ScheduleResult): ScheduleResult {
  let best = found;
  for (let isShorter = true; isShorter; ) {
    isShorter = false;
    for (const left of best.deviations.keys()) {
      const result = replaySchedule(explorer, new Map([...best.deviations].filter(([choice]) => choice !== left)));
      if (result.failure?.kind !== found.failure?.kind || result.deviations.size >= best.deviations.size) continue;
      best = result;
      isShorter = true;
      break;
    }
  }
  return best;
}
