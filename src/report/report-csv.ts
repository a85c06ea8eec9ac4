/** A report as CSV: a row a number, its name being the path that it has in the JSON object. */
import { stringify } from "csv-stringify/sync";

/** `name,value` rows with a heading; ends with a newline. @param report plain data; text for people (`lines`) is left out */
export function renderReportCsv(report: object): string {
  const { lines: _lines, ...rest } = report as { lines?: unknown };
  return stringify([["name", "value"], ...flatten("", rest)]);
}

function flatten(path: string, value: unknown): [string, string | number | boolean][] {
  if (typeof value === "object" && value !== null) {
    const prefix = path === "" ? "" : `${path}.`;
    return Object.entries(value).flatMap(([name, item]) => flatten(`${prefix}${name}`, item));
  }
  return value === undefined || value === null ? [] : [[path, value as string | number | boolean]];
}
