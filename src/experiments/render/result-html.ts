/** The result of an experiment as one HTML file that needs nothing else: its plots are SVG within it. */
import { figureCounts, figureSentence, figureValue } from "../../report/figures.ts";
import { escapeHtml, htmlList, htmlPage, htmlTable } from "../../report/html-page.ts";
import { columnText } from "../../report/numbers.ts";
import type { Experiment, ExperimentResult, InputFigure, ResultTable } from "../base/experiment.ts";
import { inputsByUse, othersSentence, usedSentence } from "./inputs.ts";
import { plotFigure } from "./plot-html.ts";

/** The page that shows a point step by step. */
export interface PageLinks {
  /** How one gets there, in words. */
  readonly note: string;
  /** Why no row has a link, for reports in which none has. */
  readonly whyNone: string;
  /** The address of a point; null when the page cannot show it. */
  urlOf(point: string): string | null;
}

const INPUT_COLUMNS = ["figure", "of", "value", "basis", "source"].map((heading) => ({ heading, isNumber: false }));

/**
 * The whole page.
 * @param about what was measured, in the experiment's own words
 * @param head what else its head holds
 * @param page where the page is that shows points step by step; null: nothing is linked to, and nothing said of it
 */
export function renderHtml(
  result: ExperimentResult,
  about: Pick<Experiment, "summary" | "description">,
  head = "",
  page: PageLinks | null = null,
): string {
  const { name, preset, seed, parameters, tables, plots, findings, inputs } = result;
  const given = Object.entries(parameters).map(
    ([key, value]) => `${key}: ${Array.isArray(value) ? value.join(", ") : value}`,
  );
  const body = `<h1>${escapeHtml(name)}</h1>
<p class="measured"><strong>Measured on emulated machines:</strong> ${escapeHtml(about.summary)}.</p>
<p>${escapeHtml(about.description)}</p>
<p class="quiet">Preset ${escapeHtml(preset)}, seed ${seed}. ${escapeHtml(given.join("; "))}.</p>
<h2>Findings</h2>
${htmlList(findings)}
${plots.map((plot) => `<h2>${escapeHtml(plot.title)}</h2>\n${plotFigure(plot)}`).join("\n")}
${page === null ? "" : `<p class="quiet">${escapeHtml(linkNote(tables, page))}</p>\n`}${tables.map((table) => renderTable(table, page)).join("\n")}
${renderInputs(inputs)}`;
  return htmlPage(name, head, body);
}

/** All figures; those that were used first where that was noted. */
function renderInputs(inputs: readonly InputFigure[]): string {
  const { used, others } = inputsByUse(inputs);
  const section = (title: string, sentence: string, figures: readonly InputFigure[]): string =>
    `<h2>${title}</h2>\n<p>${escapeHtml(sentence)}</p>\n${htmlTable(
      title,
      INPUT_COLUMNS,
      figures.map((figure) => [figure.name, figure.of, figureValue(figure), figure.basis, figure.source]),
    )}`;
  if (used.length === 0) {
    return section("Inputs", `${figureSentence(figureCounts(inputs))}. No figure is fitted to a result.`, inputs);
  }
  return `${section("Inputs", usedSentence(used), used)}\n${section("Not used", othersSentence(others), others)}`;
}

function linkNote(tables: readonly ResultTable[], page: PageLinks): string {
  return tables.some((table) => linksOf(table, page).some((url) => url !== null)) ? page.note : page.whyNone;
}

/** The address of each row's point, where it has one. */
function linksOf({ points }: ResultTable, page: PageLinks): (string | null)[] {
  return (points ?? []).map((point) => (point === null ? null : page.urlOf(point)));
}

function renderTable(table: ResultTable, page: PageLinks | null): string {
  const { title, columns, rows } = table;
  const kinds = columns.map(({ heading }, i) => ({
    heading,
    isNumber: i > 0 || rows.every(([first]) => typeof first === "number"),
  }));
  const texts = columns.map((_, i) => columnText(rows.map((row) => row[i])));
  const urls = page === null ? [] : linksOf(table, page);
  const links = urls.some((url) => url !== null) ? { heading: "page", text: "open this point", urls } : null;
  return `<h2>${escapeHtml(title)}</h2>\n${htmlTable(
    title,
    kinds,
    rows.map((row) => row.map((value, i) => texts[i](value))),
    links,
  )}`;
}
