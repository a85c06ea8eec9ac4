/** `mmulab replay --ftrace`: vmalloc events that any kernel traced. */

import { EXIT_OK } from "../command-line/errors.ts";
import { checkHeeded, type FigureOptions } from "../command-line/machine-options.ts";
import { startProgress } from "../command-line/progress.ts";
import { printJson, printOutput } from "../command-line/standard-streams.ts";
import { inputSizeBytes } from "../files/byte-chunks.ts";
import { chooseFigures } from "../settings/figure-choice.ts";
import type { MachineSettings } from "../settings/machine-settings.ts";
import { replayFtrace } from "../traces/ftrace-replay.ts";
import { renderFtraceReport } from "../traces/ftrace-report-text.ts";

/** Options of the command that concern such a trace. */
export interface FtraceCommandOptions extends MachineSettings, FigureOptions {
  readonly memory: number;
  readonly cpus?: number;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const MEBIBYTE = 2 ** 20;

/** Replays `file` and prints what its options ask for. */
export async function replayFtraceFile(file: string, options: FtraceCommandOptions): Promise<number> {
  checkHeeded(options);
  const figures = await chooseFigures(options.preset, options.set);
  const total = Math.ceil(inputSizeBytes(file) / MEBIBYTE);
  const progress = startProgress(total, options.quiet === true || total === 0);
  const report = await replayFtrace(file, {
    memoryBytes: options.memory,
    preset: figures.preset,
    settings: { ...options, figures },
    ...(options.cpus === undefined ? {} : { cpus: options.cpus }),
    onProgress: (bytes, events) => progress.update(Math.floor(bytes / MEBIBYTE), `MiB, ${events} events`),
  }).finally(() => progress.clear());
  if (options.json) printJson(report);
  else if (!options.quiet) printOutput(renderFtraceReport(report));
  return EXIT_OK;
}
