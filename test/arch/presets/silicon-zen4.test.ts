/** The preset of Zen 4 beside what an EPYC of that kind did (`test/silicon/zen4`; its README says how it was measured). */
import { describe, expect, it } from "vitest";
import { presetByName } from "../../../arch/index.ts";
import { type ReplacementName, replacementPolicy } from "../../../arch/presets/replacement/index.ts";
import { afterUse } from "../../../arch/presets/replacement/policy.ts";
import { type Random, randomStream } from "../../../src/machine/random.ts";
import { cpuWith, curves, evictionRuns, linesOf, type SetCurve, setCurves } from "./silicon.ts";

const PRESET = "zen4";
/** Nanoseconds of a dependent load that the first level translates, of one that the second does, and of one that walks. */
const FIRST_LEVEL_NS = 1.08;
const SECOND_LEVEL_NS = 2.975;
const WALK_NS = 14.2;
const GIGAHERTZ = 3.698;
/** Strides at which walks cost about the same, whatever of the tables is cached, up to so many pages. */
const STRIDES = [1, 2, 16, 32, 64, 513, 1025];
const PAGES_MAX = 256;
/** From 73 to 80 pages the core's first level misses less often than LRU: how it replaces is not known. */
const isOpen = (pages: number) => pages > 72 && pages <= 80;
/** Pages between two visits of `sets.txt`, which empty the first level. */
const FILLERS = 80;
/** The set of the second level that is visited there, between whose pages and the fillers' no index that was measured is shared. */
const SET = 100;
/** What a visit takes longer that walks. */
const SET_WALK_NS = 10.8;

function shuffled(count: number, random: Random): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = random.between(0, i);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** What a load takes on average by how many of them miss the first level and walk: the least of three cyclic orders. */
function loadNs(pages: number, stride: number): number {
  const cpu = cpuWith(PRESET, pages, stride);
  const random = randomStream(pages);
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 3; i++) {
    const order = shuffled(pages, random);
    const visit = (rounds: number) => {
      for (let r = 0; r < rounds; r++) for (const page of order) cpu.load(page * stride * 4096, 4);
    };
    visit(6);
    const before = cpu.counters();
    visit(4);
    const after = cpu.counters();
    const part = (name: "stlb_hit" | "walk_completed") =>
      (after[`dtlb_load_misses.${name}`] - before[`dtlb_load_misses.${name}`]) / (4 * pages);
    const [hits, walks] = [part("stlb_hit"), part("walk_completed")];
    least = Math.min(least, (1 - hits - walks) * FIRST_LEVEL_NS + hits * SECOND_LEVEL_NS + walks * WALK_NS);
  }
  return least;
}

/** Page numbers of a curve of `sets.txt`: all of one set by the low seven bits. */
function pagesOf({ field, value }: SetCurve, count: number): number[] {
  const isEven = (bits: number): boolean => bits === 0 || (bits % 2 === 0) === isEven(bits >>> 1);
  const numbers: number[] = [];
  for (let i = 0; numbers.length < count; i++) {
    if (field === "stride") numbers.push(i * value);
    else if (isEven(i & value)) numbers.push(128 * i);
  }
  return numbers.map((number) => number + SET);
}

/** Part of the visits that walk. */
function walkedPart(curve: SetCurve, count: number): number {
  const pages = pagesOf(curve, count);
  const cpu = cpuWith(PRESET, Math.max(...pages) + 1, 1);
  const random = randomStream(count);
  const visit = (order: readonly number[], rounds: number) => {
    for (let r = 0; r < rounds; r++) {
      for (const index of order) {
        for (let filler = 0; filler < FILLERS; filler++) cpu.load(filler * 4096, 4);
        cpu.load(pages[index] * 4096, 4);
      }
    }
  };
  // As on the core, something else was visited before.
  visit(shuffled(count, random), 2);
  const order = shuffled(count, random);
  visit(order, 3);
  const before = cpu.counters()["dtlb_load_misses.walk_completed"];
  visit(order, 4);
  return (cpu.counters()["dtlb_load_misses.walk_completed"] - before) / (4 * count);
}

describe("the preset of Zen 4 and an EPYC", () => {
  it("take as long for a load of 64 to 256 pages, but for 73 to 80", () => {
    const errors: string[] = [];
    let points = 0;
    for (const { stride, points: all } of curves("zen4/loads.txt")) {
      for (const { pages, ns } of all) {
        if (!STRIDES.includes(stride) || pages < 64 || pages > PAGES_MAX || isOpen(pages)) continue;
        points++;
        const error = loadNs(pages, stride) / ns - 1;
        if (Math.abs(error) > 0.25) errors.push(`stride ${stride}, ${pages} pages: ${(100 * error).toFixed(0)} %`);
      }
    }
    expect(points).toBeGreaterThan(50);
    expect(errors).toEqual([]);
  });

  it("let twelve pages live in a set of the second level, whose index has bits 6:0 and 9 of the page number", () => {
    const all = setCurves("zen4/sets.txt");
    expect(all).toHaveLength(linesOf("zen4/sets.txt").length);
    for (const curve of all) {
      for (const { pages, ns } of curve.points) {
        const measured = Math.min(1, ns / SET_WALK_NS);
        const error = Math.abs(walkedPart(curve, pages) - measured);
        expect(error, `${curve.field} ${curve.value}, ${pages} pages`).toBeLessThan(0.3);
      }
    }
  });

  it("evict the same ways of the second level, once all have been used", () => {
    const named = presetByName(PRESET).tlbs.find(({ name }) => name === "L2 dTLB");
    const { hitUse, fillUse, victims } = replacementPolicy(named?.replacement as ReplacementName, 12);
    let evictions = 0;
    for (const run of evictionRuns("zen4/l2-evictions.txt")) {
      const used = new Set<number>();
      let state = 0;
      for (const { way, isFill } of run) {
        if (isFill && used.size === 12) {
          expect(way, `eviction ${evictions}`).toBe(victims?.[state]);
          evictions++;
        }
        used.add(way);
        state = afterUse(state, (isFill ? fillUse : hitUse)[way]);
      }
    }
    expect(evictions).toBeGreaterThan(1500);
  });

  it("have the same hits", () => {
    const { costs, dataCaches } = presetByName(PRESET);
    expect(dataCaches[0].hitCycles.value).toBe(Math.round(FIRST_LEVEL_NS * GIGAHERTZ));
    expect(costs.secondLevelHit.value).toBe(Math.round((SECOND_LEVEL_NS - FIRST_LEVEL_NS) * GIGAHERTZ));
  });
});
