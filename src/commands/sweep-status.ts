/** `mmulab sweep status`: how far a sweep that several processes work on is. */
import { EXIT_DIFFERENCES, EXIT_OK } from "../command-line/errors.ts";
import { printJson, printOutput } from "../command-line/standard-streams.ts";
import { counted } from "../report/counted.ts";
import { renderTable } from "../report/tables.ts";
import { sweepPoints } from "../sweep/spec.ts";
import { FolderReader, sweepOfFolder } from "../sweep/sweep-folder.ts";

/** Prints what is done, attempt by attempt; returns 0 when all points are, otherwise 1. @throws InputFileError */
export async function statusOfFolder(folder: string, { json }: { readonly json?: boolean }): Promise<number> {
  const spec = await sweepOfFolder(folder);
  const { attempts, finished } = new FolderReader(folder, spec).content();
  const points = sweepPoints(spec).length;
  const failed = [...finished.values()].filter(({ result }) => "error" in result).length;
  const rows = attempts.map(({ shard, number, points: own, isRunning }) => ({
    part: `${shard.part}/${shard.parts}`,
    attempt: number,
    points: own.length,
    failed: own.filter(({ result }) => "error" in result).length,
    isRunning,
  }));
  if (json) {
    const { name, program } = spec;
    printJson({ name, program, points, done: finished.size, failed, attempts: rows });
  } else {
    printOutput(
      `${spec.name}: ${finished.size} of ${counted(points, "point")} ${finished.size === 1 ? "is" : "are"} done${failed > 0 ? `, ${failed} of them failed` : ""}\n`,
    );
    const cells = rows.map((row) => [
      row.part,
      row.attempt,
      row.points,
      row.failed,
      row.isRunning ? "running" : "ended",
    ]);
    if (rows.length > 0) printOutput(`\n${renderTable(["part", "attempt", "points", "failed", "process"], cells)}`);
  }
  return finished.size === points ? EXIT_OK : EXIT_DIFFERENCES;
}
