/** A trace that was given as a recording: its format is told by its contents, and the line names the option. */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { describeTrace } from "../../../src/commands/trace-kind.ts";
import { temporaryFolder } from "../fixtures.ts";
import { type DrRecord, drHead, encodeChampsim, encodeDrmemtrace } from "../references/trace-encoders.ts";
import { zipOf } from "../references/zip-encoder.ts";

const folder = temporaryFolder();
const BODY: DrRecord[] = [
  [10, 1, 0x401000],
  [0, 1, 0x10000000],
];
const DRMEMTRACE = encodeDrmemtrace([...drHead(5, 6), ...BODY]);
const REFERENCES = "I  00401000,1\n L 10000000,1\n";
const EVENT =
  "alloc_vmap_area: va_start: 18446683600570306560 size=8192 align=1 vstart=0xffffc90000000000 vend=0xffffe8ffffffffff failed=0";

/** Format as the option calls it, and contents. */
const TRACES: readonly (readonly [option: string, what: string, contents: Uint8Array | string])[] = [
  ["lackey", "references", REFERENCES],
  ["lackey", "what the program printed before them", `hello\n{"a":1}\n${REFERENCES}`],
  ["lackey", "what valgrind says first", "==1== Lackey, an example Valgrind tool\r\n==1== Copyright\r\n"],
  ["drmemtrace", "records", DRMEMTRACE],
  ["champsim", "instructions", encodeChampsim([{ ip: 0x401000, reads: [0x10000000], writes: [] }])],
  ["ftrace", "trace_pipe", `     kworker/1:2-99      [001] d..2.    10.500000: ${EVENT}\n`],
  ["ftrace", "what the tracer says first", "# tracer: nop\n#\n"],
  ["ftrace", "perf script", `demo   311 [000]   107.812345: vmalloc:${EVENT}\n`],
  ["ftrace", "events of others only", "  demo-311 [000] ..... 1.000000: sched_switch: prev_comm=a prev_pid=1\n"],
];

describe.each(TRACES)("%s: %s", (option, _, contents) => {
  it.each([
    ["plain", (bytes: Uint8Array | string) => bytes],
    ["gzip", (bytes: Uint8Array | string) => gzipSync(bytes)],
    ["xz", (bytes: Uint8Array | string) => execFileSync("xz", ["-c"], { input: bytes })],
    ["zstd", (bytes: Uint8Array | string) => execFileSync("zstd", ["-c"], { input: bytes })],
  ])("is told by its contents, %s", async (packing, pack) => {
    const file = folder.write(`${option}-${packing}`, pack(contents));
    expect(await describeTrace(file)).toMatch(
      new RegExp(`^is .*, not a recording: mmulab replay --${option} ${file}$`),
    );
  });
});

it("a folder of drmemtrace, and a zip archive, are told too", async () => {
  const inner = join(folder.path, "drmemtrace.app");
  mkdirSync(inner);
  expect(await describeTrace(inner)).toBeNull();
  folder.write("drmemtrace.app/a.1.trace", DRMEMTRACE);
  expect(await describeTrace(inner)).toContain("mmulab replay --drmemtrace");
  const zip = folder.write("a.trace.zip", zipOf({ "chunk.0000": DRMEMTRACE }));
  expect(await describeTrace(zip)).toContain("mmulab replay --drmemtrace");
});

it.each([
  ["nothing", ""],
  ["prose", "one two three\n"],
  ["JSON", '{"header":1}\n'],
  ["noise", Uint8Array.from({ length: 5000 }, (_, i) => (i * 37) & 255)],
])("%s is no trace", async (name, contents) => {
  expect(await describeTrace(folder.write(name, contents))).toBeNull();
});

it("what cannot be read is none either: why has been said already", async () => {
  expect(await describeTrace(join(folder.path, "missing"))).toBeNull();
  expect(await describeTrace(folder.write("cut.gz", gzipSync(REFERENCES).subarray(0, 8)))).toBeNull();
  expect(await describeTrace("-")).toBeNull();
});
