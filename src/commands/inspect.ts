/** `mmulab inspect`: a look at an emulated kernel as at a live one. */
import { type Command, Option } from "commander";
import { vmallocinfo } from "../../mm/index.ts";
import { EXIT_OK, UsageError } from "../command-line/errors.ts";
import {
  addFigureOptions,
  addMachineOptions,
  checkGuestSettings,
  type FigureOptions,
} from "../command-line/machine-options.ts";
import { listChoices, optionParser } from "../command-line/option-values.ts";
import { printJson, printOutput, printText } from "../command-line/standard-streams.ts";
import { checkOutputs } from "../files/output-target.ts";
import type { GuestConfig } from "../guests/guest-config.ts";
import { namesOf, parseParameters } from "../input/parameters.ts";
import { suggestion } from "../input/suggestion.ts";
import { wholeNumber } from "../input/values.ts";
import { liveFileOf } from "../inspect/live-file.ts";
import { RANGE_NAMES, type RangeName, VIEWS, type ViewOptions } from "../inspect/views.ts";
import { bootKernel, type Kernel } from "../machine/kernel.ts";
import { counted } from "../report/counted.ts";
import { runOnKernel } from "../runs/run.ts";
import { choiceTitle } from "../settings/choice-text.ts";
import type { FigureChoice } from "../settings/figure-choice.ts";
import { type GuestSettings, guestSettings } from "../settings/guest-settings.ts";
import { chooseFigures } from "../settings/load-figures.ts";
import { parseCpus, parseMemorySize } from "../settings/machine-limits.ts";
import { SETTINGS, settingKey } from "../settings/machine-settings.ts";
import { GUEST_SETTING_NAMES } from "../settings/setting-names.ts";
import { loadWorkload } from "../workloads/index.ts";
import {
  addSpaceOptions,
  inspectLiveFile,
  inspectSpace,
  isFileArgument,
  SPACE_OPTIONS,
  SPACE_VIEW,
  type SpaceOptions,
} from "./inspect-space.ts";

interface InspectCommandOptions extends FigureOptions, SpaceOptions, GuestSettings {
  readonly kernel?: string;
  readonly calls: number;
  readonly run: string;
  readonly ops: number;
  readonly cpus: number;
  readonly memory: number;
  readonly seed: number;
  readonly range: RangeName;
  readonly cpu?: number;
  readonly address?: string;
  readonly save?: string;
}

const HELP = `
Views:
${VIEWS.map(({ name, summary }) => `  ${name.padEnd(12)} ${summary}`).join("\n")}
  ${SPACE_VIEW.padEnd(12)} who holds how much of the vmalloc range, its holes, what would fit

The state is that of FILE: one that mmulab run --save wrote, or a recording replayed up to call --calls. Without FILE a
machine is booted and --run is run on it first.

mmulab inspect FILE of a live machine's /proc/vmallocinfo or /sys/kernel/debug/page_tables/kernel says who holds how much, how the
free addresses lie and whether an allocation would fit; space says so of an emulated machine.

Examples:
  $ mmulab inspect after.txt --against before.txt
  $ sudo cat /proc/vmallocinfo | mmulab inspect - --fit 2M --align 2M
  $ mmulab inspect vmallocinfo recording.jsonl.gz --calls 100
  $ mmulab inspect tlb --run mixed --ops 500 --cpu 1
  $ mmulab inspect vmallocinfo --run "fork_storm live=50" --ops 1000
  $ mmulab inspect tlb --run user_processes --guest --host-pages 4K --vcpus 4 --overcommit 2 --cpu 0
  $ mmulab run mixed --ops 5000 --save machine.state --quiet && mmulab inspect buddyinfo machine.state`;

/** Adds the command; `exit` takes its exit code. */
export function addInspectCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command("inspect")
    .description("Show the state of an emulated kernel in the formats of a live one.")
    .argument("<view>", "what to show, or a file of a live machine")
    .argument("[file]", "a saved state, or a recording")
    .addOption(
      new Option("--calls <number>", "calls of the recording to make first")
        .argParser(optionParser(wholeNumber(0, 1e12)))
        .default(Number.POSITIVE_INFINITY, "all"),
    )
    .option(
      "--run <workload>",
      "what to run first when there is no file, with its parameters; none is nothing",
      "mixed",
    )
    .option("--ops <number>", "its operations over all CPUs", optionParser(wholeNumber(1, 1e9)), 2000)
    .option("--cpus <number>", "CPUs of the machine, 1 to 1024", optionParser(parseCpus), 4)
    .addOption(
      new Option("--memory <size>", "memory of the machine")
        .argParser(optionParser(parseMemorySize))
        .default(2 ** 32, "4GiB"),
    )
    .option("--seed <number>", "seed of the random choices", optionParser(wholeNumber(0, 2 ** 32 - 1)), 1)
    .addOption(
      new Option(`--kernel ${SETTINGS.kernel.value}`, SETTINGS.kernel.summary).argParser(
        optionParser(SETTINGS.kernel.parse),
      ),
    )
    .addOption(
      new Option("--range <name>", "part of the address space for page-tables, space, or FILE")
        .choices(RANGE_NAMES)
        .default("vmalloc"),
    )
    .option("--cpu <number>", "the CPU for tlb, psc and walk", optionParser(wholeNumber(0, 4095)))
    .option("--address <address>", "the address for walk, such as 0xffffc90000000000")
    .option("--save <file>", "write the state to a file as well")
    .option("--json", "print one JSON object: numbers and named fields")
    .option("--quiet", "print nothing but errors (and what --json asks for)")
    .addHelpText("after", HELP);
  addMachineOptions(command, GUEST_SETTING_NAMES, "Guest and host:");
  listChoices(command, VIEW_NAMES);
  addSpaceOptions(command);
  addFigureOptions(command);
  command.action(async (view: string, file: string | undefined, options: InspectCommandOptions) => {
    exit(await inspect(view, file, options, command));
  });
}

async function inspect(
  name: string,
  file: string | undefined,
  options: InspectCommandOptions,
  command: Command,
): Promise<number> {
  const view = VIEWS.find((candidate) => candidate.name === name);
  if (view === undefined && name !== SPACE_VIEW) {
    if (!isFileArgument(name)) {
      throw new UsageError(`unknown view '${name}'${suggestion(name, VIEW_NAMES)}; there are ${VIEW_NAMES.join(", ")}`);
    }
    if (file !== undefined) throw new UsageError(`the view comes before the file: mmulab inspect VIEW ${name}`);
    refuseMachineOptions(name, command);
    await inspectLiveFile(name, options);
    return EXIT_OK;
  }
  for (const [option, views] of Object.entries(VIEW_OPTIONS)) {
    if (command.getOptionValueSource(option) === "cli" && !views.includes(name)) {
      if (views.length === 0) throw new UsageError(`--${option} is for a file of a live machine: mmulab inspect FILE`);
      throw new UsageError(`--${option} is for ${views.join(", ").replace(/, ([^,]*)$/, " and $1")}, not for ${name}`);
    }
  }
  if (name === "walk" && options.address === undefined) {
    throw new UsageError("walk needs --address, such as --address 0xffffc90000000000");
  }
  checkOutputs([{ what: "--save", file: options.save }], [{ what: "the file to inspect", file }]);
  const { kernel, source } = await kernelOf(file, options, command);
  const viewOptions: ViewOptions = {
    range: options.range,
    ...(options.cpu === undefined ? {} : { cpu: options.cpu }),
    ...(options.address === undefined ? {} : { address: options.address }),
  };
  if (view === undefined) {
    inspectSpace(liveFileOf(source, vmallocinfo(kernel.vm)), options);
    await save(kernel, source, options);
    return EXIT_OK;
  }
  const result = options.json ? view.data(kernel, viewOptions) : null;
  const lines = result === null && !options.quiet ? view.lines(kernel, viewOptions) : [];
  await save(kernel, source, options);
  if (result !== null) printJson({ view: name, source, ...result });
  else if (!options.quiet) (view.isOwnForm ? printText : printOutput)(lines.map((line) => `${line}\n`).join(""));
  return EXIT_OK;
}

/** Saved states and recordings: half of what the command loads, and only needed where there is a file. */
const savedStates = () => import("../state/machine-state.ts");
const recordings = () => import("../recording/replay-until.ts");

async function save(kernel: Kernel, source: string, { save: file }: InspectCommandOptions): Promise<void> {
  if (file !== undefined) (await savedStates()).saveKernel(kernel, file, source);
}

/** Options that concern some views only. */
const VIEW_OPTIONS: Readonly<Record<string, readonly string[]>> = {
  range: ["page-tables", SPACE_VIEW],
  cpu: ["tlb", "psc", "walk"],
  address: ["walk"],
  against: [],
  ...Object.fromEntries(SPACE_OPTIONS.filter((name) => name !== "against").map((name) => [name, [SPACE_VIEW]])),
};

/** Names of all views. */
const VIEW_NAMES = [...VIEWS.map(({ name }) => name), SPACE_VIEW];

/** Options that say which machine is booted: they mean nothing for one that comes from a file. */
const MACHINE_OPTIONS: readonly string[] = [
  ...["run", "ops", "cpus", "memory", "seed", "preset", "set", "kernel"],
  ...GUEST_SETTING_NAMES.map(settingKey),
];

/** @throws UsageError when one of them was given beside a file */
function refuseMachineOptions(file: string, command: Command): void {
  const misplaced = MACHINE_OPTIONS.find((option) => command.getOptionValueSource(option) === "cli");
  if (misplaced !== undefined)
    throw new UsageError(`--${optionName(misplaced)} does not go with a file: ${file} has its machine`);
}

/** An option as it is written, by the key of its value. */
function optionName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

async function kernelOf(
  file: string | undefined,
  options: InspectCommandOptions,
  command: Command,
): Promise<{ kernel: Kernel; source: string }> {
  const isGiven = (option: string): boolean => command.getOptionValueSource(option) === "cli";
  if (file !== undefined) {
    refuseMachineOptions(file, command);
    const { isStateFile, loadKernel } = await savedStates();
    if (!isStateFile(file)) {
      const { replayUntil } = await recordings();
      const { kernel, recording, calls } = await replayUntil(file, options.calls);
      if (Number.isFinite(options.calls) && calls < options.calls) {
        throw new UsageError(`${file} has ${counted(calls, "call")}, not ${options.calls}`);
      }
      return { kernel, source: `${recording} after ${counted(calls, "call")}` };
    }
    if (isGiven("calls")) throw new UsageError(`--calls goes with a recording, but ${file} is a saved state`);
    const { kernel, madeBy } = loadKernel(file);
    return { kernel, source: madeBy };
  }
  if (isGiven("calls")) throw new UsageError("--calls goes with a recording, but no file is given");
  const { memory, seed, ops, run } = options;
  checkGuestSettings(options);
  const cpus = options.vcpus ?? options.cpus;
  const figures = await chooseFigures(options.preset, options.set);
  const guest = options.guest === true ? guestSettings({ ...options, figures }, cpus) : undefined;
  const { preset, costs } = figures;
  const of = machineWords(cpus, isGiven("preset") || isGiven("set"), figures, guest);
  const machine = { cpus, memoryBytes: memory, preset, costs, kernel: options.kernel, guest };
  if (run === "none") return { kernel: bootKernel(machine), source: `${of} after boot` };
  const [workloadName, ...words] = run.split(" ").filter((word) => word !== "");
  const workload = await loadWorkload(workloadName ?? "");
  const specs = workload.parameters ?? [];
  const parameters = parseParameters(workload.name, specs, words);
  if (isGiven("ops") && workload.usesOperations === false) {
    throw new UsageError(`${workload.name} does not take --ops; its parameters are ${namesOf(specs).join(", ")}`);
  }
  const kernel = bootKernel(machine);
  runOnKernel(kernel, workload, { operations: ops, seed, ...(specs.length > 0 ? { parameters } : {}) });
  const what = workload.usesOperations === false ? words.join(" ") || "defaults" : counted(ops, "operation");
  return { kernel, source: `${of} after ${workload.name}, ${what}, seed ${seed}` };
}

/** `4 CPUs`, with their figures when these were given: `4 CPUs (zen4 with costs.walk=30)`; `4 vCPUs on 2 CPUs, host pages of 4K` of a guest. */
function machineWords(cpus: number, isGiven: boolean, figures: FigureChoice, guest: GuestConfig | undefined): string {
  const given = isGiven ? ` (${choiceTitle(figures.preset.name, figures)})` : "";
  if (guest === undefined) return `${counted(cpus, "CPU")}${given}`;
  return `${counted(cpus, "vCPU")} on ${counted(guest.physicalCpus ?? cpus, "CPU")}${given}, host pages of ${guest.hostPages ?? "4K"},`;
}
