/** `mmulab replay` of memory references (`--lackey`, `--drmemtrace`, `--champsim`, `--references`): its options and what it prints. */

import { type Command, Option } from "commander";
import { EXIT_OK, UsageError } from "../command-line/errors.ts";
import type { FigureOptions } from "../command-line/machine-options.ts";
import { optionParser } from "../command-line/option-values.ts";
import { startProgress } from "../command-line/progress.ts";
import { printOutput } from "../command-line/standard-streams.ts";
import { wholeNumber } from "../input/values.ts";
import type { UserPageSize } from "../references/demand-paging.ts";
import type { ReferenceFormat } from "../references/reference-batch.ts";

/** Options of the command that concern such a trace. */
export interface ReferenceCommandOptions extends FigureOptions {
  readonly lackey?: string;
  readonly drmemtrace?: string;
  readonly champsim?: string;
  readonly references?: string;
  readonly memory: number;
  readonly cpus?: number;
  readonly pages: UserPageSize;
  readonly window: number;
  readonly skip: number;
  readonly warmup: number;
  readonly limit?: number;
  readonly fieldSeparator?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** A trace that was asked for, and the format that it must have; null to tell by its contents. */
export interface ReferenceTrace {
  /** `--lackey`. */
  readonly option: string;
  readonly file: string;
  readonly format: ReferenceFormat | null;
}

const MEBIBYTE = 2 ** 20;
const REFERENCES_MAX = 1e15;

/** Options that name a trace, and its format. */
const TRACE_OPTIONS = [
  ["lackey", "lackey", "<file>", "memory references that valgrind's lackey wrote; - is standard input"],
  ["drmemtrace", "drmemtrace", "<path>", "memory references that DynamoRIO's drmemtrace wrote: a file or a folder"],
  ["champsim", "champsim", "<file>", "instructions that a tracer of ChampSim wrote"],
  ["references", null, "<path>", "memory references in any of these formats, told by their contents"],
] as const;

/** Keys of the options that only such a trace has, and how they are written. */
export const REFERENCE_OPTION_NAMES: Readonly<Record<string, string>> = {
  pages: "--pages",
  window: "--window",
  skip: "--skip",
  warmup: "--warmup",
  limit: "--limit",
  fieldSeparator: "-x",
};

/** Adds the options that name a trace of references. */
export function addTraceOptions(command: Command): void {
  for (const [key, , value, help] of TRACE_OPTIONS) command.option(`--${key} ${value}`, help);
}

/** Adds the options of a replay of references. */
export function addReferenceOptions(command: Command): void {
  const references = (low: number) => optionParser(wholeNumber(low, REFERENCES_MAX));
  command
    .addOption(new Option("--pages <size>", "pages of the traced program").choices(["4K", "2M"]).default("4K"))
    .option("--window <references>", "references in a window of the working set", references(1), 1_000_000)
    .option("--skip <references>", "references at the beginning that are not made", references(0), 0)
    .option("--warmup <references>", "references after these that fill the TLBs and are not counted", references(0), 0)
    .option("--limit <references>", "references after these, with which the replay ends (default: all)", references(1))
    .option("-x, --field-separator <text>", "print counters as perf stat -x does");
}

/** The trace of references that the options name; null when they name none. @throws UsageError when they name several */
export function referenceTraceOf(options: ReferenceCommandOptions): ReferenceTrace | null {
  const named = TRACE_OPTIONS.flatMap(([key, format]) => {
    const file = options[key];
    return file === undefined ? [] : [{ option: `--${key}`, file, format }];
  });
  if (named.length > 1) throw new UsageError(`${named[0].option} and ${named[1].option} exclude each other`);
  return named[0] ?? null;
}

/** Replays a trace and prints what the options ask for. */
export async function replayReferenceTrace(trace: ReferenceTrace, options: ReferenceCommandOptions): Promise<number> {
  const { chooseFigures } = await import("../settings/figure-choice.ts");
  const { replayReferences } = await import("../references/reference-replay.ts");
  const { traceSizeBytes } = await import("../references/reference-source.ts");
  const { renderReferenceCsv, renderReferenceReport } = await import("../references/reference-text.ts");
  const figures = await chooseFigures(options.preset, options.set);
  const total = Math.ceil(traceSizeBytes(trace.file, trace.format) / MEBIBYTE);
  const progress = startProgress(total, options.quiet === true || total === 0);
  const report = await replayReferences(trace.file, {
    preset: figures.preset,
    figures,
    memoryBytes: options.memory,
    pageSize: options.pages,
    windowReferences: options.window,
    skipReferences: options.skip,
    warmupReferences: options.warmup,
    ...(options.limit === undefined ? {} : { limitReferences: options.limit }),
    ...(options.cpus === undefined ? {} : { cpus: options.cpus }),
    ...(trace.format === null ? {} : { format: trace.format }),
    onProgress: (bytes, references) =>
      progress.update(Math.floor(bytes / MEBIBYTE), `MiB, ${Math.floor(references / 1e6)} million references`),
  }).finally(() => progress.clear());
  if (options.json) printOutput(`${JSON.stringify(report)}\n`);
  else if (options.fieldSeparator !== undefined) printOutput(renderReferenceCsv(report, options.fieldSeparator));
  else if (!options.quiet) printOutput(renderReferenceReport(report));
  return EXIT_OK;
}
