/** Runs the built command line as a child process. */
import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

/** The built command; `npm test` builds before it tests. */
export const CLI = join(import.meta.dirname, "../../dist/src/cli.js");

/** A result that was printed as JSON, without what it says of its making: command lines differ where results do not. */
export function resultIn(stdout: string) {
  const { madeBy: _, ...result } = JSON.parse(stdout);
  return result;
}

/** Exit code and output of `mmulab` with these arguments. */
export function mmulab(...args: string[]): SpawnSyncReturns<string> {
  if (!existsSync(CLI)) throw new Error(`${CLI} is missing: npm run build makes it`);
  return spawnSync(process.execPath, [CLI, ...args], { encoding: "utf8", maxBuffer: 2 ** 26 });
}
