/** `mmulab replay --ftrace`: vmalloc events that any kernel traced. */

import { EXIT_OK } from "../command-line/errors.ts";
import { checkHeeded } from "../command-line/machine-options.ts";
import { startProgress } from "../command-line/progress.ts";
import { printOutput } from "../command-line/standard-streams.ts";
import { inputSizeBytes } from "../files/byte-chunks.ts";
import type { MachineSettings } from "../settings/machine-settings.ts";
import { findPreset } from "../settings/presets.ts";
import { replayFtrace } from "../traces/ftrace-replay.ts";
import { renderFtraceReport } from "../traces/ftrace-report-text.ts";

/** Options of the command that concern such a trace. */
export interface FtraceCommandOptions extends MachineSettings {
  readonly preset: string;
  readonly memory: number;
  readonly cpus?: number;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const MEBIBYTE = 2 ** 20;

/** Replays `file` and prints what its options ask for. */
export async function replayFtraceFile(file: string, options: FtraceCommandOptions): Promise<number> {
  checkHeeded(options);
  const preset = findPreset(options.preset);
  const total = Math.ceil(inputSizeBytes(file) / MEBIBYTE);
  const progress = startProgress(total, options.quiet === true || total === 0);
  const report = await replayFtrace(file, {
    preset,
    memoryBytes: options.memory,
    settings: options,
    ...(options.cpus === undefined ? {} : { cpus: options.cpus }),
    onProgress: (bytes, events) => progress.update(Math.floor(bytes / MEBIBYTE), `MiB, ${events} events`),
  }).finally(() => progress.clear());
  if (options.json) printOutput(`${JSON.stringify(report)}\n`);
  else if (!options.quiet) printOutput(renderFtraceReport(report));
  return EXIT_OK;
}
