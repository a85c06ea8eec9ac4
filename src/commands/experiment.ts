/** `mmulab experiment`: measurements that answer a question, as tables and plots. */
import { type Command, Option } from "commander";
import { EXIT_OK, UsageError } from "../command-line/errors.ts";
import {
  addFigureOptions,
  addMachineOptions,
  checkCodeFigures,
  checkGuestSettings,
  type FigureOptions,
} from "../command-line/machine-options.ts";
import { optionParser } from "../command-line/option-values.ts";
import { startProgress } from "../command-line/progress.ts";
import { printJson, printOutput, printReport } from "../command-line/standard-streams.ts";
import type { Experiment } from "../experiments/base/experiment.ts";
import { EXPERIMENTS, runExperiment } from "../experiments/index.ts";
import { loadExperimentFile } from "../experiments/own-experiment.ts";
import { renderCsv, renderInputs, renderResult } from "../experiments/render/result-text.ts";
import { withSensitivity } from "../experiments/sensitivity.ts";
import { writeOutputFile } from "../files/output-file.ts";
import { checkOutputs } from "../files/output-target.ts";
import { isModuleFile } from "../files/own-module.ts";
import { HYPERVISOR } from "../guests/hypervisor-costs.ts";
import { ParameterReader } from "../input/parameter-reader.ts";
import { defaultText } from "../input/parameters.ts";
import { suggestion } from "../input/suggestion.ts";
import { wholeNumber } from "../input/values.ts";
import type { Kernel } from "../machine/kernel.ts";
import { madeBy, madeByElement, madeByLine, noteOptions } from "../provenance/made-by.ts";
import { KERNEL } from "../settings/figure-choice.ts";
import { chooseFigures } from "../settings/load-figures.ts";
import { type MachineSettings, settingKey } from "../settings/machine-settings.ts";
import { columnOption } from "../sweep/setting-columns.ts";
import { ChromeTrace } from "../timeline/chrome-trace.ts";
import { CpusOfPoints, pageLinks } from "./page-links.ts";

interface ExperimentOptions extends MachineSettings, FigureOptions {
  readonly seed: number;
  readonly inputs?: "used" | "all";
  readonly sensitivity?: string | true;
  readonly json?: boolean;
  readonly csv?: boolean;
  readonly html?: string;
  readonly page?: string;
  readonly timeline?: string;
  readonly quiet?: boolean;
}

/** Values of all options by name. */
type Values = Readonly<Record<string, unknown>>;

/** Adds the command; `exit` takes its exit code. */
export async function addExperimentCommand(
  program: Command,
  exit: (code: number) => void,
  argv: readonly string[],
): Promise<void> {
  const group = program
    .command("experiment")
    .description(
      "Measure on emulated machines. The same parameters and seed give the same output, byte for byte. Every experiment has its own --help.",
    )
    .usage("NAME [options]")
    .argument("[name]", "which experiment, or a FILE.ts of one's own")
    .addHelpText("after", "\nExample:\n  $ mmulab experiment flush-cost --cpus 1,16,128 --html flush-cost.html")
    .action((name: string | undefined) => {
      const names = EXPERIMENTS.map((experiment) => experiment.name);
      if (name === undefined) throw new UsageError(`which experiment? There are ${names.join(", ")}`);
      throw new UsageError(`unknown experiment '${name}'${suggestion(name, names)}; there are ${names.join(", ")}`);
    });
  const file = argv.find((word, i) => i > argv.indexOf("experiment") && !word.startsWith("-"));
  const own =
    file !== undefined && isModuleFile(file) ? [{ name: file, experiment: await loadExperimentFile(file) }] : [];
  const named = EXPERIMENTS.map((experiment) => ({ name: experiment.name, experiment }));
  for (const { name, experiment } of [...named, ...own]) {
    const command = group
      .command(name)
      .summary(experiment.summary)
      .description(`${experiment.summary}\n\n${experiment.description.replaceAll("\n", " ")}`)
      .copyInheritedSettings(program);
    for (const spec of experiment.parameters) {
      command.addOption(new Option(`--${columnOption(spec.name)} <values>`, spec.summary).default(defaultText(spec)));
    }
    addFigureOptions(command);
    command
      .option("--seed <number>", "seed of the random choices", optionParser(wholeNumber(0, 2 ** 32 - 1)), 1)
      .addOption(
        new Option(
          "--inputs [which]",
          "note which figures of the machine the run uses, and print these as well, with their sources; all: then the others",
        )
          .choices(["used", "all"])
          .preset("used"),
      )
      .option(
        "--sensitivity [column]",
        `change each assumed figure by a factor of two either way and show which move a column of the first table (default: ${experiment.headline})`,
      )
      .option("--json", "print the result as one JSON object")
      .option("--csv", "print the tables as CSV")
      .option("--html <file>", "write a page with plots that needs nothing else")
      .option(
        "--page <url>",
        "where the page is that --html links to (default: this computer's, while mmulab view runs)",
      )
      .option("--timeline <file>", "write a timeline in Chrome trace-event JSON (ui.perfetto.dev): a process a machine")
      .option("--quiet", "print nothing but errors (and what --json or --csv ask for)")
      .addHelpText(
        "after",
        `\nLists of whole numbers may have ranges: 1-4,8. Numbers of pages, MiB and GiB may be sizes: 2M.\n\nExample:\n  $ ${experiment.example}`,
      );
    addMachineOptions(command, experiment.settings);
    command.action(async (options: ExperimentOptions & Values) => {
      const isGiven = (key: string): boolean => command.getOptionValueSource(key) !== "default";
      exit(await run(experiment, options, valuesFor(experiment, options, isGiven)));
    });
  }
}

/** The options' values, with the smaller parameters of `--sensitivity` where none were given. */
function valuesFor(
  experiment: Experiment,
  options: ExperimentOptions & Values,
  isGiven: (key: string) => boolean,
): Values {
  const { sensitivityParameters } = experiment;
  if (options.sensitivity === undefined || sensitivityParameters === undefined) return options;
  const small = Object.entries(sensitivityParameters).map(
    ([name, text]) => [settingKey(columnOption(name)), text] as const,
  );
  const used = Object.fromEntries(small.filter(([key]) => !isGiven(key)));
  noteOptions(used);
  return { ...options, ...used };
}

async function run(experiment: Experiment, options: ExperimentOptions, values: Values): Promise<number> {
  if (options.json && options.csv) throw new UsageError("--json and --csv: expected one of them");
  if (experiment.hasKernel === false) checkCodeFigures(options.set, experiment.name, [KERNEL, HYPERVISOR]);
  const figures = await chooseFigures(options.preset, options.set);
  const settings = {
    ...(Object.fromEntries(
      experiment.settings.map((name) => [settingKey(name), values[settingKey(name)]]),
    ) as MachineSettings),
    figures,
  };
  if (experiment.runsGuests !== true) checkGuestSettings({ ...settings, set: options.set });
  const given = Object.fromEntries(
    experiment.parameters.map(({ name }): [string, string] => [name, String(values[settingKey(columnOption(name))])]),
  );
  // Errors name options, as they were typed; a parameter's name may be another.
  new ParameterReader(experiment.parameters, given, columnOption).all();
  const { preset } = figures;
  checkOutputs([
    { what: "--html", file: options.html },
    { what: "--timeline", file: options.timeline },
  ]);
  let total = 1;
  let progress = startProgress(total, options.quiet === true);
  const trace = options.timeline === undefined ? null : new ChromeTrace();
  const cpusOfPoints = new CpusOfPoints();
  const observer = {
    onProgress: (done: number, of: number, text: string) => {
      if (of !== total) {
        progress.clear();
        total = of;
        progress = startProgress(total, options.quiet === true);
      }
      progress.update(done, text);
    },
    onKernel: (kernel: Kernel, label: string) => {
      cpusOfPoints.booted(kernel);
      trace?.watch(kernel, label);
    },
    onPoint: cpusOfPoints,
  };
  await experiment.prepare?.();
  let result = runExperiment(experiment, preset, options.seed, given, observer, settings, options.inputs !== undefined);
  if (options.sensitivity !== undefined) {
    const column = options.sensitivity === true ? experiment.headline : options.sensitivity;
    const again = { experiment, seed: options.seed, given, settings, column };
    result = withSensitivity(result, again, observer.onProgress);
  }
  progress.clear();
  if (options.html !== undefined) {
    // Only those who want plots wait for the charting library.
    const { renderHtml } = await import("../experiments/render/result-html.ts");
    const page = pageLinks(experiment, options, given, settings, cpusOfPoints);
    writeOutputFile(options.html, renderHtml(result, experiment, madeByElement(), page));
  }
  if (options.timeline !== undefined && trace !== null) writeOutputFile(options.timeline, trace.toJson(madeBy()));
  if (options.json) printJson(result);
  else if (options.csv) printOutput(madeByLine() + renderCsv(result));
  else if (!options.quiet) {
    const inputs = options.inputs === undefined ? "" : `\n${renderInputs(result, options.inputs === "all")}`;
    printReport(renderResult(result) + inputs);
  }
  return EXIT_OK;
}
