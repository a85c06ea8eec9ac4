/** What a page more costs, of rows that differ in their pages. */

/**
 * What each page beyond the fewest costs, on average up to the most, whatever the order of the rows; null where all rows have as many pages: then
 * that was not measured.
 * @param costOf a row's cost, in the unit of the result
 */
export function costOfFurtherPage<R extends { readonly pages: number }>(
  rows: readonly R[],
  costOf: (row: R) => number,
): number | null {
  const byPages = rows.toSorted((a, b) => a.pages - b.pages);
  const [fewest, most] = [byPages[0], byPages[byPages.length - 1]];
  if (fewest === undefined || fewest.pages === most.pages) return null;
  return (costOf(most) - costOf(fewest)) / (most.pages - fewest.pages);
}
