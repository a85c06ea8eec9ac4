/** The result of an experiment as one HTML file that needs nothing else: its plots are SVG within it. */
import { figureCounts, figureSentence, figureValue } from "../../report/figures.ts";
import type { ExperimentResult, ResultTable } from "../base/experiment.ts";
import { renderPlot } from "./plot-svg.ts";

const STYLE = `body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 900px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 2px 10px; text-align: right; border-bottom: 1px solid #ddd; } th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #888; } svg { max-width: 100%; height: auto; } .inputs td, .inputs th { text-align: left; }
.wide { overflow-x: auto; }`;

/** The whole page. @param head what else its head holds */
export function renderHtml(result: ExperimentResult, head = ""): string {
  const { name, preset, seed, parameters, tables, plots, findings, inputs } = result;
  const given = Object.entries(parameters).map(
    ([key, value]) => `${key}: ${Array.isArray(value) ? value.join(", ") : value}`,
  );
  const inputTable = inputs.map((figure) => {
    const cells = [figure.name, figure.of, figureValue(figure), figure.basis, figure.source];
    return `<tr>${cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join("")}</tr>`;
  });
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(name)}</title>
${head}<style>
${STYLE}
</style>
</head>
<body>
<h1>${escapeHtml(name)}</h1>
<p>Preset ${escapeHtml(preset)}, seed ${seed}. ${escapeHtml(given.join("; "))}.</p>
<ul>
${findings.map((finding) => `<li>${escapeHtml(finding)}</li>`).join("\n")}
</ul>
${plots.map((plot) => `<h2>${escapeHtml(plot.title)}</h2>\n${renderPlot(plot)}`).join("\n")}
${tables.map(renderTable).join("\n")}
<h2>Inputs</h2>
<p>${figureSentence(figureCounts(inputs))}. No figure is fitted to a result.</p>
<table class="inputs">
<thead><tr><th>figure</th><th>of</th><th>value</th><th>basis</th><th>source</th></tr></thead>
<tbody>
${inputTable.join("\n")}
</tbody>
</table>
</body>
</html>
`;
}

function renderTable({ title, columns, rows }: ResultTable): string {
  const head = columns.map(({ heading }) => `<th>${escapeHtml(heading)}</th>`).join("");
  const body = rows.map((row) => `<tr>${row.map((value) => `<td>${escapeHtml(shown(value))}</td>`).join("")}</tr>`);
  return `<h2>${escapeHtml(title)}</h2>
<div class="wide"><table>
<thead><tr>${head}</tr></thead>
<tbody>
${body.join("\n")}
</tbody>
</table></div>`;
}

function shown(value: string | number): string {
  return typeof value === "number" ? value.toLocaleString("en-US", { maximumFractionDigits: 3 }) : value;
}

function escapeHtml(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}
