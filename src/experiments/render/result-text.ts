/** Results of experiments for people, and as CSV. */
import { figureCounts, figureSentence } from "../../report/figures.ts";
import { renderFigures } from "../../report/preset-tables.ts";
import { renderTable } from "../../report/tables.ts";
import type { ExperimentResult, Value } from "../base/experiment.ts";

/** Tables and findings; ends with a newline. */
export function renderResult(result: ExperimentResult): string {
  const { name, preset, seed, parameters, tables, findings } = result;
  const given = Object.entries(parameters).map(
    ([key, value]) => `${key} ${Array.isArray(value) ? value.join(",") : value}`,
  );
  const head = `${name}: preset ${preset}, seed ${seed}\n  ${given.join("; ")}\n`;
  const body = tables.map(({ title, columns, rows }) => {
    const headings = columns.map(({ heading }) => heading);
    return `\n${title}\n${renderTable(headings, rows)}`;
  });
  const said = findings.map((finding) => `  ${finding}\n`);
  const counts = figureSentence(figureCounts(result.inputs));
  const note = `  ${counts}. --inputs, --json and --html show them.\n`;
  return `${head}${body.join("")}\nFindings\n${said.join("")}${note}`;
}

/** Every figure of the machines that were measured, and how it is known; ends with a newline. */
export function renderInputs({ inputs }: ExperimentResult): string {
  return `Inputs (${figureSentence(figureCounts(inputs))}; none is fitted to a result)\n${renderFigures(inputs)}`;
}

/** All tables as CSV (RFC 4180), each after a line with its name when there are several. */
export function renderCsv(result: ExperimentResult): string {
  return result.tables
    .map(({ name, columns, rows }) => {
      const head = result.tables.length > 1 ? `# ${name}\r\n` : "";
      const lines = [columns.map(({ key }) => key), ...rows].map((row) => row.map(csvField).join(","));
      return `${head}${lines.join("\r\n")}\r\n`;
    })
    .join("\r\n");
}

function csvField(value: Value): string {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}
