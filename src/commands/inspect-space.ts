/** `mmulab inspect FILE` of a live machine's text, and `mmulab inspect space` of an emulated one. */
import { existsSync } from "node:fs";
import { type Command, Option } from "commander";
import { linearPageFromBigInt, orderOfPage } from "../../arch/isa/linear-address.ts";
import { UsageError } from "../command-line/errors.ts";
import { optionParser } from "../command-line/option-values.ts";
import { printJson, printReport } from "../command-line/standard-streams.ts";
import { address64, memorySize, wholeNumber } from "../input/values.ts";
import type { LayoutChoice } from "../inspect/address-window.ts";
import { type LiveFile, readLiveFile } from "../inspect/live-file.ts";
import { type SpaceChanges, spaceChanges } from "../inspect/space-changes.ts";
import { type FitQuestion, type SpaceReport, spaceReport } from "../inspect/space-report.ts";
import { renderSpace, renderSpaceChanges } from "../inspect/space-text.ts";

/** Name of the view of an emulated kernel. */
export const SPACE_VIEW = "space";

/** What the options of this file were given. */
export interface SpaceOptions {
  readonly range: string;
  readonly fit?: number;
  readonly align?: number;
  readonly against?: string;
  readonly levels?: "4" | "5";
  readonly base?: bigint;
  readonly top: number;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Their names. */
export const SPACE_OPTIONS: readonly string[] = ["fit", "align", "against", "levels", "base", "top"];

/** Adds them to a command. */
export function addSpaceOptions(command: Command): void {
  const heading = "Who holds how much (FILE of a live machine, or space):";
  const size = optionParser(memorySize(4096, 2 ** 56));
  const add = (option: Option): Command => command.addOption(option.helpGroup(heading));
  add(new Option("--fit <size>", "whether an allocation of that size would fit, and where").argParser(size));
  add(new Option("--align <size>", "its alignment, a power of two (4KiB)").argParser(size));
  add(new Option("--against <file>", "an earlier look at the same machine: what changed since"));
  add(new Option("--levels <number>", "levels of page tables (by the addresses)").choices(["4", "5"]));
  add(
    new Option("--base <address>", "where the range begins, with KASLR (by markers or areas)").argParser(
      optionParser(address64),
    ),
  );
  add(
    new Option("--top <number>", "how many callers are listed")
      .argParser(optionParser(wholeNumber(1, 1e6)))
      .default(20),
  );
}

/** Whether the first argument is a file to look at rather than the name of a view. */
export function isFileArgument(name: string): boolean {
  return name === "-" || name.includes("/") || existsSync(name);
}

/**
 * Reports on a text of a live machine.
 * @throws UsageError, InputFileError
 */
export async function inspectLiveFile(file: string, options: SpaceOptions): Promise<void> {
  const layout = layoutOf(options);
  const live = await readLiveFile(file);
  const question = questionOf(options);
  const report = spaceReport(live, layout, question);
  if (live.isHidden && question !== null) {
    throw new UsageError(
      `${file}: the kernel hid the addresses, so that holes are not known (as root: sysctl kernel.kptr_restrict=1, and read it again)`,
    );
  }
  let changes: SpaceChanges | null = null;
  if (options.against !== undefined) {
    const before = await readLiveFile(options.against);
    if (before.format !== live.format) {
      throw new UsageError(`${file} is ${live.format}, but ${options.against} is ${before.format}`);
    }
    changes = spaceChanges([before, spaceReport(before, layout, question)], [live, report]);
  }
  printSpace(report, changes, options);
}

/** Reports on the areas of an emulated kernel. */
export function inspectSpace(live: LiveFile, options: SpaceOptions): void {
  printSpace(spaceReport(live, layoutOf(options), questionOf(options)), null, options);
}

function printSpace(report: SpaceReport, changes: SpaceChanges | null, options: SpaceOptions): void {
  if (options.json) printJson({ view: SPACE_VIEW, ...report, ...(changes === null ? {} : { changes }) });
  else if (!options.quiet) {
    printReport(renderSpace(report, options.top));
    if (changes !== null) printReport(`\n${renderSpaceChanges(changes, options.top)}`);
  }
}

function layoutOf({ range, levels, base }: SpaceOptions): LayoutChoice {
  if (range !== "vmalloc" && range !== "modules") {
    throw new UsageError(`--range ${range} is for page-tables; areas lie in vmalloc or modules`);
  }
  return {
    range,
    ...(levels === undefined ? {} : { levels: levels === "4" ? 4 : 5 }),
    ...(base === undefined ? {} : { base: orderOfPage(linearPageFromBigInt(base, 57)) }),
  };
}

function questionOf({ fit, align = 4096 }: SpaceOptions): FitQuestion | null {
  if (Math.log2(align) % 1 !== 0) throw new UsageError(`--align ${align}: expected a power of two`);
  return fit === undefined ? null : { sizeBytes: fit, alignBytes: align };
}
