/** `mmulab replay --lackey`: a program's memory references through the MMU. */

import { EXIT_OK } from "../command-line/errors.ts";
import type { FigureOptions } from "../command-line/machine-options.ts";
import { startProgress } from "../command-line/progress.ts";
import { printOutput } from "../command-line/standard-streams.ts";
import { inputSizeBytes } from "../files/byte-chunks.ts";
import { chooseFigures } from "../settings/figure-choice.ts";
import type { UserPageSize } from "../traces/demand-paging.ts";
import { replayLackey } from "../traces/lackey-replay.ts";
import { renderLackeyCsv, renderLackeyReport } from "../traces/lackey-text.ts";

/** Options of the command that concern such a trace. */
export interface LackeyCommandOptions extends FigureOptions {
  readonly memory: number;
  readonly pages: UserPageSize;
  readonly window: number;
  readonly warmup: number;
  readonly fieldSeparator?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const MEBIBYTE = 2 ** 20;

/** Replays `file` and prints what its options ask for. */
export async function replayLackeyFile(file: string, options: LackeyCommandOptions): Promise<number> {
  const figures = await chooseFigures(options.preset, options.set);
  const total = Math.ceil(inputSizeBytes(file) / MEBIBYTE);
  const progress = startProgress(total, options.quiet === true || total === 0);
  const report = await replayLackey(file, {
    preset: figures.preset,
    figures,
    memoryBytes: options.memory,
    pageSize: options.pages,
    windowReferences: options.window,
    warmupReferences: options.warmup,
    onProgress: (bytes, references) =>
      progress.update(Math.floor(bytes / MEBIBYTE), `MiB, ${Math.floor(references / 1e6)} million references`),
  }).finally(() => progress.clear());
  if (options.json) printOutput(`${JSON.stringify(report)}\n`);
  else if (options.fieldSeparator !== undefined) printOutput(renderLackeyCsv(report, options.fieldSeparator));
  else if (!options.quiet) printOutput(renderLackeyReport(report));
  return EXIT_OK;
}
