/** `mmulab view`: the machine in a web page, step by step. */
import { existsSync } from "node:fs";
import { basename } from "node:path";
import { type Command, Option } from "commander";
import { EXIT_OK, UsageError } from "../command-line/errors.ts";
import { addMachineOptions } from "../command-line/machine-options.ts";
import { listWords, optionParser } from "../command-line/option-values.ts";
import { printOutput } from "../command-line/standard-streams.ts";
import { toInputError } from "../files/byte-chunks.ts";
import { readSmallFile, readSmallText } from "../files/whole-file.ts";
import { OutputFileError, UnknownNameError } from "../input/errors.ts";
import { suggestion } from "../input/suggestion.ts";
import { wholeNumber } from "../input/values.ts";
import { findPreset, isPresetFile, presetNames } from "../settings/presets.ts";
import { begin, steppedWorkloads } from "../view/model/begin.ts";
import { formatLink } from "../view/model/link.ts";
import { DEFAULT_SCENARIO, type Scenario, SOURCE_NAME } from "../view/model/scenario.ts";
import { STORIES } from "../view/model/stories/index.ts";
import { openCommand, startOpening } from "../view/open-browser.ts";
import { type Serving, servePage } from "../view/serve.ts";
import { VIEW_PORT } from "./page-links.ts";

interface ViewCommandOptions {
  readonly ops: number;
  readonly seed: number;
  readonly cpus: number;
  readonly kernel?: string;
  readonly preset?: string;
  readonly port?: number;
  readonly open: boolean;
  readonly json?: boolean;
}

/** Bytes of a file, and of a source that goes into a link, at the most. */
const FILE_BYTES_MAX = 2 ** 26;
const SOURCE_BYTES_MAX = 2 ** 18;
/** A workload of one's own. */
const SOURCE_FILE = /\.[cm]?[jt]s$/;

const HELP = `
The page shows the vmalloc range, page tables, TLBs and time, and goes through a run step by step, forwards and backwards. It is
served to this computer only, until Ctrl-C, and loads nothing from elsewhere; dist/web is the same page for any web server. Started
from a terminal of a desktop, it opens in the browser there.

A file is a recording, a saved state, ftrace text with events of vmalloc, or a trace of valgrind's lackey, gzip or plain; or a workload
of one's own in TypeScript (.ts), which is changed and run in the page. Files can also be dropped on the page.

Stories:
${STORIES.map(({ name, title }) => `  ${name.padEnd(16)} ${title}`).join("\n")}

Examples:
  $ mmulab view
  $ mmulab view stale-entry
  $ mmulab view mixed --cpus 8 --ops 1000 --seed 7 --preset zen4
  $ mmulab view fs_buffer_cache live=20 --port 8080
  $ mmulab view recording.jsonl.gz
  $ mmulab view my-workload.ts --cpus 2`;

/** Adds the command; `exit` takes its exit code. */
export function addViewCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command("view")
    .description("Serve a web page on this computer that shows the machine step by step, and print its address.")
    .argument("[scenario]", "a story, a workload or a file to begin with", STORIES[0].name)
    .argument("[parameters...]", "the workload's own parameters, NAME=VALUE")
    .option("--ops <number>", "operations of the workload over all CPUs", optionParser(wholeNumber(1, 1_000_000)), 400)
    .option("--seed <number>", "seed of the random choices", optionParser(wholeNumber(0, 2 ** 32 - 1)), 1)
    .option("--cpus <number>", "CPUs of the machine, 1 to 64", optionParser(wholeNumber(1, 64)), 4)
    .option(
      "--port <number>",
      `port to serve on (0: one that is free; default: ${VIEW_PORT}, to which reports of experiments link, or one that is free)`,
      optionParser(wholeNumber(0, 65_535)),
    )
    .option("--no-open", "do not open the browser")
    .option("--json", "print the address as JSON")
    .addHelpText("after", HELP);
  const names = presetNames();
  command.addOption(
    listWords(
      new Option("--preset <name>", `microarchitecture of a workload (${names.join(", ")}; default: skylake)`),
      names,
      false,
    ),
  );
  addMachineOptions(command, ["kernel"]);
  command.action(async (name: string, parameters: string[], options: ViewCommandOptions) =>
    exit(await view(name, parameters, options)),
  );
}

async function view(name: string, parameters: readonly string[], options: ViewCommandOptions): Promise<number> {
  const { scenario, opened } = await scenarioOf(name, parameters, options);
  const serving = await serveSomewhere(options.port, opened);
  const link = formatLink({ scenario, position: 0, focus: { cpu: null, address: null } });
  const url = `http://127.0.0.1:${serving.port}/#${link}`;
  printOutput(options.json ? `${JSON.stringify({ url })}\n` : `${url}\nCtrl-C ends it.\n`);
  const { platform, env, stdout } = process;
  const opening = openCommand(url, { platform, env, isTerminal: stdout.isTTY });
  if (options.open && options.json !== true && opening !== null) startOpening(opening);
  await new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
  serving.close();
  return EXIT_OK;
}

/** Serves on the port that was asked for; else on the usual one, or, when it is taken, on one that is free. */
async function serveSomewhere(port: number | undefined, opened: Uint8Array | null): Promise<Serving> {
  if (port !== undefined) return servePage(port, opened);
  try {
    return await servePage(VIEW_PORT, opened);
  } catch (error) {
    if (!(error instanceof OutputFileError)) throw error;
    return servePage(0, opened);
  }
}

/** What is shown first, and what is in the file that it comes from, if any. What is wrong with it is said here, not in the page. */
async function scenarioOf(
  name: string,
  parameters: readonly string[],
  { ops, seed, cpus, kernel, preset }: ViewCommandOptions,
): Promise<{ readonly scenario: Scenario; readonly opened: Uint8Array | null }> {
  const settings = kernel === undefined ? {} : { kernel };
  if (preset !== undefined && isPresetFile(preset))
    throw new UsageError(`--preset ${preset}: the page has mmulab's own presets only: ${presetNames().join(", ")}`);
  const part = preset === undefined ? {} : { preset: findPreset(preset).name };
  const machine = { ...DEFAULT_SCENARIO, operations: ops, seed, cpus, settings, ...part };
  const isWorkload = steppedWorkloads().includes(name);
  const hasOwnMachine = !isWorkload && !SOURCE_FILE.test(name);
  if (kernel !== undefined && hasOwnMachine) {
    throw new UsageError(`--kernel is for workloads: ${name} brings its kernel along`);
  }
  if (preset !== undefined && hasOwnMachine) {
    throw new UsageError(`--preset is for workloads: ${name} brings its machine along`);
  }
  if (isWorkload || STORIES.some((story) => story.name === name)) {
    const scenario: Scenario = isWorkload ? { ...machine, name, parameters } : { kind: "story", name };
    begin(scenario);
    return { scenario, opened: null };
  }
  if (!existsSync(name)) throw unknownScenario(name);
  if (parameters.length > 0) throw new UsageError(`${name} is a file and takes no parameters`);
  if (SOURCE_FILE.test(name)) {
    const { parameters: _, ...rest } = machine;
    const scenario: Scenario = {
      ...rest,
      kind: "source",
      name: SOURCE_NAME,
      source: readSmallText(name, SOURCE_BYTES_MAX),
    };
    return { scenario, opened: null };
  }
  const opened = fileBytes(name);
  const { openFile } = await import("../view/model/open-file.ts");
  (await openFile(name, opened))();
  return { scenario: { kind: "file", name: basename(name) }, opened };
}

/** @throws InputFileError */
function fileBytes(name: string): Uint8Array {
  try {
    return readSmallFile(name, FILE_BYTES_MAX);
  } catch (error) {
    throw toInputError(name, 0, error);
  }
}

function unknownScenario(name: string): Error {
  const known = [...STORIES.map((story) => story.name), ...steppedWorkloads()];
  const line = `unknown story or workload '${name}'${suggestion(name, known)}, and no such file; there are ${known.join(", ")}`;
  return new UnknownNameError(line, name, known);
}
