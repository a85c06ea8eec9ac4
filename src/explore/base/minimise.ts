/** A failing schedule with as little interference as possible. */
import { endsWithin } from "./endless-code.ts";
import type { Explorer, ScheduleResult } from "./explorer.ts";
import type { Deviations } from "./schedule-text.ts";
import { Replayed, type Strategy } from "./strategies.ts";

/** Host time after which a schedule, which takes less than a thousandth of that, is taken to be without end. */
const ENDLESS_MS = 2000;

/** Runs the schedule with these deviations. */
export function replaySchedule(explorer: Explorer<unknown>, deviations: Deviations): ScheduleResult {
  const strategy = new Replayed(deviations);
  strategy.begin(0);
  return runOne(explorer, strategy);
}

/** Runs one schedule that `strategy` has begun, and ends it if it does not end by itself. */
export function runOne(explorer: Explorer<unknown>, strategy: Strategy): ScheduleResult {
  let result: ScheduleResult | null = null;
  const run = (): void => {
    result = explorer.run(strategy);
  };
  return endsWithin(ENDLESS_MS, run) && result !== null ? result : explorer.interrupted();
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
