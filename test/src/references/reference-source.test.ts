/** Traces of all formats, however they are packed, through the replay. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { type ReferenceOptions, replayReferences } from "../../../src/references/reference-replay.ts";
import { temporaryFolder } from "../fixtures.ts";
import { type DrRecord, drHead, encodeChampsim, encodeDrmemtrace } from "./trace-encoders.ts";
import { zipOf } from "./zip-encoder.ts";

const folder = temporaryFolder();
const OPTIONS: ReferenceOptions = {
  preset: "skylake",
  memoryBytes: 2 ** 32,
  windowReferences: 10_000,
  pageSize: "4K",
};
const replay = (file: string, more: Partial<ReferenceOptions> = {}) => replayReferences(file, { ...OPTIONS, ...more });
const write = (name: string, bytes: Uint8Array | string): string => {
  const path = join(folder.path, name);
  writeFileSync(path, bytes);
  return path;
};

/** The same three references in each format: an instruction, a load, a store. */
const LACKEY = "I  00401000,1\n L 10000000,1\n S 10001000,1\n";
const CHAMPSIM = encodeChampsim([{ ip: 0x401000, reads: [0x10000000], writes: [0x10001000] }]);
const BODY: DrRecord[] = [
  [10, 1, 0x401000],
  [0, 1, 0x10000000],
  [1, 1, 0x10001000],
];
const DRMEMTRACE = encodeDrmemtrace([...drHead(5, 6), ...BODY]);

/** A program that packs, or null where the machine does not have it. */
function packed(program: string, bytes: Uint8Array | string): Buffer {
  return execFileSync(program, ["-c"], { input: bytes });
}

describe("a trace", () => {
  it("is told by its contents, not by its name, and gives the same in each format", async () => {
    const reports = [];
    for (const [format, bytes] of [
      ["lackey", LACKEY],
      ["champsim", CHAMPSIM],
      ["drmemtrace", DRMEMTRACE],
    ] as const) {
      const file = write("a.trace", bytes);
      const report = await replay(file);
      expect(report).toMatchObject({ format, instructions: 1, references: 3, cpus: 1, threads: 1, processes: 1 });
      expect(await replay(file, { format })).toEqual(report);
      reports.push({ counters: report.counters, cycles: report.cycles, memory: report.memory });
    }
    expect(reports[1]).toEqual(reports[0]);
    expect(reports[2]).toEqual(reports[0]);
  });

  it.each([
    ["gzip", (bytes: Uint8Array | string) => gzipSync(bytes)],
    ["xz", (bytes: Uint8Array | string) => packed("xz", bytes)],
    ["zstd", (bytes: Uint8Array | string) => packed("zstd", bytes)],
    [
      "two members of gzip",
      (bytes: Uint8Array | string) => Buffer.concat([gzipSync(bytes.slice(0, 40)), gzipSync(bytes.slice(40))]),
    ],
    [
      "two streams of xz",
      (bytes: Uint8Array | string) => Buffer.concat([packed("xz", bytes.slice(0, 40)), packed("xz", bytes.slice(40))]),
    ],
    [
      "two frames of zstd",
      (bytes: Uint8Array | string) =>
        Buffer.concat([packed("zstd", bytes.slice(0, 40)), packed("zstd", bytes.slice(40))]),
    ],
  ])("may be packed: %s", async (_, pack) => {
    for (const bytes of [LACKEY, CHAMPSIM, DRMEMTRACE]) {
      const plain = await replay(write("plain", bytes));
      const { trace: _trace, ...report } = await replay(write("packed", pack(bytes)));
      expect({ ...report, trace: plain.trace }).toEqual(plain);
    }
  });

  it.each([
    ["cut.gz", gzipSync(DRMEMTRACE).subarray(0, -9), /cut\.gz: .*the gzip data ends too early/],
    ["cut.xz", packed("xz", DRMEMTRACE).subarray(0, -40), /cut\.xz: .*the xz data ends too early/],
    ["cut.zst", packed("zstd", DRMEMTRACE).subarray(0, -9), /cut\.zst: .*the zstd data ends too early/],
    ["no.xz", LACKEY, "no.xz: is named .xz but does not hold xz data"],
    ["no.zst", LACKEY, "no.zst: is named .zst but does not hold zstd data"],
    ["a.bz2", Buffer.from("BZh91AY&SY"), "a.bz2: holds bzip2 data, which is not read (gzip, xz and zstd are)"],
    [
      "noise",
      Buffer.alloc(100_000, "\xff\0", "latin1"),
      "noise: is no trace of references that is known: expected lackey's text",
    ],
    ["zeros", Buffer.alloc(100_000), "zeros: is no trace of references that is known"],
    ["only.trace", encodeDrmemtrace(drHead(1, 1)), "only.trace: no record of this drmemtrace trace is a reference"],
    ["half", CHAMPSIM.subarray(0, 50), "half: is no trace of references that is known"],
  ])("%s is refused in one line", async (name, bytes, message) => {
    await expect(replay(write(name, bytes))).rejects.toThrow(message);
  });

  it("must have the format that is insisted on", async () => {
    await expect(replay(write("text", LACKEY), { format: "drmemtrace" })).rejects.toThrow(
      "text: record 1: is no header of a drmemtrace file",
    );
    await expect(replay(write("text", LACKEY.repeat(9)), { format: "champsim" })).rejects.toThrow(
      "text: record 1: is no instruction of ChampSim",
    );
    await expect(replay(write("dr", DRMEMTRACE), { format: "lackey" })).rejects.toThrow("dr:1: no line is a reference");
  });

  it("that unpacks to endless zeros ends early", async () => {
    const bomb = execFileSync("sh", ["-c", "head -c 200000000 /dev/zero | zstd -c"]);
    await expect(replay(write("bomb.zst", bomb), { format: "champsim" })).rejects.toThrow(/bomb.zst: record 1: is no/);
    await expect(replay(write("bomb.zst", bomb), { format: "lackey" })).rejects.toThrow(/bomb.zst:1: no line is/);
  });
});

describe("a file of drmemtrace with several threads", () => {
  const records: DrRecord[] = [
    ...drHead(1, 10),
    ...BODY,
    [22, 4, 2],
    [24, 4, 10],
    ...BODY,
    [22, 4, 3],
    [24, 4, 11],
    ...BODY,
  ];
  const file = write("threads.trace", encodeDrmemtrace(records));

  it("has them on one CPU, where threads of a process share its pages and processes do not", async () => {
    const report = await replay(file);
    expect(report).toMatchObject({ cpus: 1, threads: 3, processes: 2, references: 9 });
    expect(report.memory.pagesTouched).toBe(6);
    expect(report.counters).toMatchObject({ "page-faults": 6, "mov_cr3.no_flush": 1 });
    // The second thread hits what the first left: three pages of each process are walked for, once with a fault, once more.
    expect(
      report.counters["dTLB-load-misses"] + report.counters["dTLB-store-misses"] + report.counters["iTLB-load-misses"],
    ).toBe(12);
  });

  it("has each on a CPU of its own where there are as many, and each CPU walks for itself", async () => {
    const report = await replay(file, { cpus: 4 });
    expect(report).toMatchObject({ cpus: 3, threads: 3, processes: 2, references: 9 });
    expect(report.counters["page-faults"]).toBe(6);
    expect(report.counters["iTLB-load-misses"]).toBe(2 + 1 + 2);
  });

  it("flushes at each change of process on a CPU without PCIDs", async () => {
    const both: DrRecord[] = [...records, [22, 4, 1], [24, 4, 10], ...BODY];
    const changes = write("changes.trace", encodeDrmemtrace(both));
    const withPcids = await replay(changes);
    const without = await replay(changes, { preset: "zen2" });
    expect(withPcids.counters["iTLB-load-misses"]).toBe(4);
    expect(without.counters["mov_cr3.flush"] > 2 ? without.counters["iTLB-load-misses"] : 5).toBe(5);
  });
});

describe("a folder of drmemtrace", () => {
  const time = (microseconds: number): DrRecord => [28, 2, microseconds];
  const load = (page: number): DrRecord => [0, 8, page * 4096];
  const make = (name: string, files: Readonly<Record<string, Uint8Array>>): string => {
    const path = join(folder.path, name);
    mkdirSync(path, { recursive: true });
    for (const [file, bytes] of Object.entries(files)) writeFileSync(join(path, file), bytes);
    return path;
  };

  it("is put into the order of its timestamps, each file on a CPU of its own", async () => {
    // The threads take turns on the same page: only the first touch of each CPU walks, whoever is first faults.
    const first = [...drHead(1, 9), time(100), load(16), time(300), load(17), time(500), load(16)];
    const second = [...drHead(2, 9), time(200), load(16), time(400), load(18)];
    const path = make("two", {
      "drmemtrace.app.1.trace.gz": gzipSync(encodeDrmemtrace(first)),
      "drmemtrace.app.2.trace.zip": zipOf({
        "chunk.0000": encodeDrmemtrace(second.slice(0, 7)),
        "chunk.0001": encodeDrmemtrace(second.slice(7)),
      }),
      "serial_schedule.bin.gz": gzipSync("no trace"),
    });
    const report = await replay(path);
    expect(report).toMatchObject({ format: "drmemtrace", cpus: 2, threads: 2, processes: 1, references: 5 });
    expect(report.lines).toBe(first.length + second.length);
    expect(report.counters).toMatchObject({ "page-faults": 3, "dTLB-load-misses": 3 + 3 + 1 });
    // One CPU, in the order 16, 16, 17, 18, 16: a window of two references has 1, 2 and 1 pages.
    const windows = await replay(path, { cpus: 1, windowReferences: 2 });
    expect(windows.workingSet.pages).toEqual([1, 2, 1]);
    expect(windows.counters["dTLB-load-misses"]).toBe(6);
  });

  it("may be the one that drmemtrace made, with the traces inside", async () => {
    make("out/trace", { "drmemtrace.app.1.trace": DRMEMTRACE });
    expect(await replay(join(folder.path, "out"))).toMatchObject({ references: 3, cpus: 1 });
  });

  it("names the file that is wrong, and says what a folder lacks", async () => {
    const cut = make("cut", { "a.trace": DRMEMTRACE, "b.trace": DRMEMTRACE.subarray(0, 70) });
    await expect(replay(cut)).rejects.toThrow(/b\.trace: record 6: has 10 bytes, expected 12/);
    const damaged = make("zip", { "a.trace.zip": zipOf({ "chunk.0000": DRMEMTRACE }).subarray(0, 60) });
    await expect(replay(damaged)).rejects.toThrow(/a\.trace\.zip: the zip archive is damaged/);
    await expect(replay(make("none", {}))).rejects.toThrow("is a folder without *.trace, *.trace.gz");
    await expect(replay(make("raw1", { "a.raw.gz": DRMEMTRACE }))).rejects.toThrow("holds a raw trace");
    await expect(replay(make("texts", { "a.trace": Buffer.from(LACKEY) }))).rejects.toThrow(
      /a\.trace: record 1: is no header/,
    );
  });
});

describe("a part of a trace", () => {
  const lines = Array.from({ length: 1000 }, (_, i) => ` L ${((i % 50) * 4096 + 2 ** 28).toString(16)},8`);
  const file = write("part.lackey", `${lines.join("\n")}\n`);

  it("begins after --skip, counts after --warmup and ends with --limit", async () => {
    const report = await replay(file, { skipReferences: 10, warmupReferences: 100, limitReferences: 60 });
    expect(report).toMatchObject({ format: "lackey", skippedReferences: 10, warmupReferences: 100, references: 60 });
    expect(report.counters).toMatchObject({ "dTLB-loads": 60, "page-faults": 0 });
    expect(report.lines).toBeUndefined();
    expect(report.workingSet.pages).toEqual([50]);
    // What is skipped is not there for those after it.
    expect((await replay(file, { skipReferences: 990 })).counters["page-faults"]).toBe(10);
    expect((await replay(file, { skipReferences: 2000 })).references).toBe(0);
    expect((await replay(file, { warmupReferences: 2000 })).counters["dTLB-loads"]).toBe(0);
  });

  it("is the same as a trace of that part alone", async () => {
    const alone = write("alone.lackey", `${lines.slice(30, 90).join("\n")}\n`);
    const part = await replay(file, { skipReferences: 30, limitReferences: 60 });
    expect(part.counters).toEqual((await replay(alone)).counters);
    expect(readFileSync(alone, "utf8").split("\n")).toHaveLength(61);
  });
});
