/**
 * Commands that are killed at any moment leave what was there before or the whole new file, never a part of it. MMULAB_KILLS says
 * how many kills of each.
 */
import { type SpawnSyncReturns, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { randomStream } from "../../../src/machine/random.ts";
import { loadKernel } from "../../../src/state/machine-state.ts";
import { temporaryFolder } from "../fixtures.ts";
import { CLI } from "../run-cli.ts";

const KILLS = Number(process.env.MMULAB_KILLS ?? 4);
const SEED = Number(process.env.MMULAB_SEED ?? 1);
/** Time for the watcher of a killed process to take its half-written file away. */
const REMOVAL_MS = 20_000;
const { path: root } = temporaryFolder();

const run = (args: readonly string[]): SpawnSyncReturns<string> =>
  spawnSync(process.execPath, [CLI, ...args], { encoding: "utf8" });

/** Starts the command and kills it after some time; whether it had ended by itself before. */
async function killed(args: readonly string[], afterMs: number): Promise<boolean> {
  const child = spawn(process.execPath, [CLI, ...args], { stdio: "ignore" });
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  const timer = setTimeout(() => child.kill("SIGKILL"), afterMs);
  const exitCode = await ended;
  clearTimeout(timer);
  if (exitCode !== null) expect(exitCode, "the command ended by itself").toBe(0);
  return exitCode !== null;
}

async function settled(folder: string, names: readonly string[]): Promise<void> {
  const until = Date.now() + REMOVAL_MS;
  while (readdirSync(folder).length > names.length && Date.now() < until) await new Promise((r) => setTimeout(r, 20));
  expect(readdirSync(folder)).toEqual(names);
}

describe("a command that is killed", () => {
  it.each([
    ["--save", ["run", "mixed", "--ops", "4000", "--quiet"]],
    ["--events", ["run", "mixed", "--ops", "8000", "--quiet"]],
  ])(`%s: its file is the old one or the whole new one, ${KILLS} times`, async (option, args) => {
    const here = mkdtempSync(join(root, "killed-"));
    const file = join(here, "out.txt");
    const command = [...args, option, file];
    const began = Date.now();
    expect(run(command)).toMatchObject({ status: 0, stderr: "" });
    const lastsMs = Date.now() - began;
    const whole = readFileSync(file);
    const old = Buffer.from("what was there before");
    const random = randomStream(SEED);
    for (let kill = 0; kill < KILLS; kill++) {
      writeFileSync(file, old);
      // The file is written in the last part: most kills fall there.
      const afterMs = random.between(kill % 4 === 0 ? 0 : Math.floor(lastsMs * 0.7), lastsMs);
      const isWhole = await killed(command, afterMs);
      await settled(here, ["out.txt"]);
      const now = readFileSync(file);
      if (isWhole) expect(now.equals(whole), "after its end").toBe(true);
      else expect(now.equals(old) || now.equals(whole), `killed after ${afterMs} ms, MMULAB_SEED=${SEED}`).toBe(true);
    }
    expect(run(command)).toMatchObject({ status: 0, stderr: "" });
    if (option === "--save") expect(loadKernel(file).kernel.verify()).toEqual([]);
  });
});
