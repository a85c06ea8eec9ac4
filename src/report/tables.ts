/**
 * Tables for people to read. One that is wider than the terminal is folded: first its headings over several lines, then text in its
 * cells; if that is not enough, its columns come in several blocks, each with the columns that say what a row is.
 */
import { GAP, INDENT, layOutRow, longestWord, type TextColumn, wrapText } from "./column-layout.ts";
import { columnText } from "./numbers.ts";
import { textWidth } from "./text-width.ts";

/** A cell; the numbers of a column have the same number of decimals (numbers.ts). Null: there is no figure. */
export type Cell = string | number | null;

/** No column of text is made narrower than this. */
const TEXT_WIDTH_MIN = 16;

/**
 * A table with a heading row; every column is aligned right, but the first if it has text. Ends with a newline.
 * @param labels how many of its first columns say what a row is, and are repeated where the table is cut into blocks; absent: as many
 *   as no two rows have alike, where these leave half a line to the others
 */
export function renderTable(headings: readonly string[], rows: readonly (readonly Cell[])[], labels?: number): string {
  const texts = headings.map((_, i) => columnText(rows.flatMap((row) => row[i] ?? [])));
  const text = [headings, ...rows.map((row) => row.map((cell, i) => texts[i](cell)))];
  const widths = widthsOf(text, textWidth());
  const namesRows = rows.some(([first]) => typeof first === "string");
  const columns = widths.map((width, i): TextColumn => ({ width, align: i === 0 && namesRows ? "left" : "right" }));
  return blocksOf(widths, labels ?? labelsOf(text.slice(1), widths, textWidth()), textWidth())
    .map((block) => {
      const shown = block.map((i) => columns[i]);
      return text
        .map((row, line) =>
          layOutRow(
            block.map((i) => row[i] ?? ""),
            shown,
            line === 0 ? "last" : "first",
          ),
        )
        .join("");
    })
    .join("\n");
}

/** Widths of the columns of text, made narrower where a line would be longer than `limit`. */
function widthsOf([headings, ...rows]: readonly (readonly string[])[], limit: number): number[] {
  const longest = (column: number, lengthOf: (text: string) => number): number =>
    rows.reduce((most, row) => Math.max(most, lengthOf(row[column] ?? "")), 0);
  const cells = headings.map((_, i) => longest(i, ({ length }) => length));
  const natural = headings.map(({ length }, i) => Math.max(length, cells[i]));
  if (lineOf(natural) <= limit) return natural;
  const folded = headings.map((heading, i) => Math.max(longestWord(heading), cells[i]));
  const least = headings.map((heading, i) =>
    Math.min(folded[i], Math.max(longestWord(heading), longest(i, longestWord), TEXT_WIDTH_MIN)),
  );
  const narrow = narrowed(folded, least, limit);
  const lines = [headings, ...rows].map((row) => row.map((cell, i) => wrapText(cell, narrow[i])));
  return headings.map((_, i) => Math.max(...lines.flatMap((row) => row[i].map(({ length }) => length))));
}

/** Takes from the widest column until a line fits, or every column has its least width; no column takes more than half a line. */
function narrowed(widths: readonly number[], least: readonly number[], limit: number): number[] {
  const half = Math.floor(limit / 2);
  const result = widths.map((width, i) => Math.min(width, Math.max(half, Math.min(least[i], limit - INDENT.length))));
  while (lineOf(result) > limit) {
    let widest = -1;
    for (let i = 0; i < result.length; i++) {
      if (result[i] > least[i] && (widest < 0 || result[i] > result[widest])) widest = i;
    }
    if (widest < 0) break;
    result[widest]--;
  }
  return result;
}

/** How many of the first columns tell all rows apart; 1 where they would take more than half a line, or none do. */
function labelsOf(rows: readonly (readonly string[])[], widths: readonly number[], limit: number): number {
  for (let labels = 1; labels < widths.length && lineOf(widths.slice(0, labels)) <= limit / 2; labels++) {
    if (new Set(rows.map((row) => JSON.stringify(row.slice(0, labels)))).size === rows.length) return labels;
  }
  return 1;
}

/** The columns of each block that a table is cut into, so that no line is longer than `limit`. */
function blocksOf(widths: readonly number[], labels: number, limit: number): number[][] {
  const first = widths.map((_, i) => i).slice(0, labels);
  const blocks: number[][] = [[...first]];
  for (let i = labels; i < widths.length; i++) {
    const block = blocks[blocks.length - 1];
    const isFull = lineOf([...block, i].map((column) => widths[column])) > limit;
    if (isFull && block.length > first.length) blocks.push([...first, i]);
    else block.push(i);
  }
  return blocks;
}

/** Characters of a line with columns of these widths. */
function lineOf(widths: readonly number[]): number {
  return INDENT.length + widths.reduce((sum, width) => sum + width, 0) + GAP.length * (widths.length - 1);
}
