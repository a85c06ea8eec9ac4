/** Text in columns: cells that are longer than their column go on in the next line. */

/** A column of text. */
export interface TextColumn {
  /** Characters of a line of it. */
  readonly width: number;
  readonly align: "left" | "right";
}

/** Blanks before the first column and between two. */
export const INDENT = "  ";
export const GAP = "  ";

/**
 * A row of text in columns, a line or more; ends with a newline.
 * @param stands whether cells of fewer lines than others begin in the first line or end in the last
 */
export function layOutRow(
  row: readonly string[],
  columns: readonly TextColumn[],
  stands: "first" | "last" = "first",
): string {
  const wrapped = columns.map(({ width }, i) => wrapText(row[i], width));
  const height = wrapped.reduce((most, { length }) => Math.max(most, length), 1);
  const cells =
    stands === "first" ? wrapped : wrapped.map((each) => [...Array(height - each.length).fill(""), ...each]);
  const lines: string[] = [];
  for (let line = 0; line < height; line++) {
    const parts = columns.map(({ width, align }, i) => {
      const text = cells[i][line] ?? "";
      return align === "left" ? text.padEnd(width) : text.padStart(width);
    });
    lines.push(`${`${INDENT}${parts.join(GAP)}`.trimEnd()}\n`);
  }
  return lines.join("");
}

/** Text in lines of at most `width` characters: broken at blanks, and where a word is longer, after a mark of punctuation in it. */
export function wrapText(text: string, width: number): string[] {
  if (text.length <= width) return [text];
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (longer.length <= width) {
      line = longer;
      continue;
    }
    if (line !== "") lines.push(line);
    line = word;
    while (line.length > width) {
      const end = breakOf(line, width);
      lines.push(line.slice(0, end));
      line = line.slice(end);
    }
  }
  return [...lines, line];
}

/** Where a word that is longer than `width` is broken. */
function breakOf(word: string, width: number): number {
  for (let end = width; end > width / 3; end--) if (/[^\p{L}\p{N}]/u.test(word[end - 1])) return end;
  return width;
}

/** Characters of a text's longest word. */
export function longestWord(text: string): number {
  return text.split(" ").reduce((most, { length }) => Math.max(most, length), 0);
}
