import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { ExperimentResult } from "../../../src/experiments/base/experiment.ts";
import { EXPERIMENTS, findExperiment } from "../../../src/experiments/index.ts";
import { plotFigure, plotSentence } from "../../../src/experiments/render/plot-html.ts";
import { renderHtml } from "../../../src/experiments/render/result-html.ts";
import { renderCsv, renderResult } from "../../../src/experiments/render/result-text.ts";
import { escapeHtml, PAGE_COLOURS } from "../../../src/report/html-page.ts";
import { ROOT } from "../../source-files.ts";
import { run, TINY } from "./small-runs.ts";

/** Plots follow the screen's scheme and width and are told in words; every table scrolls in a box of its own. */
function expectReadable(html: string): void {
  const body = html.slice(html.indexOf("<body>") + 1);
  expect(body.match(/(fill|stroke)="(#|rgb|white|black)/)).toBeNull();
  expect(body).not.toContain("<clipPath");
  expect(body.match(/<svg (?!class="(wide|narrow)" role="img" aria-label="[^"]+"|[^>]*aria-hidden="true")/)).toBeNull();
  expect(body.match(/<svg class="wide"/g)?.length).toBe(body.match(/<svg class="narrow"/g)?.length);
  const boxed = /<div class="scroll" role="region" tabindex="0" aria-label="[^"]+"><table>/g;
  expect(body.match(/<table/g)?.length).toBe(body.match(boxed)?.length);
}

describe("plots of a page", () => {
  const plot = {
    title: "Cost of a flush",
    xName: "CPUs",
    yName: "cycles per flush",
    xLog: true,
    yLog: true,
    series: [
      {
        name: "ipi & <wait>",
        points: [
          [1, 1000],
          [4, 9000],
          [16, 4000],
        ] as const,
      },
      {
        name: "deferred",
        points: [
          [1, 0],
          [16, 2500.5],
        ] as const,
      },
    ],
  };

  it("say what was measured, in which range, and what a log scale leaves out", () => {
    expect(plotSentence(plot)).toBe(
      "Shown: cycles per flush (log scale), against CPUs (log scale), from 1 to 16. Curves: ipi & <wait>; deferred." +
        " Left out, as a log scale has no 0: 1 point.",
    );
  });

  it("have the course of each curve as alternative text, and a legend that is text", () => {
    const figure = plotFigure(plot);
    expectReadable(figure);
    expect(figure).toContain("ipi &amp; &lt;wait&gt;: from 1,000 at 1 to 4,000 at 16, most 9,000 at 4.");
    expect(figure).toContain("deferred: from 0 at 1 to 2,500.5 at 16.");
    expect(figure).toMatch(/<li><svg .*?<\/svg>ipi &amp; &lt;wait&gt;<\/li>\n<li>/);
  });

  it("have the colours of the page of mmulab view, light and dark", () => {
    const css = readFileSync(join(ROOT, "src/view/page/style.css"), "utf8");
    const [light, dark] = css.split("@media (prefers-color-scheme: dark)");
    for (const colour of Object.values(PAGE_COLOURS)) {
      expect(light).toContain(`${colour.property}: ${colour.light};`);
      expect(dark).toContain(`${colour.property}: ${colour.dark};`);
    }
    const html = renderHtml(run("page-tables"), findExperiment("page-tables"));
    expect(html).toMatch(/@media \(prefers-color-scheme: dark\) { :root {[^}]*--page: #14161a;/);
  });
});

describe("experiments", () => {
  it.each(EXPERIMENTS.map(({ name }) => name))("%s gives the same bytes twice, in every form", (name) => {
    const [first, second] = [run(name), run(name)];
    const experiment = findExperiment(name);
    const page = (result: ExperimentResult) => renderHtml(result, experiment);
    for (const render of [renderResult, renderCsv, page, JSON.stringify]) {
      expect(render(second)).toBe(render(first));
    }
    const html = page(first);
    expect(html.match(/<figure>/g) ?? []).toHaveLength(first.plots.length);
    expect(html).not.toMatch(/<script|src=|href="http/);
    expectReadable(html);
    expect(html).toContain(escapeHtml(experiment.summary));
    expect(html).toContain(escapeHtml(experiment.description));
    for (const plot of first.plots) expect(html).toContain(`<figcaption>${escapeHtml(plotSentence(plot))}`);
    expect(renderCsv(first).split("\r\n")[first.tables.length > 1 ? 1 : 0].split(",")).toHaveLength(
      first.tables[0].columns.length,
    );
  });

  it.each(EXPERIMENTS.map(({ name }) => name))("%s says the unit of each column of cycles, times and parts", (name) => {
    const units: readonly (readonly [RegExp, RegExp])[] = [
      [/Cycles/, /cycles/],
      [/Usec/, /\bus\b/],
      [/(?:Ns|Nanoseconds)(?:Per|$)/, /\bns\b/],
      [/Percent/, /%/],
      [/PerSecond/, /\/s\b/],
    ];
    for (const { title, columns } of run(name).tables) {
      for (const { key, heading } of columns) {
        const text = `${heading}; ${title}`;
        for (const [of, unit] of units) if (of.test(key)) expect(text, `${key} of ${name}`).toMatch(unit);
      }
    }
  });

  it("link each row into the page where the page can show its point, and no other", () => {
    const experiment = findExperiment("flush-cost");
    const note = "Rows link to the page.";
    const urlOf = (point: string) => (point.startsWith("0") ? `http://127.0.0.1:1/#point=${point}&seed=1` : null);
    const whyNone = "Rows do not link to the page.";
    const html = renderHtml(run("flush-cost", { cpus: "1,2" }), experiment, "", { note, whyNone, urlOf });
    expectReadable(html);
    expect(html).toContain(note);
    expect(html).toContain(
      `<a href="http://127.0.0.1:1/#point=0.1&amp;seed=1" aria-label="open this point, row 2">open this point</a>`,
    );
    expect(html.match(/<a href/g)).toHaveLength(3);
    expect(html).not.toContain(whyNone);
    const without = renderHtml(run("flush-cost", { cpus: "1" }), experiment, "", { note, whyNone, urlOf: () => null });
    expect([without.includes(whyNone), without.includes(note)]).toEqual([true, false]);
  });

  it("say why a table is empty", () => {
    const noWhole = run("page-tables", { size: "512", pages: "1G" });
    expect(noWhole.tables[0].rows).toEqual([]);
    expect(noWhole.findings).toEqual(["1G is left out for 512 MiB, which no whole number of such pages makes."]);
    const noInvlpgb = run("flush-cost", { policies: "invlpgb", cpus: "2" });
    expect(noInvlpgb.tables[0].rows).toEqual([]);
    expect(noInvlpgb.findings[0]).toMatch(/^invlpgb is left out: skylake has no INVLPGB/);
  });

  it.each(["page-tables", "tlb-curves", "walk-overlap", "nested-walk", "fracture"])(
    "%s, whose machines have no kernel, rests on no figure of one",
    (name) => {
      const names = run(name, TINY[name]).inputs.map((input) => input.name);
      expect(names).toContain("costs.walk");
      expect(names.filter((each) => /^(kernel|hypervisor)\./.test(each))).toEqual([]);
    },
  );

  it("say which figures they rest on, each with its source", () => {
    const { inputs } = run("flush-cost", { cpus: "1", pages: "1" });
    expect(inputs.every(({ source }) => source !== "")).toBe(true);
    expect(inputs.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["costs.invlpg", "lineTransfers.socket", "kernel.ipi.latencyCycles.0"]),
    );
  });
});
