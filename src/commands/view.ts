/** `mmulab view`: the machine in a web page, step by step. */
import { existsSync } from "node:fs";
import { basename } from "node:path";
import type { Command } from "commander";
import { ALL_FLUSH_POLICIES } from "../../mm/index.ts";
import { EXIT_OK, UsageError } from "../command-line/errors.ts";
import {
  addFigureOptions,
  addMachineOptions,
  checkHeeded,
  type FigureOptions,
} from "../command-line/machine-options.ts";
import { optionParser } from "../command-line/option-values.ts";
import { printOutput } from "../command-line/standard-streams.ts";
import { toInputError } from "../files/byte-chunks.ts";
import { readSmallFile, readSmallText } from "../files/whole-file.ts";
import { OutputFileError, UnknownNameError } from "../input/errors.ts";
import { suggestion } from "../input/suggestion.ts";
import { wholeNumber } from "../input/values.ts";
import { counted } from "../report/counted.ts";
import { choiceOf } from "../settings/figure-choice.ts";
import { loadPreset } from "../settings/load-figures.ts";
import { cpusOf, type MachineSettings, settingKey, settingTexts } from "../settings/machine-settings.ts";
import { isPresetFile } from "../settings/presets.ts";
import { SETTING_NAMES } from "../settings/setting-names.ts";
import { begin, steppedWorkloads } from "../view/model/begin.ts";
import { formatLink } from "../view/model/link.ts";
import { DEFAULT_SCENARIO, type Scenario, SOURCE_NAME } from "../view/model/scenario.ts";
import { STORIES } from "../view/model/stories/index.ts";
import { openCommand, startOpening } from "../view/open-browser.ts";
import { type BesidePage, type Serving, servePage } from "../view/serve.ts";
import { VIEW_PORT } from "./page-links.ts";

interface ViewCommandOptions extends MachineSettings, FigureOptions {
  readonly ops: number;
  readonly seed: number;
  readonly cpus: number;
  readonly port?: number;
  readonly open: boolean;
  readonly json?: boolean;
}

/** CPUs that the page shows at the most. */
const CPUS_MAX = 64;
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
A policy of one's own is for the other commands.

Stories:
${STORIES.map(({ name, title }) => `  ${name.padEnd(16)} ${title}`).join("\n")}

Examples:
  $ mmulab view
  $ mmulab view stale-entry
  $ mmulab view --preset zen4
  $ mmulab view mixed --cpus 8 --ops 1000 --seed 7 --preset zen4 --policy eager
  $ mmulab view mixed --preset mine.json --set tlbs.2.ways=2
  $ mmulab view fs_buffer_cache live=20 --port 8080
  $ mmulab view recording.jsonl.gz
  $ mmulab view my-workload.ts --cpus 2`;

/** Adds the command; `exit` takes its exit code. */
export function addViewCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command("view")
    .description("Serve a web page on this computer that shows the machine step by step, and print its address.")
    .argument(
      "[scenario]",
      `a story, a workload or a file to begin with (default: the story ${STORIES[0].name}; with options of a machine the workload ${DEFAULT_SCENARIO.name})`,
    )
    .argument("[parameters...]", "the workload's own parameters, NAME=VALUE")
    .option("--ops <number>", "operations of the workload over all CPUs", optionParser(wholeNumber(1, 1_000_000)), 400)
    .option("--seed <number>", "seed of the random choices", optionParser(wholeNumber(0, 2 ** 32 - 1)), 1)
    .option(
      "--cpus <number>",
      `CPUs of the machine, 1 to ${CPUS_MAX} (default: as many as --topology has, or 4)`,
      optionParser(wholeNumber(1, CPUS_MAX)),
      4,
    )
    .option(
      "--port <number>",
      `port to serve on (0: one that is free; default: ${VIEW_PORT}, to which reports of experiments link, or one that is free)`,
      optionParser(wholeNumber(0, 65_535)),
    )
    .option("--no-open", "do not open the browser")
    .option("--json", "print the address as JSON")
    .addHelpText("after", HELP);
  addFigureOptions(command);
  addMachineOptions(command);
  command.action(async (name: string | undefined, parameters: string[], options: ViewCommandOptions) =>
    exit(await view(name, parameters, options, (option) => command.getOptionValueSource(option) === "cli")),
  );
}

async function view(
  name: string | undefined,
  parameters: readonly string[],
  options: ViewCommandOptions,
  isGiven: (option: string) => boolean,
): Promise<number> {
  const ofMachine = ["ops", "seed", "cpus", "preset", "set", ...SETTING_NAMES].filter((each) =>
    isGiven(settingKey(each)),
  );
  const first = ofMachine.length === 0 ? STORIES[0].name : DEFAULT_SCENARIO.name;
  const { scenario, beside } = await scenarioOf(name ?? first, parameters, options, ofMachine, isGiven("cpus"));
  const serving = await serveSomewhere(options.port, beside);
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

/** What the page needs beside its own files. */
type Beside = Readonly<Partial<Record<BesidePage, Uint8Array>>>;

/** Serves on the port that was asked for; else on the usual one, or, when it is taken, on one that is free. */
async function serveSomewhere(port: number | undefined, beside: Beside): Promise<Serving> {
  if (port !== undefined) return servePage(port, beside);
  try {
    return await servePage(VIEW_PORT, beside);
  } catch (error) {
    if (!(error instanceof OutputFileError)) throw error;
    return servePage(0, beside);
  }
}

/**
 * What is shown first, and the files that it needs. What is wrong with it is said here, not in the page.
 * @param ofMachine options of a workload and its machine that were given
 */
async function scenarioOf(
  name: string,
  parameters: readonly string[],
  options: ViewCommandOptions,
  ofMachine: readonly string[],
  hasCpus: boolean,
): Promise<{ readonly scenario: Scenario; readonly beside: Beside }> {
  const isWorkload = steppedWorkloads().includes(name);
  if (isWorkload || SOURCE_FILE.test(name)) {
    return workloadScenario(name, parameters, { ...options, cpus: cpusFor(options, hasCpus) });
  }
  const [unheeded] = ofMachine;
  const isStory = STORIES.some((story) => story.name === name);
  if (!isStory && !existsSync(name)) throw unknownScenario(name);
  if (unheeded !== undefined) {
    throw new UsageError(
      `--${unheeded} is for workloads: ${name} brings its machine along; a workload takes it: mmulab view ${DEFAULT_SCENARIO.name} --${unheeded} ...`,
    );
  }
  if (parameters.length > 0) {
    throw new UsageError(`${name} is a ${isStory ? "story" : "file"} and takes no parameters`);
  }
  if (isStory) return { scenario: { kind: "story", name }, beside: {} };
  const opened = fileBytes(name);
  const { openFile } = await import("../view/model/open-file.ts");
  (await openFile(name, opened))();
  return { scenario: { kind: "file", name: basename(name) }, beside: { opened } };
}

/** As many CPUs as the topology has, unless a number is given. @throws UsageError for more than the page shows */
function cpusFor({ cpus, topology }: ViewCommandOptions, isGiven: boolean): number {
  const room = topology === undefined || isGiven ? cpus : cpusOf(topology);
  if (room <= CPUS_MAX) return room;
  throw new UsageError(`--topology: has ${counted(room, "CPU")}, expected at most ${CPUS_MAX}`);
}

/** A workload, one of one's own too, on the machine that was asked for. */
async function workloadScenario(
  name: string,
  parameters: readonly string[],
  options: ViewCommandOptions,
): Promise<{ readonly scenario: Scenario; readonly beside: Beside }> {
  const { ops: operations, seed, vcpus, cpus: given, preset, set, policy } = options;
  checkHeeded(options);
  if (policy !== undefined && !ALL_FLUSH_POLICIES.includes(policy)) {
    throw new UsageError(`--policy: the page has mmulab's own policies only, and cannot read ${policy.name}`);
  }
  const base = await loadPreset(preset);
  const figures = choiceOf(preset, base, set);
  const cpus = vcpus ?? given;
  const machine = {
    ...DEFAULT_SCENARIO,
    operations,
    seed,
    cpus,
    preset,
    ...(set.length === 0 ? {} : { set }),
    settings: settingTexts(options),
  };
  const beside = isPresetFile(preset) ? { preset: Buffer.from(JSON.stringify(base)) } : {};
  if (SOURCE_FILE.test(name)) {
    if (!existsSync(name)) throw unknownScenario(name);
    if (parameters.length > 0) throw new UsageError(`${name} is a file and takes no parameters`);
    const { parameters: _, ...rest } = machine;
    const source = readSmallText(name, SOURCE_BYTES_MAX);
    begin({ ...machine, name: DEFAULT_SCENARIO.name }, figures);
    return { scenario: { ...rest, kind: "source", name: SOURCE_NAME, source }, beside };
  }
  const scenario = { ...machine, name, parameters };
  begin(scenario, figures);
  return { scenario, beside };
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
