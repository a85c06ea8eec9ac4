/** `mmulab replay` of memory references (`--lackey`, `--drmemtrace`, `--champsim`, `--references`): its options and what it prints. */

import { type Command, Option } from "commander";
import { kernelVersionByName } from "../../mm/index.ts";
import { EXIT_FAILURE, EXIT_OK, UsageError } from "../command-line/errors.ts";
import { checkCodeFigures, checkGuestSettings, type FigureOptions } from "../command-line/machine-options.ts";
import { optionParser } from "../command-line/option-values.ts";
import { startProgress } from "../command-line/progress.ts";
import { repeatable } from "../command-line/repeated-options.ts";
import { printError, printJson, printReport } from "../command-line/standard-streams.ts";
import type { GuestConfig } from "../guests/guest-config.ts";
import { ValueError } from "../input/errors.ts";
import { wholeNumber } from "../input/values.ts";
import { nothingCounted } from "../references/nothing-counted.ts";
import { parsePageRules } from "../references/page-rules.ts";
import type { ReferenceFormat } from "../references/reference-batch.ts";
import type { ReferenceOptions, ReferenceReport } from "../references/reference-replay.ts";
import { parseWarmup, REFERENCES_MAX, type Warmup, warmupOptions } from "../references/warmup.ts";
import { type GuestSettings, guestSettings, parseGuestPages } from "../settings/guest-settings.ts";

/** Options of the command that concern such a trace. */
export interface ReferenceCommandOptions extends FigureOptions, GuestSettings {
  readonly kernel?: string;
  readonly lackey?: string;
  readonly drmemtrace?: string;
  readonly champsim?: string;
  readonly references?: string;
  readonly memory: number;
  readonly cpus?: number;
  readonly pages: string;
  readonly window: number;
  readonly skip: number;
  readonly warmup: Warmup;
  readonly limit?: number;
  readonly top?: number;
  readonly interval?: number;
  readonly structures?: boolean;
  readonly independent?: boolean;
  readonly against: readonly string[];
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
const DEFAULT_PAGES = "4K";
const TOP_MAX = 100_000;

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
  top: "--top",
  structures: "--structures",
  interval: "--interval",
  independent: "--independent",
  against: "--against",
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
    .option(
      "--pages <rules>",
      "pages of the traced program: 4K, 2M or 1G; SIZE@START-END in a range; thp=FRACTION; joined by commas",
      optionParser(parsePageRules),
      DEFAULT_PAGES,
    )
    .option("--window <references>", "references in a window of the working set", references(1), 1_000_000)
    .option("--skip <references>", "references at the beginning that are not made", references(0), 0)
    .addOption(
      new Option(
        "--warmup <references>",
        "references after these that are not counted; or 0.5: until half of the last-level TLBs is in use",
      )
        .argParser(optionParser(parseWarmup))
        .default({ references: 0 }, "0"),
    )
    .option("--limit <references>", "references after these, with which the replay ends (default: all)", references(1))
    .option(
      "--top <number>",
      "show as many of the costliest pages, ranges and instructions",
      optionParser(wholeNumber(1, TOP_MAX)),
    )
    .option(
      "--structures",
      "count lookups, hits, misses, fills and evictions of each TLB and paging-structure cache (slower)",
    )
    .option("--interval <references>", "show counters of each interval of so many references", references(1))
    .option(
      "--independent",
      "no reference waits for those before it: second-level hits and walks overlap (traces do not say; default: each waits)",
    )
    .addOption(
      repeatable(
        new Option(
          "--against <setting>",
          "lay another setting beside this: preset=NAME, pages=RULES, kernel=VERSION, accesses=independent, guest=no, guest=4K (the host's pages) or a figure as in --set; may be repeated",
        ),
      ),
    )
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
  const { compareReferences } = await import("../references/reference-replay.ts");
  const { traceFiles, traceSizeBytes } = await import("../references/reference-source.ts");
  const { renderComparison, renderReferenceCsv, renderReferenceReport } = await import(
    "../references/reference-text.ts"
  );
  const { against, json, quiet, fieldSeparator } = options;
  checkGuestSettings(options);
  if (options.guestPages !== undefined && options.pages !== DEFAULT_PAGES) {
    throw new UsageError("--pages and --guest-pages: expected one of them");
  }
  if (against.length > 0 && fieldSeparator !== undefined)
    throw new UsageError("--against and -x: expected one of them");
  const cpus = options.vcpus ?? options.cpus ?? traceFiles(trace.file, trace.format);
  const settings = [
    await settingsOf(trace, options, cpus),
    ...(await Promise.all(against.map((text) => settingsOf(trace, options, cpus, text)))),
  ];
  const total = Math.ceil(traceSizeBytes(trace.file, trace.format) / MEBIBYTE);
  const progress = startProgress(total, quiet === true || total === 0, "MiB");
  const onProgress = (bytes: number, references: number) =>
    progress.update(Math.floor(bytes / MEBIBYTE), `${Math.floor(references / 1e6)} million references`);
  const reports = await compareReferences(trace.file, [{ ...settings[0], onProgress }, ...settings.slice(1)]).finally(
    () => progress.clear(),
  );
  const [report] = reports;
  if (json) for (const each of reports) printJson(each);
  else if (fieldSeparator !== undefined) printReport(renderReferenceCsv(report, fieldSeparator));
  else if (!quiet && against.length > 0) printReport(renderComparison([baseName(options), ...against], reports));
  else if (!quiet) printReport(renderReferenceReport(report));
  const names = [baseName(options), ...against];
  const uncounted = reports.filter((each, i) => tellNothingCounted(each, names[i]));
  return uncounted.length > 0 ? EXIT_FAILURE : EXIT_OK;
}

/** Says on standard error that nothing of a replay was counted, if so. @param name of the setting */
function tellNothingCounted(report: ReferenceReport, name: string): boolean {
  const text = nothingCounted(report);
  if (text !== null) printError(`mmulab: ${report.trace}: ${name}: ${text}\n`);
  return text !== null;
}

/** What the first column of a comparison is called. */
function baseName({ preset, pages, guest, hostPages = "4K", independent }: ReferenceCommandOptions): string {
  const base = guest === true ? `${preset}, ${pages} on ${hostPages}` : `${preset}, ${pages}`;
  return independent === true ? `${base}, independent` : base;
}

/**
 * The settings of a replay, of which `change` (`--against`) says otherwise in one.
 * @throws ValueError, UnknownNameError for a setting that is not possible
 */
async function settingsOf(
  trace: ReferenceTrace,
  options: ReferenceCommandOptions,
  cpus: number,
  change?: string,
): Promise<ReferenceOptions> {
  const { KERNEL } = await import("../settings/figure-choice.ts");
  const { chooseFigures } = await import("../settings/load-figures.ts");
  const { preset, pages, set, kernel, guest, independent } = changed(options, cpus, change);
  // What is wrong with a comparison's figures is the change's doing: those of the replay that it is laid beside were right.
  const option = change === undefined ? undefined : "--against";
  checkCodeFigures(set, "a replay of references", [KERNEL], option);
  const figures = await chooseFigures(preset, set, option);
  const { warmup, limit, top, interval, structures } = options;
  return {
    preset: figures.preset,
    figures,
    memoryBytes: options.memory,
    pageSize: pages,
    windowReferences: options.window,
    skipReferences: options.skip,
    ...warmupOptions(warmup),
    ...(limit === undefined ? {} : { limitReferences: limit }),
    cpus,
    ...(top === undefined ? {} : { top }),
    ...(structures === true ? { structures } : {}),
    ...(interval === undefined ? {} : { intervalReferences: interval }),
    ...(trace.format === null ? {} : { format: trace.format }),
    ...(kernel === undefined ? {} : { kernel }),
    ...(guest === undefined ? {} : { guest: { ...guest, costs: figures.hypervisorCosts } }),
    ...(independent ? { independent } : {}),
  };
}

/** What a replay can have in another way than the one that it is laid beside. */
interface Changeable extends Pick<ReferenceCommandOptions, "preset" | "pages" | "set"> {
  readonly kernel: string | undefined;
  readonly guest: GuestConfig | undefined;
  readonly independent: boolean;
}

/** Preset, pages, figures and the like, one of them as `--against` says. */
function changed(options: ReferenceCommandOptions, cpus: number, change: string | undefined): Changeable {
  const { preset, set } = options;
  const guest = options.guest === true ? guestSettings(options, cpus) : undefined;
  const pages = guest?.guestPages ?? options.pages;
  const base = { preset, pages, set, kernel: options.kernel, guest, independent: options.independent === true };
  if (change === undefined) return base;
  const [, name, value] = /^([^=]+)=(.+)$/.exec(change) ?? [];
  if (name === undefined)
    throw new ValueError("--against", change, "preset=NAME, pages=RULES or NAME=VALUE as in --set");
  if (name === "preset") return { ...base, preset: value };
  if (name === "kernel") return { ...base, kernel: kernelVersionByName(value).name };
  if (name === "guest") return { ...base, guest: guestOf(change, value, options, cpus) };
  if (name === "accesses") return { ...base, independent: areIndependent(change, value) };
  // In place of a value that --set gives it.
  if (name !== "pages") return { ...base, set: [...set.filter((each) => !each.startsWith(`${name}=`)), change] };
  try {
    return { ...base, pages: parsePageRules(value) };
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    throw new ValueError("--against", change, error.expected ?? "");
  }
}

/** What `accesses=independent` or `accesses=dependent` says. @throws ValueError for another value */
function areIndependent(change: string, value: string): boolean {
  if (value === "independent" || value === "dependent") return value === "independent";
  throw new ValueError("--against", change, "accesses=independent or accesses=dependent");
}

/** The guest of `guest=no` or `guest=4K`. @throws ValueError for another value */
function guestOf(
  change: string,
  value: string,
  options: ReferenceCommandOptions,
  cpus: number,
): GuestConfig | undefined {
  if (value === "no") return undefined;
  try {
    return { ...guestSettings(options, cpus), hostPages: parseGuestPages(value) };
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    throw new ValueError("--against", change, `guest=no, or guest= and the pages of the host: ${error.expected ?? ""}`);
  }
}
