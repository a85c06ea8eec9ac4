/** Mutated inputs of every text format: each is taken or refused with one line that names the file, never with a failure of the program. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { presetByName } from "../../../arch/index.ts";
import { parseAddressMarker, parsePageTableRun } from "../../../mm/views/page-table-run.ts";
import { parseVmallocinfoLine } from "../../../mm/views/vmallocinfo-line.ts";
import { parseParameters } from "../../../src/input/parameters.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { replayRecording } from "../../../src/recording/replay.ts";
import { replayReferences } from "../../../src/references/reference-replay.ts";
import { runOnKernel } from "../../../src/runs/run.ts";
import { readSettings } from "../../../src/settings/machine-settings.ts";
import { readPresetFile } from "../../../src/settings/preset-file.ts";
import { isStateFile, loadKernel, saveKernel } from "../../../src/state/machine-state.ts";
import { headerLine, resultLine } from "../../../src/sweep/result-lines.ts";
import { readResults } from "../../../src/sweep/results-file.ts";
import { readSweepSpec, sweepPoints } from "../../../src/sweep/spec.ts";
import { replayFtrace } from "../../../src/traces/ftrace-replay.ts";
import { mixed } from "../../../src/workloads/mixed.ts";
import { testVmalloc } from "../../../src/workloads/test-vmalloc/index.ts";
import { userProcesses } from "../../../src/workloads/user-processes.ts";
import { fixtureLines, temporaryFolder } from "../fixtures.ts";
import { recordOwnKernel } from "../recording/own-recording.ts";
import { type Reader, wronglyRefused } from "./mutated-inputs.ts";

const folder = temporaryFolder();

const GRID =
  "workload: mixed\nseeds: [5, 6]\ngrid:\n  cpus: &c [1, 2]\n  vmap_nodes: *c\n  policy: eager\n  operations: 40\n";
const spec = readSweepSpec(folder.write("grid.yaml", GRID));
const [first, second] = sweepPoints(spec);
const RESULTS = [
  headerLine(spec),
  ...[first, second].map((point) =>
    resultLine({ point, result: { tables: [{ name: "run", rows: [{ n: 1 }] }] } }, spec),
  ),
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

/** A saved state, as text of one character a byte. */
const STATE = (() => {
  const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 26, vmalloc: { lazyMaxPages: 64 } });
  runOnKernel(kernel, mixed, { operations: 60, seed: 1 });
  runOnKernel(kernel, userProcesses, { operations: 20, seed: 1 });
  saveKernel(kernel, join(folder.path, "good.state"), "a test");
  return readFileSync(join(folder.path, "good.state"), "latin1");
})();
const [STATE_HEADER] = STATE.split("\n", 1);
const STATE_BODY = gunzipSync(Buffer.from(STATE.slice(STATE_HEADER.length + 1, -32), "latin1"));
const STATE_JSON_BYTES = Number(STATE_BODY.readBigUInt64LE());
const STATE_JSON = STATE_BODY.toString("latin1", 8, 8 + STATE_JSON_BYTES);

/** A state of another content, with the lengths and the checksum that belong to it. */
function sealed(json: string, header = STATE_HEADER): Buffer {
  const text = Buffer.from(json, "latin1");
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const arrays = STATE_BODY.subarray(8 + 8 * Math.ceil(STATE_JSON_BYTES / 8));
  const body = gzipSync(Buffer.concat([length, text, Buffer.alloc(-text.length & 7, " "), arrays]), { level: 1 });
  const first = Buffer.from(`${header.replace(/"bodyBytes":\d+/, `"bodyBytes":${body.length}`)}\n`, "latin1");
  return Buffer.concat([first, body, createHash("sha256").update(first).update(body).digest()]);
}

/** Loads a file as `inspect` does, and looks at all of it. */
function load(file: string): unknown {
  return isStateFile(file) ? loadKernel(file).kernel.verify() : replayRecording(file);
}

/** Lines of a text out of `/proc` or debugfs. */
function procText(key: string): string {
  const line = fixtureLines("mixed_smp4_s1").find((text) => text.startsWith(`{"${key}"`));
  return (JSON.parse(line ?? "") as Record<string, string[]>)[key].slice(0, 40).join("\n");
}

/** Formats that are no files by themselves: who reads them says where they stand. */
const WITHOUT_FILE = ["parameters", "settings", "vmallocinfo", "page tables"];
const SETTINGS =
  "topology=1x2x1 policy=deferred isolated=0-1 pti=true flush-ceiling=33 lazy-max=512 vmap-nodes=2 nr-cpus=8 ipi-mode=cluster";

/** Each format: a good text, and what reads it. */
const FORMATS: readonly (readonly [name: string, text: string, read: Reader])[] = [
  ["recording.jsonl", RECORDING, (file) => replayRecording(file)],
  ["trace.lackey", LACKEY, (file) => replayReferences(file, MACHINE)],
  ["trace.txt", FTRACE, (file) => replayFtrace(file, { preset: "skylake", memoryBytes: 2 ** 28 })],
  ["preset.json", JSON.stringify(presetByName("zen4"), null, 1), (file) => readPresetFile(file)],
  ["sweep.yaml", GRID, (file) => readSweepSpec(file)],
  ["results.jsonl", RESULTS.join("\n"), (file) => readResults(file, spec)],
  ["state", STATE, load],
  ["resealed.state", STATE_JSON, (_, text) => load(folder.write("resealed.state", sealed(text)))],
  ["reheaded.state", STATE_HEADER, (_, text) => load(folder.write("reheaded.state", sealed(STATE_JSON, text)))],
  ["settings", SETTINGS, (_, text) => readSettings(Object.fromEntries(text.split(" ").map((word) => word.split("="))))],
  ["vmallocinfo", procText("final_vmallocinfo"), (_, text) => text.split("\n").map(parseVmallocinfoLine)],
  [
    "page tables",
    procText("final_ptdump"),
    (_, text) => text.split("\n").map((line) => parseAddressMarker(line) ?? parsePageTableRun(line)),
  ],
  [
    "parameters",
    "nr_threads=2 run_test_mask=0x7 test_loop_count=9",
    (_, text) => parseParameters("test_vmalloc", testVmalloc.parameters ?? [], text.split(" ")),
  ],
];

describe("mutated inputs", () => {
  it.each(FORMATS)("of %s are taken or refused with one line", async (name, text, read) => {
    expect(await wronglyRefused({ folder, name, text, read, namesFile: !WITHOUT_FILE.includes(name) })).toEqual([]);
  });
});
