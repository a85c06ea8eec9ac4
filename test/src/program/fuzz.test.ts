/** Mutated inputs of every text format: each is taken or refused with one line that names the file, never with a failure of the program. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { MmulabError, parsePreset, presetByName } from "../../../arch/index.ts";
import { parseParameters } from "../../../src/input/parameters.ts";
import { type Random, randomStream } from "../../../src/machine/random.ts";
import { replayRecording } from "../../../src/recording/replay.ts";
import { headerLine, resultLine } from "../../../src/sweep/result-lines.ts";
import { readResults } from "../../../src/sweep/results-file.ts";
import { readSweepSpec, sweepPoints } from "../../../src/sweep/spec.ts";
import { replayFtrace } from "../../../src/traces/ftrace-replay.ts";
import { replayLackey } from "../../../src/traces/lackey-replay.ts";
import { testVmalloc } from "../../../src/workloads/test-vmalloc/index.ts";
import { temporaryFolder } from "../fixtures.ts";
import { recordOwnKernel } from "../recording/own-recording.ts";

const SEED = Number(process.env.MMULAB_SEED ?? 1);
const INPUTS = Number(process.env.MMULAB_INPUTS ?? 290);
const folder = temporaryFolder();

const GRID =
  "workload: mixed\nseeds: [5, 6]\ngrid:\n  cpus: &c [1, 2]\n  vmap_nodes: *c\n  policy: eager\n  operations: 40\n";
const spec = readSweepSpec(folder.write("grid.yaml", GRID));
const [first, second] = sweepPoints(spec);
const RESULTS = [
  headerLine(spec),
  ...[first, second].map((point) => resultLine({ point, result: { rows: [{ n: 1 }] } }, spec)),
  "",
];
const RECORDING = recordOwnKernel({ seed: 4, cpus: 2, callsBefore: 60, calls: 12, migrates: true }).join("\n");
const LACKEY = gunzipSync(readFileSync(join(import.meta.dirname, "../../traces/true.lackey.gz"))).toString(
  "latin1",
  0,
  4000,
);
const FTRACE = [1, 2, 3]
  .map((i) => {
    const at = `     kworker-${100 + i}  [000] .....  10.00000${i}:`;
    const area = `va_start: ${0xffffc90000000000n + BigInt(i) * 0x3000n} size=12288 align=4096`;
    return `${at} alloc_vmap_area: ${area} vstart=0xffffc90000000000 vend=0xffffe8ffffffffff failed=0`;
  })
  .concat(
    "     kworker-104  [000] .....  10.000009: free_vmap_area_noflush: va_start=0xffffc90000003000 nr_lazy=3 nr_lazy_max=8192",
  )
  .join("\n");
const MACHINE = { preset: "skylake", memoryBytes: 2 ** 28, pageSize: "4K", windowReferences: 100 } as const;

/** Each format: a good text, and what reads it. */
const FORMATS: readonly (readonly [name: string, text: string, read: (file: string, text: string) => unknown])[] = [
  ["recording.jsonl", RECORDING, (file) => replayRecording(file)],
  ["trace.lackey", LACKEY, (file) => replayLackey(file, MACHINE)],
  ["trace.txt", FTRACE, (file) => replayFtrace(file, { preset: "skylake", memoryBytes: 2 ** 28 })],
  ["preset.json", JSON.stringify(presetByName("zen4")), (_, text) => parsePreset(parsedJson(text))],
  ["sweep.yaml", GRID, (file) => readSweepSpec(file)],
  ["results.jsonl", RESULTS.join("\n"), (file) => readResults(file, spec)],
  [
    "parameters",
    "nr_threads=2 run_test_mask=0x7 test_loop_count=9",
    (_, text) => parseParameters("test_vmalloc", testVmalloc.parameters ?? [], text.split(" ")),
  ],
];

describe("mutated inputs", () => {
  it.each(FORMATS)("of %s are taken or refused with one line", async (name, text, read) => {
    const random = randomStream(SEED);
    const wrong: string[] = [];
    for (let i = 0; i < INPUTS; i++) {
      const mutant = mutated(text, random);
      const file = folder.write(name, mutant);
      try {
        await read(file, mutant);
      } catch (error) {
        const isOneLine = error instanceof MmulabError && !error.message.includes("\n");
        const namesFile = name === "parameters" || name === "preset.json" || (error as Error).message.includes(name);
        if (!isOneLine || !namesFile) wrong.push(`input ${i}: ${String((error as Error).stack).slice(0, 300)}`);
      }
    }
    expect(wrong, `MMULAB_SEED=${SEED}`).toEqual([]);
  });
});

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const WORDS = [
  "0",
  "-1",
  "1e400",
  "NaN",
  "null",
  "__proto__",
  "constructor",
  "\n",
  '"',
  "{",
  "[",
  "*a",
  "&a",
  ": ",
  "0xffffffffffffffff",
  "9007199254740993",
  "\u0000",
  "é",
];

/** One to three changes: bytes flipped, pieces deleted, doubled or moved, odd words put in. */
function mutated(text: string, random: Random): string {
  let result = text;
  for (let changes = random.between(1, 3); changes > 0; changes--) {
    const at = random.between(0, Math.max(0, result.length - 1));
    const end = Math.min(result.length, at + random.between(1, 40));
    const [before, piece, after] = [result.slice(0, at), result.slice(at, end), result.slice(end)];
    const word = WORDS[random.between(0, WORDS.length - 1)];
    const flipped = String.fromCharCode((result.charCodeAt(at) || 32) ^ (1 << random.between(0, 6)));
    result = [
      before + after,
      before + piece + piece + after,
      before + word + after,
      before + word + piece + after,
      before + flipped + result.slice(at + 1),
      before,
    ][random.between(0, 5)];
  }
  return result;
}
