/**
 * Code that never comes back. What a schedule leaves behind may be a list or a tree that runs in a circle, and plain code that walks it
 * never gives a scheduler the chance to stop it. The host can: `vm` ends a script that takes too long, wherever it is.
 */
import { Script } from "node:vm";

/** Where the script finds what it is to call. */
const CALL = "mmulabInterruptible";
const script = new Script(`globalThis.${CALL}()`);

/**
 * Makes a call, and ends it when it takes longer than `milliseconds` of the host's time.
 * @returns whether it ended by itself
 * @throws what it throws
 */
export function endsWithin(milliseconds: number, call: () => void): boolean {
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
}
