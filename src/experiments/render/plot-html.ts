/** One plot as a figure of a page: drawn for wide and for narrow screens, with its legend, and in words for those who cannot see it. */
import { counted } from "../../report/counted.ts";
import { escapeHtml } from "../../report/html-page.ts";
import type { Plot, Series } from "../base/experiment.ts";
import { legendSymbol } from "./plot-style.ts";
import { renderPlot } from "./plot-svg.ts";

/** The figure. The legend is text of the page, so that it wraps and never covers a symbol. */
export function plotFigure(plot: Plot): string {
  const { yName, yLog, series } = plot;
  const words = escapeHtml(`${plot.title}. ${plotSentence(plot)} ${plotSummary(series)}`);
  const drawn = (["wide", "narrow"] as const).map((size) =>
    renderPlot(plot, size).replace("<svg ", `<svg class="${size}" role="img" aria-label="${words}" `),
  );
  const entries = series.map(({ name }, i) => `<li>${legendSymbol(i)}${escapeHtml(name)}</li>`);
  return `<figure>
<p class="y-name narrow" aria-hidden="true">${escapeHtml(yLog ? `${yName} (log scale)` : yName)}</p>
${drawn.join("\n")}
<ul class="legend">
${entries.join("\n")}
</ul>
<figcaption>${escapeHtml(plotSentence(plot))}</figcaption>
</figure>`;
}

/** What is shown: both quantities with their units, the range of x, the curves. */
export function plotSentence({ xName, yName, xLog, yLog, series }: Plot): string {
  const values = series.flatMap(({ points }) => points);
  if (values.length === 0) return `Shown: ${yName} against ${xName}. There are no points.`;
  const xs = values.map(([x]) => x);
  const [least, most] = [Math.min(...xs), Math.max(...xs)];
  const range = least === most ? `at ${shown(least)}` : `from ${shown(least)} to ${shown(most)}`;
  const scale = (isLog: boolean) => (isLog ? " (log scale)" : "");
  const curves = series.map(({ name }) => name).join("; ");
  const leftOut = yLog ? values.filter(([, y]) => y <= 0).length : 0;
  const note = leftOut === 0 ? "" : ` Left out, as a log scale has no 0: ${counted(leftOut, "point")}.`;
  return `Shown: ${yName}${scale(yLog)}, against ${xName}${scale(xLog)}, ${range}. ${series.length === 1 ? "Curve" : "Curves"}: ${curves}.${note}`;
}

/** Each curve in words: where it begins and ends, and its extremes where they lie between. */
function plotSummary(series: readonly Series[]): string {
  return series.map((each) => `${each.name}: ${courseOf(each)}.`).join(" ");
}

function courseOf({ points }: Series): string {
  if (points.length === 0) return "no points";
  const [first, last] = [points[0], points[points.length - 1]];
  const at = ([x, y]: readonly [number, number]) => `${shown(y)} at ${shown(x)}`;
  if (points.length === 1) return at(first);
  const low = points.reduce((least, point) => (point[1] < least[1] ? point : least));
  const high = points.reduce((most, point) => (point[1] > most[1] ? point : most));
  const between = [
    low[1] < Math.min(first[1], last[1]) ? `, least ${at(low)}` : "",
    high[1] > Math.max(first[1], last[1]) ? `, most ${at(high)}` : "",
  ];
  return `from ${at(first)} to ${at(last)}${between.join("")}`;
}

function shown(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: 3 });
}
