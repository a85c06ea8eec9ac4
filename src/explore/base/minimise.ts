/** A failing schedule with as little interference as possible. */
import type { Explorer, ScheduleResult } from "./explorer.ts";
import type { Deviations } from "./schedule-text.ts";
import { Replayed } from "./strategies.ts";

/** Runs one schedule. */
export function replaySchedule(explorer: Explorer<unknown>, deviations: Deviations): ScheduleResult {
  const strategy = new Replayed(deviations);
  strategy.begin(0);
  return explorer.run(strategy);
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
