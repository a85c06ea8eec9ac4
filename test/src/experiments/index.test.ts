import { describe, expect, it } from "vitest";
import { PRESETS, presetByName } from "../../../arch/index.ts";
import { EXPERIMENTS, runExperiment } from "../../../src/experiments/index.ts";
import { renderHtml } from "../../../src/experiments/render/result-html.ts";
import { renderCsv, renderResult } from "../../../src/experiments/render/result-text.ts";
import { run, SMALL, TINY } from "./small-runs.ts";

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
      expect.arrayContaining(["costs.invlpg", "lineTransfers.socket", "kernel.ipi.latencyCycles.0"]),
    );
  });
});
