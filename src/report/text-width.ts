/** How wide text for people may be. */

let columns = Number.POSITIVE_INFINITY;

/** Columns that a line of a table has at most; infinite where nobody looks at a terminal. */
export function textWidth(): number {
  return columns;
}

/** What is laid out from here on keeps to `width` columns. */
export function setTextWidth(width: number): void {
  columns = width;
}
