/** What a replay tells beside its counters, and the sizes of pages. */
import { describe, expect, it } from "vitest";
import { nothingCounted } from "../../../src/references/nothing-counted.ts";
import {
  compareReferences,
  type ReferenceOptions,
  replayReferences,
} from "../../../src/references/reference-replay.ts";
import { renderReferenceReport } from "../../../src/references/reference-text.ts";
import { temporaryFolder } from "../fixtures.ts";

const folder = temporaryFolder();
const OPTIONS: ReferenceOptions = { preset: "skylake", memoryBytes: 2 ** 36, windowReferences: 10_000, pageSize: "4K" };
const MIB = 2 ** 20;

/** Loads of `pages` pages in turn, `times` times, each after the fetch of one of two instructions. */
function sweepTrace(name: string, pages: number, times: number): string {
  const lines = [];
  for (let i = 0; i < pages * times; i++) {
    const page = i % pages;
    lines.push(`I  0040${page % 2 === 0 ? "1000" : "1010"},4`, ` L ${(2 ** 28 + page * 4096).toString(16)},8`);
  }
  return folder.write(name, `${lines.join("\n")}\n`);
}

describe("the costliest places", () => {
  it("sum up to all cycles of walks, and are led by what misses most", async () => {
    // 3000 pages do not fit into the TLBs; every round walks for each of them.
    const file = sweepTrace("costly.lackey", 3000, 3);
    const report = await replayReferences(file, { ...OPTIONS, top: 100_000 });
    const plain = await replayReferences(file, OPTIONS);
    expect(report.counters).toEqual(plain.counters);
    const walkCycles = ["dtlb_load_misses", "dtlb_store_misses", "itlb_misses"].reduce(
      (sum, unit) => sum + report.counters[`${unit}.walk_active`],
      0,
    );
    const { pages = [], ranges = [], instructions = [] } = report.costliest ?? {};
    for (const places of [pages, ranges, instructions]) {
      expect(places.reduce((sum, place) => sum + place.walkCycles, 0)).toBe(walkCycles);
      expect(places.map((place) => place.walkCycles)).toEqual(
        places.map((place) => place.walkCycles).sort((a, b) => b - a),
      );
    }
    // A page's first load walks twice, once with a fault; the instructions' page is one more.
    expect(pages.reduce((sum, place) => sum + place.walks, 0)).toBe(3000 * 4 + 2);
    expect(instructions.map(({ address }) => address).sort()).toEqual(["0x401000", "0x401010"]);
    expect(ranges).toHaveLength(1 + Math.ceil((3000 * 4096) / (2 * MIB)));
    const top = await replayReferences(file, { ...OPTIONS, top: 2, warmupReferences: 6000 });
    expect(top.costliest?.pages).toHaveLength(2);
    expect(top.costliest?.pages[0].walks).toBe(2);
  });
});

describe("references that wait for none before them", () => {
  const withoutCycles = (counters: Readonly<Record<string, number>>) =>
    Object.fromEntries(Object.entries(counters).filter(([name]) => !/walk_(active|pending)$/.test(name)));

  it("do all that they do otherwise, in fewer cycles; the costliest places count each walk for itself", async () => {
    const file = sweepTrace("independent.lackey", 3000, 4);
    const options = { ...OPTIONS, top: 100_000, warmupReferences: 6000 };
    const dependent = await replayReferences(file, options);
    const independent = await replayReferences(file, { ...options, independent: true });
    expect(withoutCycles(independent.counters)).toEqual(withoutCycles(dependent.counters));
    expect(independent.costliest).toEqual(dependent.costliest);
    expect(independent.cycles).toBeLessThan(0.7 * dependent.cycles);
    expect(dependent.independent).toBeUndefined();
    expect(independent.independent).toBe(true);
    const plain = await replayReferences(file, { ...OPTIONS, warmupReferences: 6000, independent: true });
    expect(plain.cycles).toBe(independent.cycles);
    expect(plain.counters).toEqual(independent.counters);
  });
});

describe("counters over time", () => {
  it("sum up to those of the whole, after the warm-up", async () => {
    const file = sweepTrace("time.lackey", 700, 5);
    const report = await replayReferences(file, { ...OPTIONS, warmupReferences: 500, intervalReferences: 999 });
    const { intervals = [] } = report.overTime ?? {};
    expect(intervals.map(({ from }) => from)).toEqual([0, 999, 1998, 2997, 3996, 4995, 5994]);
    for (const event of Object.keys(intervals[0].counters)) {
      expect(
        intervals.reduce((sum, { counters }) => sum + counters[event], 0),
        event,
      ).toBe(report.counters[event]);
    }
    const made = ({ counters }: (typeof intervals)[number]) => counters["dTLB-loads"] + counters["iTLB-loads"];
    expect(intervals.map(made)).toEqual([999, 999, 999, 999, 999, 999, 506]);
    // Pages are given in the first round only.
    expect(intervals.slice(2).every(({ counters }) => counters["page-faults"] === 0)).toBe(true);
  });
});

describe("a warm-up by fraction", () => {
  it("ends when so much of the second level is in use", async () => {
    const file = sweepTrace("warm.lackey", 3000, 2);
    const half = await replayReferences(file, { ...OPTIONS, warmupFraction: 0.5 });
    // Skylake has 1536 entries; each second reference brings a page; the TLBs are looked at every 1024 references.
    expect(half.warmupReferences).toBe(2048);
    expect(half.references).toBe(12_000 - 2048);
  });

  it("that never ends leaves nothing counted, of places neither", async () => {
    const small = sweepTrace("small.lackey", 10, 10);
    const never = await replayReferences(small, { ...OPTIONS, warmupFraction: 0.5, top: 3 });
    expect(never).toMatchObject({ references: 0, warmupReferences: 200, cycles: 0, instructions: 0 });
    expect(never.costliest).toEqual({ pages: [], ranges: [], instructions: [] });
    expect(nothingCounted(never)).toMatch(/\(200 of the warm-up\)$/);
    const skipped = await replayReferences(small, { ...OPTIONS, skipReferences: 1000 });
    expect(nothingCounted(skipped)).toMatch(/\(200 skipped\)$/);
    expect(skipped.memory.tablesByLevel).toEqual([0, 0, 0, 0, 0, 0]);
    expect(renderReferenceReport(skipped)).toContain("0 PTE, 0 PMD, 0 PUD, 0 PGD");
  });
});

describe("pages of other sizes", () => {
  it("are given where the rules say so, and walked for as what they are", async () => {
    const file = sweepTrace("sizes.lackey", 1024, 1);
    const at = async (pageSize: string) => await replayReferences(file, { ...OPTIONS, pageSize });
    const gigantic = await at("1G");
    // Code and data lie in one page: the fetch walks, and the loads find what it left in the second level.
    expect(gigantic.counters).toMatchObject({ "itlb_misses.walk_completed_1g": 1, "page-faults": 1 });
    expect(gigantic.memory).toMatchObject({ mappedBytes: 2 ** 30 });
    expect(gigantic.memory.tablesByLevel.slice(1, 3)).toEqual([0, 0]);
    // The data lie in 4 MiB from 256 MiB on: one aligned 2 MiB of it is large here, the rest and the code are not.
    const mixed = await at(`2M@0x10000000-0x10300000`);
    expect(mixed.counters).toMatchObject({ "dtlb_load_misses.walk_completed_2m_4m": 1, "page-faults": 1 + 512 + 1 });
    expect(mixed.memory.mappedBytes).toBe(2 * MIB + 513 * 4096);
  });

  it("of a GiB lie at aligned GiBs of memory, as many as there are", async () => {
    const lines = [0, 1, 2, 3].map((i) => ` L ${(2 ** 36 + i * 2 ** 30).toString(16)},8`);
    const file = folder.write("gib.lackey", `${lines.join("\n")}\n`);
    const report = await replayReferences(file, { ...OPTIONS, pageSize: "1G" });
    expect(report.memory.mappedBytes).toBe(4 * 2 ** 30);
    await expect(replayReferences(file, { ...OPTIONS, pageSize: "1G", memoryBytes: 2 ** 31 })).rejects.toThrow(
      /given in 1G pages\); try a larger --memory/,
    );
  });
});

describe("settings side by side", () => {
  it("see the same references, each until it has enough", async () => {
    const file = sweepTrace("both.lackey", 200, 20);
    const settings = [
      { ...OPTIONS, limitReferences: 100 },
      { ...OPTIONS, pageSize: "2M" },
      { ...OPTIONS, preset: "zen4" as const },
    ];
    const reports = await compareReferences(file, settings);
    const alone = await Promise.all(settings.map((each) => replayReferences(file, each)));
    expect(reports.slice(1)).toEqual(alone.slice(1));
    expect({ ...reports[0], lines: 0, oddLines: 0, firstOddLine: 0 }).toEqual({
      ...alone[0],
      lines: 0,
      oddLines: 0,
      firstOddLine: 0,
    });
  });
});
