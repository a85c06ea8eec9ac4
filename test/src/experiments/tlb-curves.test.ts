/** What `tlb-curves` is meant to show: the sets and ways of a preset's TLBs, for each kind of access. */
import { describe, expect, it } from "vitest";
import { presetByName } from "../../../arch/index.ts";
import { EXPERIMENTS, runExperiment } from "../../../src/experiments/index.ts";
import { curves } from "../../arch/presets/silicon.ts";
import { rows } from "./small-runs.ts";

function curveRows(parameters: Record<string, string>) {
  const experiment = EXPERIMENTS.find(({ name }) => name === "tlb-curves");
  if (experiment === undefined) throw new Error("no tlb-curves");
  return rows(
    runExperiment(experiment, presetByName("sapphire-rapids"), 1, { orders: "2", ...parameters }),
    "tlb-curves",
  );
}

/** The first number of pages at which a curve misses more than a twentieth of its accesses. */
const firstMiss = (all: ReturnType<typeof curveRows>, access: string, stride: number) =>
  all.find((row) => row.access === access && row.stride === stride && Number(row.firstLevelMissPercent) > 5)?.pages;

describe("tlb-curves", () => {
  it("has the steps of fetches where a core has them (test/silicon/itlb.txt)", () => {
    for (const { stride, points } of curves("itlb.txt")) {
      const pages = points.map((point) => point.pages).filter((n) => n >= 8 && n <= 320);
      const measured = points.find((point) => point.pages >= 8 && point.ns > 0.7)?.pages;
      const all = curveRows({ accesses: "fetch", stride: String(stride), pages: pages.join(",") });
      // At stride 1 the core's time passes 0.7 ns a point after its misses begin.
      expect(firstMiss(all, "fetch", stride), `stride ${stride}`).toBe(measured);
    }
  });

  it("shows the first level of stores apart from that of loads, where the part has two", () => {
    const all = curveRows({ accesses: "load,store", stride: "1,16", pages: "6,8,15,16,17,96,97,128" });
    const preset = presetByName("sapphire-rapids");
    const entries = (kind: "load" | "store") =>
      preset.tlbs
        .filter(({ level, kinds, pageSizes }) => level === 1 && kinds.includes(kind) && pageSizes.includes("4K"))
        .reduce((sum, { sets, ways }) => sum + sets * ways, 0);
    expect(entries("store")).toBe(16);
    expect(firstMiss(all, "store", 1)).toBe(17);
    // All entries of the stores' TLB are one set: the distance does not matter.
    expect(firstMiss(all, "store", 16)).toBe(17);
    expect(entries("load")).toBe(96);
    expect([97, 128]).toContain(firstMiss(all, "load", 1));
    expect(firstMiss(all, "load", 16)).toBe(8);
  });

  it("costs a hit, a second-level hit or a walk, by what the pages fit into", () => {
    const { costs } = presetByName("sapphire-rapids");
    const [few, more, many] = curveRows({ accesses: "store", stride: "1", pages: "4,512,4096" });
    expect(few.cyclesPerAccess).toBe(costs.store.value);
    expect(more.cyclesPerAccess).toBeCloseTo(costs.store.value + costs.secondLevelHit.value, 1);
    expect(Number(many.walkPercent)).toBeGreaterThan(40);
  });
});
