/** Running the points of a sweep on all cores. */
import type { FinishedPoint } from "./result-lines.ts";
import type { ResultsFile } from "./results-file.ts";
import { type SweepPoint, type SweepSpec, sweepPoints } from "./spec.ts";
import type { SweepTask, SweepTaskResult } from "./worker.ts";

/** A part of a sweep: number `part` (from 1) of `parts`. */
export interface Shard {
  readonly part: number;
  readonly parts: number;
}

/** The points of a shard: every `parts`-th. */
export function shardPoints(spec: SweepSpec, shard: Shard): SweepPoint[] {
  return sweepPoints(spec).filter(({ index }) => index % shard.parts === shard.part - 1);
}

/**
 * Runs the points that `results` does not hold yet, on `jobs` threads, and adds each as it is done.
 * @param onDone told how many of the shard's points are done
 */
export async function runSweep(
  spec: SweepSpec,
  points: readonly SweepPoint[],
  results: ResultsFile,
  jobs: number,
  onDone: (done: number) => void,
): Promise<void> {
  const left = points.filter(({ index }) => !results.finished.has(index));
  let done = points.length - left.length;
  onDone(done);
  if (left.length === 0) return;
  const worker = new URL(`./worker${import.meta.url.slice(import.meta.url.lastIndexOf("."))}`, import.meta.url);
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

/** A table of results: columns, and rows in the order of the points. */
export interface SweepTable {
  readonly columns: readonly string[];
  readonly rows: readonly Readonly<Record<string, number | string | boolean>>[];
}

/** One table of all points: the grid's values and the seed first, then what was measured. */
export function sweepTable(spec: SweepSpec, finished: readonly FinishedPoint[]): SweepTable {
  const rows = [...finished]
    .sort((a, b) => a.point.index - b.point.index)
    .flatMap(({ point, result }) => {
      const own = { ...point.values, seed: point.seed };
      if ("error" in result) return [{ ...own, error: result.error }];
      // A list of an experiment's parameter gives rows that have the single value in a column of the same name.
      return result.rows.map((row) => ({ ...own, ...row }));
    });
  const grid = spec.grid.map(({ name }) => name);
  const measured = new Set(rows.flatMap((row) => Object.keys(row)));
  for (const name of [...grid, "seed"]) measured.delete(name);
  return { columns: [...grid, "seed", ...measured], rows };
}
