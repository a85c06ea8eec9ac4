/** How wide the terminal is that somebody looks at. */

/** Columns of a terminal that does not say how many it has. */
const USUAL_COLUMNS = 80;
/** No terminal is taken to be narrower than this. */
const COLUMNS_MIN = 20;

/**
 * Columns for what is printed: of the variable COLUMNS, else of the terminal, else 80. Infinite where the output is no terminal: what is
 * piped or kept stays whole.
 */
export function terminalWidth(
  output: { readonly isTTY?: boolean; readonly columns?: number },
  environment: Readonly<Record<string, string | undefined>>,
): number {
  if (!output.isTTY) return Number.POSITIVE_INFINITY;
  const told = Number(environment.COLUMNS);
  const columns = Number.isSafeInteger(told) && told > 0 ? told : (output.columns ?? 0);
  return columns > 0 ? Math.max(columns, COLUMNS_MIN) : USUAL_COLUMNS;
}
