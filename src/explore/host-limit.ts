/** Ending code that never comes back: Node's `vm` ends a script that takes too long, wherever it is. */
import { Script } from "node:vm";
import { type LimitedCall, limitCallsBy } from "./base/endless-code.ts";

/** Where the script finds what it is to call. */
const CALL = "mmulabLimitedCall";
const script = new Script(`globalThis.${CALL}()`);

const limitedByScript: LimitedCall = (milliseconds, call) => {
  const place = globalThis as { [CALL]?: () => void };
  place[CALL] = call;
  try {
    script.runInThisContext({ timeout: milliseconds });
    return true;
  } catch (error) {
    if ((error as { code?: unknown }).code === "ERR_SCRIPT_EXECUTION_TIMEOUT") return false;
    throw error;
  } finally {
    delete place[CALL];
  }
};

/** Processor time of this process. */
function workedMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Has schedules that never end be ended from now on. */
export function endEndlessSchedules(): void {
  limitCallsBy(limitedByScript, workedMs);
}
