/** What a plot says that it shows. */
import type { Value } from "../../../src/experiments/base/experiment.ts";

/** A row by the keys of its columns. */
export type Cells = Readonly<Record<string, Value>>;
/** What a plot should show, read off its title, its axes and its legend by a person. */
export interface Shown {
  readonly experiment: string;
  readonly title: RegExp;
  readonly table: string;
  readonly x: { readonly name: string; readonly key: string };
  readonly yName: string;
  /** Keys of columns by the curve's name; or one key, and the columns that make a curve's name. */
  readonly curves: Readonly<Record<string, string>> | { readonly key: string; readonly nameOf: (row: Cells) => string };
  /** Rows that the title speaks of. */
  readonly rows?: (row: Cells, title: string) => boolean;
}
