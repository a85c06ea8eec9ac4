/** The result of an experiment as one HTML file that needs nothing else: its plots are SVG within it. */
import { figureCounts, figureSentence, figureValue } from "../../report/figures.ts";
import { escapeHtml, htmlList, htmlPage, htmlTable } from "../../report/html-page.ts";
import type { Experiment, ExperimentResult, ResultTable } from "../base/experiment.ts";
import { plotFigure } from "./plot-html.ts";

const INPUT_COLUMNS = ["figure", "of", "value", "basis", "source"].map((heading) => ({ heading, isNumber: false }));

/**
 * The whole page.
 * @param about what was measured, in the experiment's own words
 * @param head what else its head holds
 */
export function renderHtml(
  result: ExperimentResult,
  about: Pick<Experiment, "summary" | "description">,
  head = "",
): string {
  const { name, preset, seed, parameters, tables, plots, findings, inputs } = result;
  const given = Object.entries(parameters).map(
    ([key, value]) => `${key}: ${Array.isArray(value) ? value.join(", ") : value}`,
  );
  const figures = inputs.map((figure) => [figure.name, figure.of, figureValue(figure), figure.basis, figure.source]);
  const body = `<h1>${escapeHtml(name)}</h1>
<p class="measured"><strong>Measured on emulated machines:</strong> ${escapeHtml(about.summary)}.</p>
<p>${escapeHtml(about.description)}</p>
<p class="quiet">Preset ${escapeHtml(preset)}, seed ${seed}. ${escapeHtml(given.join("; "))}.</p>
<h2>Findings</h2>
${htmlList(findings)}
${plots.map((plot) => `<h2>${escapeHtml(plot.title)}</h2>\n${plotFigure(plot)}`).join("\n")}
${tables.map(renderTable).join("\n")}
<h2>Inputs</h2>
<p>${figureSentence(figureCounts(inputs))}. No figure is fitted to a result.</p>
${htmlTable("Inputs", INPUT_COLUMNS, figures)}`;
  return htmlPage(name, head, body);
}

function renderTable({ title, columns, rows }: ResultTable): string {
  const kinds = columns.map(({ heading }, i) => ({ heading, isNumber: i > 0 }));
  return `<h2>${escapeHtml(title)}</h2>\n${htmlTable(
    title,
    kinds,
    rows.map((row) => row.map(shown)),
  )}`;
}

function shown(value: string | number): string {
  return typeof value === "number" ? value.toLocaleString("en-US", { maximumFractionDigits: 3 }) : value;
}
