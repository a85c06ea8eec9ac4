/** `mmulab replay --ftrace`: vmalloc events that any kernel traced. */

import { EXIT_OK, UsageError } from "../command-line/errors.ts";
import { checkHeeded, type FigureOptions } from "../command-line/machine-options.ts";
import { startProgress } from "../command-line/progress.ts";
import { printJson, printOutput, printReport } from "../command-line/standard-streams.ts";
import { inputName, inputSizeBytes } from "../files/byte-chunks.ts";
import { writeOutputFile } from "../files/output-file.ts";
import { checkOutputs } from "../files/output-target.ts";
import type { Kernel } from "../machine/kernel.ts";
import { checkFlushFile, writeFlushFile } from "../output/flush-file.ts";
import { madeByLine } from "../provenance/made-by.ts";
import { counted } from "../report/counted.ts";
import { chooseFigures } from "../settings/load-figures.ts";
import type { MachineSettings } from "../settings/machine-settings.ts";
import { ChromeTrace } from "../timeline/chrome-trace.ts";
import { replayFtrace } from "../traces/ftrace-replay.ts";
import { renderFtraceReport } from "../traces/ftrace-report-text.ts";

/** Options of the command that concern such a trace. */
export interface FtraceCommandOptions extends MachineSettings, FigureOptions {
  readonly memory: number;
  readonly cpus?: number;
  readonly accounts?: boolean;
  readonly flushes?: string;
  readonly timeline?: string;
  readonly json?: boolean;
  readonly csv?: boolean;
  readonly quiet?: boolean;
}

const MEBIBYTE = 2 ** 20;

/** Replays `file` and prints what its options ask for. */
export async function replayFtraceFile(file: string, options: FtraceCommandOptions): Promise<number> {
  const { flushes, timeline } = options;
  if (options.json && options.csv) throw new UsageError("--json and --csv: expected one of them");
  checkHeeded(options);
  if (flushes !== undefined) checkFlushFile(flushes);
  checkOutputs(
    [
      { what: "--flushes", file: flushes },
      { what: "--timeline", file: timeline },
    ],
    [{ what: "--ftrace", file }],
  );
  const figures = await chooseFigures(options.preset, options.set);
  const total = Math.ceil(inputSizeBytes(file) / MEBIBYTE);
  const progress = startProgress(total, options.quiet === true || total === 0, "MiB");
  const trace = timeline === undefined ? null : new ChromeTrace();
  let kernel: Kernel | null = null;
  const report = await replayFtrace(file, {
    memoryBytes: options.memory,
    preset: figures.preset,
    settings: { ...options, figures },
    accounts: options.accounts === true,
    ...(options.cpus === undefined ? {} : { cpus: options.cpus }),
    onKernel: (booted) => {
      kernel = booted;
      trace?.watch(booted, `${inputName(file)}, ${counted(booted.machine.loop.cpus, "CPU")}`);
    },
    onProgress: (bytes, events) => progress.update(Math.floor(bytes / MEBIBYTE), counted(events, "event")),
  }).finally(() => progress.clear());
  if (timeline !== undefined && trace !== null) writeOutputFile(timeline, trace.toJson());
  if (flushes !== undefined && kernel !== null) await writeFlushFile(flushes, kernel);
  if (options.json) printJson(report);
  else if (options.csv) {
    const { renderReportCsv } = await import("../report/report-csv.ts");
    printOutput(madeByLine() + renderReportCsv(report));
  } else if (!options.quiet) printReport(renderFtraceReport(report));
  return EXIT_OK;
}
