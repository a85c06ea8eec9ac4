/** Tables for people to read. */
import { getBorderCharacters, table } from "table";

/** A cell: text is aligned left, numbers right. */
export type Cell = string | number;

/** A table with a heading row; every column but the first is aligned right. */
export function renderTable(headings: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const text = [headings, ...rows].map((row) => row.map((cell) => (typeof cell === "number" ? grouped(cell) : cell)));
  const rendered = table(text, {
    border: getBorderCharacters("void"),
    columnDefault: { paddingLeft: 0, paddingRight: 2, alignment: "right" },
    columns: { 0: { alignment: "left", paddingLeft: 2 } },
    drawHorizontalLine: () => false,
  });
  return rendered.replace(/ +$/gm, "");
}

/** A whole number with its thousands set apart: `1,234,567`. */
export function grouped(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: 1 });
}
