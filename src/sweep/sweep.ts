/** Running the points of a sweep on all cores. */
import { createHash } from "node:crypto";
import { programModule } from "../files/program-files.ts";
import type { FinishedPoint } from "./result-lines.ts";
import { type SweepPoint, type SweepSpec, sweepPoints } from "./spec.ts";
import type { SweepTask, SweepTaskResult } from "./worker.ts";

/** A part of a sweep: number `part` (from 1) of `parts`. */
export interface Shard {
  readonly part: number;
  readonly parts: number;
}

/** The column that says which table of a point a row is of. */
const TABLE_COLUMN = "table";
/** The column of a grid that asks for what each structure did (trace-columns.ts). */
const STRUCTURES_COLUMN = "structures";

/**
 * The points of a shard, in the order of the grid. Points are dealt out in the order of a hash of their values: what is slow in a
 * grid (large machines) follows its columns, and every `parts`-th point would give it all to one shard.
 */
export function shardPoints(spec: SweepSpec, { part, parts }: Shard): SweepPoint[] {
  return sweepPoints(spec)
    .map((point) => ({ point, hash: hashOf(point) }))
    .sort((a, b) => (a.hash < b.hash ? -1 : 1))
    .filter((_, place) => place % parts === part - 1)
    .map(({ point }) => point)
    .sort((a, b) => a.index - b.index);
}

function hashOf({ values, seed }: SweepPoint): string {
  return createHash("sha256")
    .update(JSON.stringify([values, seed]))
    .digest("hex");
}

/** Where results go: a file, or a folder that several processes work on. */
export interface PointResults {
  /** Points that are done, by index. */
  readonly finished: ReadonlyMap<number, FinishedPoint>;
  /** Adds a point; it is on the disk when this returns. @throws OutputFileError when it cannot be written */
  add(finished: FinishedPoint): void;
  /** Lets other processes add. May be called twice. */
  close(): void;
}

/**
 * Runs the points that `results` does not hold yet, on `jobs` threads, and adds each as it is done.
 * @param onDone told how many of the shard's points are done
 */
export async function runSweep(
  spec: SweepSpec,
  points: readonly SweepPoint[],
  results: PointResults,
  jobs: number,
  onDone: (done: number) => void,
): Promise<void> {
  const left = points.filter(({ index }) => !results.finished.has(index));
  let done = points.length - left.length;
  onDone(done);
  if (left.length === 0) return;
  const worker = programModule("src/sweep/worker");
  const threads = Math.min(jobs, left.length);
  const { Piscina } = await import("piscina");
  const pool = new Piscina({ filename: worker.href, minThreads: threads, maxThreads: threads });
  const { kind, name } = spec;
  try {
    await Promise.all(
      left.map(async (point) => {
        const task: SweepTask = { spec: { kind, name }, point };
        const result = (await pool.run(task)) as SweepTaskResult;
        results.add({ point, result });
        onDone(++done);
      }),
    );
  } finally {
    await pool.destroy();
  }
}

/** A row of a table of results: numbers, words and truth values by column. */
export type SweepRow = Readonly<Record<string, number | string | boolean>>;

/** A flat table of results: columns, and rows in the order of the points. A row lacks the columns that its kind does not have. */
export interface SweepTable {
  readonly columns: readonly string[];
  readonly rows: readonly SweepRow[];
}

/** Whether points of a sweep give several tables: those of experiments, and replays that count each structure. */
export function hasTables({ kind, grid }: SweepSpec): boolean {
  return kind === "experiment" || (kind === "references" && grid.some(({ name }) => name === STRUCTURES_COLUMN));
}

/**
 * One table of all points: the grid's values and the seed first, where points give several the name of the table that a row is of
 * (column `table`), then what was measured.
 */
export function sweepTable(spec: SweepSpec, finished: readonly FinishedPoint[]): SweepTable {
  const rows = [...finished]
    .sort((a, b) => a.point.index - b.point.index)
    .flatMap(({ point, result }): SweepRow[] => {
      const own = { ...point.values, seed: point.seed };
      if ("error" in result) return [{ ...own, error: result.error }];
      return result.tables.flatMap(({ name, rows: measured }) => {
        const kind = hasTables(spec) ? { [TABLE_COLUMN]: name } : {};
        // A list of an experiment's parameter gives rows that have the single value in a column of the same name.
        return measured.map((row) => ({ ...own, ...kind, ...row }));
      });
    });
  const first = [...spec.grid.map(({ name }) => name), "seed", ...(hasTables(spec) ? [TABLE_COLUMN] : [])];
  const measured = new Set(rows.flatMap((row) => Object.keys(row)));
  for (const name of first) measured.delete(name);
  return { columns: [...first, ...measured], rows };
}

/** The tables that a flat one is made of, by name, each with its own columns in their order; what failed comes first. */
export function tablesByName({ rows }: SweepTable): ReadonlyMap<string, SweepTable> {
  const nameOf = (row: SweepRow): string => String(row[TABLE_COLUMN] ?? "");
  const failures = rows.filter((row) => nameOf(row) === "");
  const names = new Set([...failures, ...rows].map(nameOf));
  return new Map(
    [...names].map((name) => {
      const own = rows.filter((row) => nameOf(row) === name);
      const columns = new Set(own.flatMap((row) => Object.keys(row)));
      columns.delete(TABLE_COLUMN);
      return [name, { columns: [...columns], rows: own }];
    }),
  );
}
