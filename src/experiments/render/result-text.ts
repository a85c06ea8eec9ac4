/** Results of experiments for people, and as CSV. */
import { figureCounts, figureSentence } from "../../report/figures.ts";
import { renderFigures } from "../../report/preset-tables.ts";
import { renderTable } from "../../report/tables.ts";
import type { ExperimentResult, Value } from "../base/experiment.ts";
import { inputsByUse, othersSentence, usedSentence } from "./inputs.ts";

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
  // Where use was noted, `renderInputs` has them.
  const isNoted = result.inputs.some(({ used }) => used !== undefined);
  const counts = figureSentence(figureCounts(result.inputs));
  const note = `  ${counts}. --inputs shows those that a run uses; --inputs all, --json and --html show all.\n`;
  return `${head}${body.join("")}\nFindings\n${said.join("")}${isNoted ? "" : note}`;
}

/**
 * The figures that a run has used, and how each is known; ends with a newline.
 * @param all whether the others of its machines follow
 */
export function renderInputs({ inputs }: ExperimentResult, all = false): string {
  const { used, others } = inputsByUse(inputs);
  const head = `Inputs\n  ${usedSentence(used)}\n${renderFigures(used)}`;
  const rest = othersSentence(others);
  return all
    ? `${head}\nNot used\n  ${rest}\n${renderFigures(others)}`
    : `${head}\n  ${rest} --inputs all shows them.\n`;
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
  const text = String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}
