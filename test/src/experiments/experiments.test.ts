import { describe, expect, it } from "vitest";
import { PRESETS, presetByName } from "../../../arch/index.ts";
import type { ExperimentResult, Value } from "../../../src/experiments/experiment.ts";
import { EXPERIMENTS, runExperiment } from "../../../src/experiments/index.ts";
import { renderHtml } from "../../../src/experiments/result-html.ts";
import { renderCsv, renderResult } from "../../../src/experiments/result-text.ts";

const SKYLAKE = presetByName("skylake");

/** Parameters with which each experiment takes little time. */
const SMALL: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "flush-cost": { cpus: "1,2,8,32", pages: "1,33,34", resident: "16", rounds: "1" },
  "flush-ceiling": { ceilings: "0,33,512", cpus: "2", munmaps: "60", resident: "128" },
  "lazy-threshold": { cpus: "1,8", lazymax: "0,256,8192", frees: "6000" },
  "vmap-contention": { cpus: "1,2,8,16", pairs: "1500" },
  "page-tables": { size: "64,1024", accesses: "20000" },
};

/** And with which they take next to none. */
const TINY: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "flush-cost": { cpus: "2", pages: "1" },
  "flush-ceiling": { ceilings: "33", munmaps: "3" },
  "lazy-threshold": { cpus: "1", lazymax: "256", frees: "300" },
  "vmap-contention": { cpus: "1", pairs: "50" },
  "page-tables": { size: "64", accesses: "500" },
};

function run(name: string, more: Readonly<Record<string, string>> = {}, seed = 1): ExperimentResult {
  const experiment = EXPERIMENTS.find((candidate) => candidate.name === name);
  if (experiment === undefined) throw new Error(`no experiment ${name}`);
  return runExperiment(experiment, SKYLAKE, seed, { ...SMALL[name], ...more });
}

/** Rows of a table as objects. */
function rows(result: ExperimentResult, table: string): Record<string, Value>[] {
  const found = result.tables.find(({ name }) => name === table);
  if (found === undefined) throw new Error(`no table ${table}`);
  return found.rows.map((row) => Object.fromEntries(found.columns.map(({ key }, i) => [key, row[i]])));
}

function column(list: readonly Record<string, Value>[], key: string): number[] {
  return list.map((row) => Number(row[key]));
}

describe("experiments", () => {
  it.each(EXPERIMENTS.map(({ name }) => name))("%s gives the same bytes twice, in every form", (name) => {
    const [first, second] = [run(name), run(name)];
    for (const render of [renderResult, renderCsv, renderHtml, JSON.stringify]) {
      expect(render(second)).toBe(render(first));
    }
    expect(renderHtml(first)).toContain("<svg");
    expect(renderHtml(first)).not.toMatch(/<script|src=|href="http/);
    expect(renderCsv(first).split("\r\n")[first.tables.length > 1 ? 1 : 0].split(",")).toHaveLength(
      first.tables[0].columns.length,
    );
  });

  it.each(PRESETS.map(({ name }) => name))("run on the preset %s", (name) => {
    for (const experiment of EXPERIMENTS) {
      const small = { ...SMALL[experiment.name], ...TINY[experiment.name] };
      const result = runExperiment(experiment, presetByName(name), 1, small);
      for (const table of result.tables)
        expect(table.rows.length, `${experiment.name}, ${table.name}`).toBeGreaterThan(0);
    }
  });

  it("say why a table is empty", () => {
    const noWhole = run("page-tables", { size: "512", pages: "1G" });
    expect(noWhole.tables[0].rows).toEqual([]);
    expect(noWhole.findings).toEqual(["1G is left out for 512 MiB, which no whole number of such pages makes."]);
    const noInvlpgb = run("flush-cost", { policies: "invlpgb", cpus: "2" });
    expect(noInvlpgb.tables[0].rows).toEqual([]);
    expect(noInvlpgb.findings[0]).toMatch(/^invlpgb is left out: skylake has no INVLPGB/);
  });

  it("say which figures they rest on, each with its source", () => {
    const { inputs } = run("flush-cost", { cpus: "1", pages: "1" });
    expect(inputs.every(({ source }) => source !== "")).toBe(true);
    expect(inputs.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["skylake.invlpg", "kernel.ipi.latencyCycles"]),
    );
  });
});

describe("flush-cost", () => {
  const result = run("flush-cost");

  it("shows a whole flush above the ceiling of 33 pages, with refills of every CPU's resident pages", () => {
    for (const row of rows(result, "flushes")) {
      if (row.policy !== "ipi") continue;
      expect(row.flushes).toBe(Number(row.pages) > 33 ? "whole TLB" : "page by page");
      if (Number(row.pages) <= 33) expect(row.refillCycles).toBe(0);
      else expect(Number(row.refillCycles) / Number(row.cpus)).toBeGreaterThan(16 * 20);
    }
  });

  it("grows with the number of CPUs: work, wait and stolen cycles", () => {
    const own = rows(result, "flushes").filter((row) => row.policy === "ipi" && row.pages === 1);
    for (const part of ["workCycles", "waitCycles", "stolenCycles"]) {
      const values = column(own, part);
      expect(values).toEqual([...values].sort((a, b) => a - b));
      expect(values[3]).toBeGreaterThan(values[1]);
    }
  });

  it("shows eager vunmap growing steeply with CPUs while lazy vunmap stays flat beside it", () => {
    const of = (policy: string) =>
      column(
        rows(result, "vunmaps").filter((row) => row.policy === policy),
        "totalCycles",
      );
    const [eager, lazy] = [of("eager"), of("ipi")];
    expect(eager[3] - eager[0]).toBeGreaterThan(1000 * (lazy[3] - lazy[0]));
    expect(Math.max(...lazy)).toBeLessThan(eager[0] / 10);
  });

  it("shows munmap under invlpgb flat once the address space has a global ASID, from four CPUs on", () => {
    const amd = presetByName("zen4");
    const own = runExperiment(EXPERIMENTS[0], amd, 1, {
      ...SMALL["flush-cost"],
      cpus: "2,4,8,32",
      policies: "ipi,invlpgb",
    });
    const of = (policy: string, key: string) =>
      column(
        rows(own, "munmaps").filter((row) => row.policy === policy),
        key,
      );
    expect(of("invlpgb", "interruptedCpus")).toEqual([1, 0, 0, 0]);
    expect(of("ipi", "interruptedCpus")).toEqual([1, 3, 7, 31]);
    const [, four, , many] = of("invlpgb", "totalCycles");
    expect(many).toBe(four);
    const interrupts = of("ipi", "totalCycles");
    expect(interrupts[3]).toBeGreaterThan(5 * interrupts[1]);
  });

  it("leaves isolated CPUs in user mode alone under the policy deferred", () => {
    const deferred = rows(result, "flushes").filter((row) => row.policy === "deferred" && row.pages === 1);
    expect(column(deferred, "waitCycles")).toEqual([0, 0, 0, 0]);
    expect(column(deferred, "refillCycles")[3]).toBeGreaterThan(0);
  });

  it("uses INVLPGB where the preset has it, and says where it has not", () => {
    expect(result.findings[0]).toContain("skylake has no INVLPGB");
    const amd = PRESETS.find(({ features }) => features.invlpgb);
    if (amd === undefined) return;
    const experiment = EXPERIMENTS[0];
    const own = runExperiment(experiment, amd, 1, { ...SMALL["flush-cost"], policies: "invlpgb" });
    const stolen = column(rows(own, "flushes"), "stolenCycles");
    expect(Math.max(...stolen)).toBe(0);
    expect(Math.max(...column(rows(own, "flushes"), "workCycles"))).toBeGreaterThan(0);
  });
});

describe("flush-ceiling", () => {
  const result = run("flush-ceiling");

  it("trades refills for single invalidations as the ceiling grows", () => {
    const cells = rows(result, "ceilings");
    const refills = column(cells, "refillCycles");
    const work = column(cells, "workCycles");
    expect(refills[0]).toBeGreaterThan(refills[1]);
    expect(refills[1]).toBeGreaterThan(refills[2]);
    expect(work[2]).toBeGreaterThan(work[1]);
    expect(column(cells, "wholeFlushes")[2]).toBe(0);
  });

  it("finds a flush of a full 512-entry TLB to cost about as much as 85 single invalidations, refills included", () => {
    const [quick, middle, slow] = column(rows(result, "break-even"), "worthInvlpg");
    // Walks of 25, 30 and 35 cycles: the range in which hot walks are remembered to lie, and its middle.
    expect(quick).toBeGreaterThan(60);
    expect(quick).toBeLessThan(85);
    expect(middle).toBeGreaterThan(78);
    expect(middle).toBeLessThan(92);
    expect(slow).toBeGreaterThan(85);
    expect(slow).toBeLessThan(110);
    // By hand: (INVPCID of everything + 512 walks) / INVLPG.
    const { invpcidAll, invlpg } = SKYLAKE.costs;
    expect(middle).toBeCloseTo((invpcidAll.value + 512 * 30) / invlpg.value, 0);
  });
});

describe("lazy-threshold", () => {
  it("shows a free getting cheaper and more being held back as lazy_max_pages grows", () => {
    for (const cpus of [1, 8]) {
      const own = rows(run("lazy-threshold"), "thresholds").filter((row) => row.cpus === cpus);
      const total = column(own, "totalCycles").slice(0, 3);
      const held = column(own, "heldBackMeanKiB");
      expect(total).toEqual([...total].sort((a, b) => b - a));
      expect(held).toEqual([...held].sort((a, b) => a - b));
    }
  });
});

describe("vmap-contention", () => {
  it("shows one node and one node a CPU diverging from two CPUs on", () => {
    const cells = rows(run("vmap-contention"), "contention");
    const one = column(
      cells.filter((row) => row.setting === "one node"),
      "pairsPerSecond",
    );
    const many = column(
      cells.filter((row) => row.setting === "one a CPU"),
      "pairsPerSecond",
    );
    expect(many[0]).toBe(one[0]);
    expect(many[1] / one[1]).toBeGreaterThan(1.05);
    expect(many[2] / one[2]).toBeGreaterThan(many[1] / one[1]);
    expect(many[3] / one[3]).toBeGreaterThan(many[2] / one[2]);
  });
});

describe("page-tables", () => {
  it("counts the tables that each page size and level needs, and the walks that they save", () => {
    const cells = rows(run("page-tables"), "page-tables").filter((row) => row.pattern === "random");
    const cell = (sizeMiB: number, page: string, levels: number) =>
      cells.find((row) => row.sizeMiB === sizeMiB && row.page === page && row.levels === levels);
    expect(cell(1024, "4K", 4)?.tablePages).toBe(512 + 3);
    expect(cell(1024, "2M", 4)?.tablePages).toBe(3);
    expect(cell(1024, "1G", 5)?.tablePages).toBe(3);
    expect(Number(cell(1024, "4K", 4)?.walkCyclesPerAccess)).toBeGreaterThan(
      Number(cell(64, "4K", 4)?.walkCyclesPerAccess),
    );
    expect(cell(1024, "1G", 4)?.missPercent).toBe(0);
    // A walk right after a flush reads every level; a fifth one costs a fetch more, and larger pages save one each.
    const cold = (page: string, levels: number) => Number(cell(1024, page, levels)?.coldWalkCycles);
    expect(cold("4K", 5)).toBeGreaterThan(cold("4K", 4));
    expect(cold("2M", 4)).toBeLessThan(cold("4K", 4));
    expect(cold("1G", 4)).toBeLessThan(cold("2M", 4));
    expect(cell(64, "1G", 4)).toBeUndefined();
  });
});
