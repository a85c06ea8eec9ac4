/** Lines of text for people that are longer than the terminal is wide. */

/** Lines that are left as they are: commands, to be copied. */
const COMMAND = /^\s*\$ /;
/** A gap between two columns of a line. */
const GAP = / {2,}(?=\S)/g;

/**
 * `text` with lines of at most `width` columns where words allow it: what follows a break stands under the last column that begins in the
 * left half of the line (columns have two spaces or more between them), or under its first word.
 */
export function wrapText(text: string, width: number): string {
  if (width === Number.POSITIVE_INFINITY) return text;
  return text
    .split("\n")
    .map((line) => (line.length <= width || COMMAND.test(line) ? line : wrapLine(line, width)))
    .join("\n");
}

/**
 * {@link wrapText} for text that was broken at a width of its own: a line that is too long goes on in the one below it, if that is not
 * indented.
 */
export function wrapProse(text: string, width: number): string {
  const lines: string[] = [];
  let isLong = false;
  for (const line of text.split("\n")) {
    const isProse = /^\S/.test(line);
    if (isLong && isProse) lines[lines.length - 1] += ` ${line}`;
    else lines.push(line);
    // A paragraph that is joined once is joined to its end.
    isLong = isProse && (isLong || line.length > width);
  }
  return wrapText(lines.join("\n"), width);
}

function wrapLine(line: string, width: number): string {
  const indent = " ".repeat(indentOf(line, width));
  const lines: string[] = [];
  let rest = line;
  while (rest.length > width) {
    const at = rest.lastIndexOf(" ", width);
    // A word that is longer than the line is not cut.
    const end = rest.slice(0, Math.max(at, 0)).trim() === "" ? rest.indexOf(" ", width) : at;
    if (end < 0) break;
    lines.push(rest.slice(0, end).trimEnd());
    rest = indent + rest.slice(end).trimStart();
  }
  return [...lines, rest].join("\n");
}

function indentOf(line: string, width: number): number {
  const first = line.length - line.trimStart().length;
  const columns = [...line.matchAll(GAP)].map((gap) => gap.index + gap[0].length);
  return columns.findLast((column) => column <= width / 2) ?? first;
}
