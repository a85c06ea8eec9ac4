/** `mmulab presets`: the microarchitectures, and every figure of one with how it is known. */
import type { Command } from "commander";
import { figuresOf, PRESETS, type Preset } from "../../arch/index.ts";
import { DEFAULT_KERNEL_COSTS, kernelFiguresOf } from "../../mm/index.ts";
import { EXIT_OK } from "../command-line/errors.ts";
import { listChoices } from "../command-line/option-values.ts";
import { printOutput, printText } from "../command-line/standard-streams.ts";
import { hypervisorFigures } from "../guests/hypervisor-costs.ts";
import { figureCounts } from "../report/figures.ts";
import { renderHypervisorCosts, renderKernelCosts, renderPreset, renderPresetList } from "../report/preset-tables.ts";
import { loadPreset } from "../settings/presets.ts";

interface PresetsCommandOptions {
  readonly json?: boolean;
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
    .addHelpText("after", HELP)
    .action(async (name: string | undefined, options: PresetsCommandOptions) => exit(await presets(name, options)));
  listChoices(command, [...PRESETS.map((preset) => preset.name), KERNEL, HYPERVISOR]);
}

async function presets(name: string | undefined, { json = false }: PresetsCommandOptions): Promise<number> {
  if (name === undefined) {
    if (json) printOutput(`${JSON.stringify(PRESETS.map(summary))}\n`);
    else printText(renderPresetList(PRESETS));
  } else if (name === KERNEL) {
    const figures = kernelFiguresOf(DEFAULT_KERNEL_COSTS);
    if (json) printOutput(`${JSON.stringify(figures)}\n`);
    else printText(renderKernelCosts(figures));
  } else if (name === HYPERVISOR) {
    const figures = hypervisorFigures();
    if (json) printOutput(`${JSON.stringify(figures)}\n`);
    else printText(renderHypervisorCosts(figures));
  } else {
    const preset = await loadPreset(name);
    if (json) printOutput(`${JSON.stringify(preset, null, 2)}\n`);
    else printText(renderPreset(preset));
  }
  return EXIT_OK;
}

function summary(preset: Preset): object {
  const { name, description, vendor, frequencyGhz, tlbs } = preset;
  return {
    name,
    description,
    vendor,
    frequencyGhz: frequencyGhz.value,
    tlbs: tlbs.length,
    figures: figureCounts(figuresOf(preset, { overlap: true, mitigations: true, idleStates: true })),
  };
}
