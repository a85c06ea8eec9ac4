import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { ACCESS_FETCH, ACCESS_LOAD, ACCESS_STORE, type Access, PageFault } from "../../../arch/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { DemandPaging } from "../../../src/references/demand-paging.ts";
import { PageRules } from "../../../src/references/page-rules.ts";
import { type ReferenceReport, replayReferences } from "../../../src/references/reference-replay.ts";
import {
  referenceStatLines,
  renderReferenceCsv,
  renderReferenceReport,
} from "../../../src/references/reference-text.ts";
import { temporaryFolder } from "../fixtures.ts";

const folder = temporaryFolder();
/** /bin/true under valgrind 3.19: the dynamic linker's work, for the most part. */
const TRUE_TRACE = join(import.meta.dirname, "../../traces/true.lackey.gz");
const OPTIONS = { preset: "skylake", memoryBytes: 2 ** 32, windowReferences: 10_000 } as const;

const ACCESSES: Readonly<Record<string, readonly Access[]>> = {
  I: [ACCESS_FETCH],
  L: [ACCESS_LOAD],
  S: [ACCESS_STORE],
  M: [ACCESS_LOAD, ACCESS_STORE],
};

interface PlainReference {
  readonly kind: string;
  readonly la: number;
  readonly size: number;
}

/** The references of a trace, read the slow and obvious way. */
function plainReferences(text: string): PlainReference[] {
  return text.split("\n").flatMap((line) => {
    const match = /^(I | L| S| M) +([0-9a-f]+),(\d+)$/.exec(line);
    return match === null ? [] : [{ kind: match[1].trim(), la: Number.parseInt(match[2], 16), size: Number(match[3]) }];
  });
}

/** The same references through `Cpu.touchAs`, one by one, on a machine of its own. */
function plainReplay(references: readonly PlainReference[], pageSize: string) {
  const kernel = bootKernel({ cpus: 1, memoryBytes: OPTIONS.memoryBytes, preset: OPTIONS.preset });
  const paging = new DemandPaging(kernel, new PageRules(pageSize));
  const [cpu] = kernel.machine.cpus;
  cpu.writeCr3(paging.tables.rootFrame * 4096);
  cpu.setCpl(3);
  const start = kernel.machine.loop.clockCycles[0];
  const touch = (access: Access, la: number): void => {
    try {
      cpu.touchAs(access, la);
    } catch (error) {
      if (!(error instanceof PageFault)) throw error;
      expect(paging.handleFault(la, access === ACCESS_STORE)).toBe(true);
      cpu.touchAs(access, la);
    }
  };
  for (const { kind, la, size } of references) {
    for (const access of ACCESSES[kind]) {
      touch(access, la);
      const last = Math.floor((la + size - 1) / 4096);
      for (let page = Math.floor(la / 4096) + 1; page <= last; page++) touch(access, page * 4096);
    }
  }
  return { counters: cpu.counters(), cycles: kernel.machine.loop.clockCycles[0] - start };
}

describe("a lackey trace of a real program", () => {
  const text = gunzipSync(readFileSync(TRUE_TRACE)).toString();
  const references = plainReferences(text);
  const reports = new Map<string, ReferenceReport>();

  it.each(["4K", "2M"] as const)(
    "gives the counters that each reference by itself gives, with %s pages",
    async (pageSize) => {
      const report = await replayReferences(TRUE_TRACE, { ...OPTIONS, pageSize });
      reports.set(pageSize, report);
      const plain = plainReplay(references, pageSize);
      expect(report.counters).toEqual(plain.counters);
      expect(report.cycles).toBe(plain.cycles);
      expect(report.instructions).toBe(references.filter(({ kind }) => kind === "I").length);
      expect(report.lines).toBe(text.split("\n").length - 1);
      expect(report.oddLines).toBe(0);
    },
  );

  it("touches the pages that a set of page numbers has, in all and in each window", async () => {
    const report = reports.get("4K") ?? (await replayReferences(TRUE_TRACE, { ...OPTIONS, pageSize: "4K" }));
    const pages: number[] = [];
    for (const { kind, la, size } of references) {
      for (let times = kind === "M" ? 2 : 1; times > 0; times--) {
        for (let page = Math.floor(la / 4096); page <= Math.floor((la + size - 1) / 4096); page++) pages.push(page);
      }
    }
    expect(report.references).toBe(pages.length);
    expect(report.memory.pagesTouched).toBe(new Set(pages).size);
    expect(report.counters["page-faults"]).toBe(new Set(pages).size);
    expect(report.memory.mappedBytes).toBe(new Set(pages).size * 4096);
    const windows: number[] = [];
    for (let at = 0; at < pages.length; at += OPTIONS.windowReferences) {
      windows.push(new Set(pages.slice(at, at + OPTIONS.windowReferences)).size);
    }
    expect(report.workingSet.pages).toEqual(windows);
  });

  it("counts nothing of the warm-up, and all that follows it", async () => {
    const all = reports.get("4K") ?? (await replayReferences(TRUE_TRACE, { ...OPTIONS, pageSize: "4K" }));
    const warmupReferences = 50_000;
    const beginning = join(folder.path, "beginning.trace");
    // A prefix of whole lines with exactly that many references.
    let made = 0;
    const lines = text.split("\n");
    let end = 0;
    while (made < warmupReferences) {
      const [reference] = plainReferences(lines[end++]);
      if (reference === undefined) continue;
      const { kind, la, size } = reference;
      made += (kind === "M" ? 2 : 1) * (Math.floor((la + size - 1) / 4096) - Math.floor(la / 4096) + 1);
    }
    writeFileSync(beginning, `${lines.slice(0, end).join("\n")}\n`);
    const first = await replayReferences(beginning, { ...OPTIONS, pageSize: "4K" });
    const rest = await replayReferences(TRUE_TRACE, { ...OPTIONS, pageSize: "4K", warmupReferences: made });
    expect(rest.warmupReferences).toBe(made);
    expect(rest.references).toBe(all.references - made);
    expect(rest.instructions).toBe(all.instructions - first.instructions);
    expect(rest.cycles).toBe(all.cycles - first.cycles);
    for (const [name, count] of Object.entries(all.counters)) {
      expect(rest.counters[name], name).toBe(count - first.counters[name]);
    }
  });

  it("gives pages that are written first already dirty, so that the store pays no assist", async () => {
    const costOf = async (kind: string) => {
      const file = join(folder.path, `${kind.trim()}.trace`);
      writeFileSync(file, `I  04000000,4\n${kind} 1ffe000000,8\n`);
      return (await replayReferences(file, { ...OPTIONS, pageSize: "4K" })).cycles;
    };
    expect(await costOf(" S")).toBe(await costOf(" L"));
    const afterwards = join(folder.path, "read-first.trace");
    writeFileSync(afterwards, "I  04000000,4\n L 1ffe000000,8\n S 1ffe000000,8\n");
    const { cycles } = await replayReferences(afterwards, { ...OPTIONS, pageSize: "4K" });
    expect(cycles - (await costOf(" L"))).toBeGreaterThan(100);
  });

  it("says nothing by instruction where no instructions were traced", async () => {
    const file = join(folder.path, "data-only.trace");
    writeFileSync(file, " L 1ffe000000,8\n S 1ffe000008,8\n");
    const report = await replayReferences(file, { ...OPTIONS, pageSize: "4K" });
    const text = renderReferenceReport(report) + renderReferenceCsv(report, ",");
    expect(text).not.toMatch(/Infinity|NaN|an instruction|per insn/);
  });

  it("needs fewer page tables, faults and walks with 2 MiB pages", async () => {
    const [small, huge] = [reports.get("4K"), reports.get("2M")];
    if (small === undefined || huge === undefined) throw new Error("the reports are missing");
    expect(huge.memory.tablesByLevel[1]).toBe(0);
    expect(huge.memory.tableBytes).toBeLessThan(small.memory.tableBytes);
    expect(huge.counters["page-faults"]).toBeLessThan(small.counters["page-faults"]);
    expect(huge.counters["dTLB-load-misses"]).toBeLessThan(small.counters["dTLB-load-misses"]);
    expect(huge.memory.mappedBytes).toBeGreaterThan(small.memory.mappedBytes);
  });

  it("is shown as perf stat shows counters", () => {
    const report = reports.get("4K");
    if (report === undefined) throw new Error("the report is missing");
    const lines = referenceStatLines(report);
    expect(lines[0]).toEqual({ event: "instructions", count: report.instructions });
    const misses = lines.find(({ event }) => event === "dTLB-load-misses");
    expect(misses?.metric?.value).toBeCloseTo(
      (100 * report.counters["dTLB-load-misses"]) / report.counters["dTLB-loads"],
      10,
    );
  });
});

describe("a trace that cannot be replayed", () => {
  const replay = (file: string, memoryBytes: number = OPTIONS.memoryBytes) =>
    replayReferences(file, { ...OPTIONS, memoryBytes, pageSize: "2M" });

  it("is named with what is wrong with it", async () => {
    const gzip = readFileSync(TRUE_TRACE);
    await expect(replay("none.gz")).rejects.toThrow("none.gz: no such file");
    await expect(replay(folder.write("empty.lackey", ""))).rejects.toThrow(/empty.lackey: is empty/);
    await expect(replay(folder.write("cut.gz", gzip.subarray(0, 5000)))).rejects.toThrow(/cut.gz:\d+: .*truncated/);
    await expect(replay(folder.write("other.txt", "hello\nworld\n"))).rejects.toThrow(
      /other.txt: is no trace of references that is known: expected lackey's text/,
    );
    const large = Array.from({ length: 100 }, (_, i) => ` L ${(i * 2 ** 21 + 4096).toString(16)},8`).join("\n");
    await expect(replay(folder.write("large.lackey", large), 2 ** 26)).rejects.toThrow(/try a larger --memory/);
  });

  it("may be plain or compressed, whatever its name", async () => {
    const text = " L 1000,8\n S 1ffc,8\nI  5000,4\n";
    const plain = await replay(folder.write("plain", text));
    const path = folder.write("compressed", "");
    writeFileSync(path, gzipSync(text));
    expect({ ...(await replay(path)), trace: "" }).toEqual({ ...plain, trace: "" });
    expect(plain.references).toBe(4);
  });
});
