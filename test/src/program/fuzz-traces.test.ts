/** Mutated traces and texts of live machines: each is taken or refused with one line that names the file, in memory that does not grow. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { readLiveFile } from "../../../src/inspect/live-file.ts";
import { spaceReport } from "../../../src/inspect/space-report.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { traceEverything } from "../../../src/output/event-file.ts";
import { type ReferenceOptions, replayReferences } from "../../../src/references/reference-replay.ts";
import { replayFtrace } from "../../../src/traces/ftrace-replay.ts";
import { findWorkload } from "../../../src/workloads/index.ts";
import { fixtureLines, temporaryFolder } from "../fixtures.ts";
import { drHead, encodeChampsim, encodeDrmemtrace } from "../references/trace-encoders.ts";
import { zipOf } from "../references/zip-encoder.ts";
import { type Reader, wronglyRefused } from "./mutated-inputs.ts";

/** What an input of some kilobytes may make the program's memory grow by. */
const GROWTH_BYTES_MAX = 2 ** 30;
const PAGE = 4096;
const folder = temporaryFolder();
const MACHINE: ReferenceOptions = {
  preset: "skylake",
  memoryBytes: 2 ** 28,
  pageSize: "4K",
  windowReferences: 100,
};

/** A trace with calls, walks and processes, as `mmulab run --events` writes it. */
function tracedRun(workload: string, operations: number): string {
  const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 28 });
  const lines: string[] = [];
  kernel.vm.events = traceEverything(kernel, kernel.machine.preset.frequencyGhz.value * 1e9, (line) =>
    lines.push(line),
  );
  findWorkload(workload).run(kernel, { operations, seed: 1 });
  return `${lines.join("\n")}\n`;
}

const LACKEY = gunzipSync(readFileSync(join(import.meta.dirname, "../../traces/true.lackey.gz"))).subarray(0, 4000);
const DRMEMTRACE = encodeDrmemtrace([
  ...drHead(5, 6),
  ...Array.from({ length: 60 }, (_, i): [number, number, number] => [
    i % 3 === 0 ? 10 : i % 2,
    8,
    0x40_1000 + i * PAGE,
  ]),
]);
const CHAMPSIM = encodeChampsim(
  Array.from({ length: 30 }, (_, i) => ({
    ip: 0x40_1000 + 4 * i,
    reads: [0x1000_0000 + i * PAGE],
    writes: [0x2000_0000],
  })),
);

/** Lines that a recording ends with, as the kernel prints them. */
function procText(key: string): string {
  const line = fixtureLines("mixed_smp4_s1").find((text) => text.startsWith(`{"${key}"`));
  return (JSON.parse(line ?? "") as Record<string, string[]>)[key].slice(0, 60).join("\n");
}

const references: Reader = (file) => replayReferences(file, MACHINE);
const calls: Reader = (file) => replayFtrace(file, { preset: "skylake", memoryBytes: 2 ** 28 });
const live: Reader = async (file) =>
  spaceReport(await readLiveFile(file), { range: "vmalloc", levels: 4 }, { sizeBytes: PAGE, alignBytes: PAGE });
const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

const FORMATS: readonly (readonly [name: string, text: string, read: Reader])[] = [
  ["mixed.txt", tracedRun("mixed", 40), calls],
  ["processes.txt", tracedRun("user_processes", 20), calls],
  ["modules.txt", tracedRun("module_load", 6), calls],
  ["trace.lackey.gz", latin1(gzipSync(LACKEY)), references],
  ["trace.drmemtrace", latin1(DRMEMTRACE), references],
  ["trace.champsim", latin1(CHAMPSIM), references],
  ["trace.zip", latin1(zipOf({ "chunk.0000": DRMEMTRACE })), references],
  ["vmallocinfo.txt", procText("final_vmallocinfo"), live],
  ["page_tables.txt", procText("final_ptdump"), live],
];

describe("mutated traces", () => {
  const atFirst = process.resourceUsage().maxRSS;

  it.each(FORMATS)("of %s are taken or refused with one line", async (name, text, read) => {
    const isBinary = name.startsWith("trace.");
    expect(await wronglyRefused({ folder, name, text, isBinary, read, namesFile: true })).toEqual([]);
  });

  afterAll(() => {
    const grownBytes = (process.resourceUsage().maxRSS - atFirst) * 1024;
    expect(grownBytes).toBeLessThan(GROWTH_BYTES_MAX);
  });
});
