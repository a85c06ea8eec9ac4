/** The report of a calibration: one HTML page that needs nothing else, for light and dark screens. */
import { figuresOf, type Preset } from "../../arch/index.ts";
import { renderPlot } from "../experiments/render/plot-svg.ts";
import { figureCounts, figureSentence, figureValue } from "../report/figures.ts";
import type { Calibration } from "./calibration.ts";
import type { MeasuredCurves } from "./curves.ts";
import { type ComparedCurve, relativeDifference } from "./emulated-curves.ts";
import type { Findings } from "./findings.ts";

/** What a report shows. */
export interface ReportContent {
  readonly calibration: Calibration;
  readonly curves: MeasuredCurves;
  readonly compared: readonly ComparedCurve[];
  readonly findings: Findings;
  readonly preset: Preset;
  /** The program and its version, the seed: what would make it again. */
  readonly provenance: string;
  /** What else the page's head holds. */
  readonly head: string;
}

/** Plots are drawn for a light page; on a dark one their lightness is turned round and their hues stay. */
const STYLE = `:root { color-scheme: light dark; --text: #222; --back: #fff; --line: #ddd; }
@media (prefers-color-scheme: dark) { :root { --text: #ddd; --back: #181818; --line: #444; } svg { filter: invert(0.91) hue-rotate(180deg); } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); max-width: 900px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 2px 10px; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, th.number { text-align: right; }
.wide { overflow-x: auto; } svg { max-width: 100%; height: auto; }`;

/** The whole page. */
export function renderCalibration({
  calibration,
  curves,
  compared,
  findings,
  preset,
  provenance,
  head,
}: ReportContent): string {
  const figures = figuresOf(preset);
  const off = (relativeDifference(compared) * 100).toFixed(1);
  const { processor, madeBy } = curves.origin;
  const measuredBy = madeBy === "" ? "" : ` Curves measured by ${madeBy}.`;
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Calibration</title>
${head}<style>
${STYLE}
</style>
</head>
<body>
<h1>${escapeHtml(processor === "" ? "Calibration" : processor)}</h1>
<p>${escapeHtml(provenance)}.${escapeHtml(measuredBy)} ${escapeHtml(figureSentence(figureCounts(figures)))}.</p>
<h2>Found</h2>
<ul>
${listItems(findings.found)}
</ul>
<h2>Not measured</h2>
<ul>
${listItems(findings.notMeasured)}
</ul>
<h2>Curves, measured beside emulated</h2>
<p>Dependent loads, one a page, in random cyclic orders. The preset's times differ from those measured by ${off} % (root mean square
over all points shown). Beyond ${lastEmulated(compared)} pages the data itself leaves the first-level data cache, which the emulator does not follow.</p>
${compared.map(plotOf).join("\n")}
${walkTable(calibration)}
<h2>Figures of the preset</h2>
<div class="wide"><table>
<thead><tr><th>figure</th><th>value</th><th>basis</th><th>source</th></tr></thead>
<tbody>
${figures.map((each) => rowOf([`${each.name}${each.of === "" ? "" : `, ${each.of}`}`, figureValue(each), each.basis, each.source])).join("\n")}
</tbody>
</table></div>
</body>
</html>
`;
}

function listItems(sentences: readonly string[]): string {
  return sentences.map((sentence) => `<li>${escapeHtml(sentence)}</li>`).join("\n");
}

function lastEmulated(compared: readonly ComparedCurve[]): number {
  return Math.max(0, ...compared.flatMap(({ emulated }) => emulated.map(({ pages }) => pages)));
}

function plotOf({ stride, measured, emulated }: ComparedCurve): string {
  const title = `Pages ${stride} apart`;
  const points = (of: ComparedCurve["measured"]) => of.map(({ pages, ns }): [number, number] => [pages, ns]);
  const svg = renderPlot({
    title,
    xName: "pages",
    yName: "ns a load",
    xLog: true,
    yLog: true,
    series: [
      { name: "measured", points: points(measured) },
      { name: "emulated with the preset", points: points(emulated) },
    ],
  });
  return `<h3>${title}</h3>\n${svg}`;
}

function walkTable({ walks, ghz }: Calibration): string {
  if (walks.length === 0) return "";
  const rows = walks.map(({ stride, pages, tables, directories, walkNs }) => {
    const numbers = [stride, pages, tables, directories, walkNs.toFixed(1), (walkNs * ghz).toFixed(0)];
    return `<tr>${numbers.map((value) => `<td class="number">${value}</td>`).join("")}</tr>`;
  });
  const heads = ["stride", "pages", "page tables", "page directories", "ns", "cycles"];
  return `<h2>Walks by footprint</h2>
<p>What a load that walks takes beyond one that the first level translates.</p>
<table>
<thead><tr>${heads.map((head) => `<th class="number">${head}</th>`).join("")}</tr></thead>
<tbody>
${rows.join("\n")}
</tbody>
</table>`;
}

function rowOf(cells: readonly string[]): string {
  return `<tr>${cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join("")}</tr>`;
}

function escapeHtml(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}
