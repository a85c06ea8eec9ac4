/** `mmulab presets`: the microarchitectures, and every figure of one with how it is known. */
import type { Command } from "commander";
import { figuresOf, PRESETS, type Preset } from "../../arch/index.ts";
import { kernelFiguresOf } from "../../mm/index.ts";
import { EXIT_OK, UsageError } from "../command-line/errors.ts";
import { addSetOption } from "../command-line/machine-options.ts";
import { listChoices } from "../command-line/option-values.ts";
import { printOutput, printText } from "../command-line/standard-streams.ts";
import { hypervisorFigures } from "../guests/hypervisor-costs.ts";
import { figureCounts } from "../report/figures.ts";
import {
  ALL_USED,
  renderHypervisorCosts,
  renderKernelCosts,
  renderPreset,
  renderPresetList,
  tlbEntries,
} from "../report/preset-tables.ts";
import { chooseFigures } from "../settings/load-figures.ts";

interface PresetsCommandOptions {
  readonly json?: boolean;
  readonly set: readonly string[];
}

/** What the kernel's costs are called beside the presets. */
const KERNEL = "kernel";
/** And those of the hypervisor below a guest. */
const HYPERVISOR = "hypervisor";

const HELP = `
Every figure is measured, documented or assumed, and says from where (docs/presets.md). The names are those of --set:
  $ mmulab run --set tlbs.2.ways=8 --set kernel.ipi.sendCycles=200

A preset of one's own is a file that ends in .json, which every --preset takes:
  $ mmulab presets skylake --json > mine.json
  $ mmulab run --preset mine.json
  $ mmulab presets skylake --set tlbs.2.ways=8 --json > mine.json

Examples:
  $ mmulab presets
  $ mmulab presets zen4
  $ mmulab presets kernel
  $ mmulab presets hypervisor`;

/** Adds the command; `exit` takes its exit code. */
export function addPresetsCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command("presets")
    .description("List the presets, or show every figure of one with its unit, its basis and its source.")
    .argument(
      "[name]",
      "a preset, a file that ends in .json, or kernel: what kernel code costs, hypervisor: what is below a guest",
    )
    .option("--json", "print the list, or the preset as --preset takes it from a file, as JSON")
    .addHelpText("after", HELP);
  addSetOption(command);
  command.action(async (name: string | undefined, options: PresetsCommandOptions) =>
    exit(await presets(name, options)),
  );
  listChoices(command, [...PRESETS.map((preset) => preset.name), KERNEL, HYPERVISOR]);
}

async function presets(name: string | undefined, { json = false, set }: PresetsCommandOptions): Promise<number> {
  if (name === undefined) {
    if (set.length > 0)
      throw new UsageError(`--set ${set[0]}: whose figure? Name a preset, ${KERNEL} or ${HYPERVISOR}`);
    if (json) printOutput(`${JSON.stringify(PRESETS.map(summary))}\n`);
    else printText(renderPresetList(PRESETS));
  } else if (name === KERNEL) {
    checkWhose(set, KERNEL);
    const figures = kernelFiguresOf((await chooseFigures(PRESETS[0].name, set)).costs);
    if (json) printOutput(`${JSON.stringify(figures)}\n`);
    else printText(renderKernelCosts(figures));
  } else if (name === HYPERVISOR) {
    checkWhose(set, HYPERVISOR);
    const figures = hypervisorFigures((await chooseFigures(PRESETS[0].name, set)).hypervisorCosts);
    if (json) printOutput(`${JSON.stringify(figures)}\n`);
    else printText(renderHypervisorCosts(figures));
  } else {
    checkWhose(set, name);
    const { preset } = await chooseFigures(name, set);
    if (json) printOutput(`${JSON.stringify(preset, null, 2)}\n`);
    else printText(renderPreset(preset));
  }
  return EXIT_OK;
}

/** Refuses figures that are shown under another name than `name`. @throws UsageError */
function checkWhose(set: readonly string[], name: string): void {
  const shownUnder = (word: string): string =>
    [KERNEL, HYPERVISOR].find((prefix) => word.startsWith(`${prefix}.`)) ?? "a preset";
  const wanted = [KERNEL, HYPERVISOR].includes(name) ? name : "a preset";
  const other = set.find((word) => shownUnder(word) !== wanted);
  if (other === undefined) return;
  throw new UsageError(
    `--set ${other}: mmulab presets ${shownUnder(other).replace("a preset", "NAME")} shows that figure`,
  );
}

function summary(preset: Preset): object {
  const { name, description, vendor, frequencyGhz, tlbs } = preset;
  return {
    name,
    description,
    vendor,
    frequencyGhz: frequencyGhz.value,
    tlbs: tlbs.length,
    tlbEntries: tlbEntries(preset),
    figures: figureCounts(figuresOf(preset, ALL_USED)),
  };
}
