/** Figures of scenarios that a preset's name alone does not give. Loaded when the first of them is opened. */
import { type Preset, parsePreset } from "../../../arch/index.ts";
import { InputFileError } from "../../input/errors.ts";
import { choiceOf, type FigureChoice } from "../../settings/figure-choice.ts";
import { findPreset, isPresetFile } from "../../settings/presets.ts";
import type { WorkloadScenario } from "./scenario.ts";

/** A preset in a file, by the name that scenarios have for it. */
export interface PresetFile {
  readonly name: string;
  /** The file's text. */
  readonly text: string;
}

/**
 * The figures of a scenario's machine.
 * @param file the file that was read last
 * @throws UnknownNameError, ValueError, InputFileError for what is not possible, or not there
 */
export function figuresOf(
  { preset, set = [] }: Pick<WorkloadScenario, "preset" | "set">,
  file: PresetFile | null,
): FigureChoice {
  return choiceOf(preset, isPresetFile(preset) ? presetIn(preset, file) : findPreset(preset), set);
}

function presetIn(name: string, file: PresetFile | null): Preset {
  if (file?.name === name) return parsePreset(JSON.parse(file.text));
  throw new InputFileError(name, 0, "is not here: mmulab view --preset FILE.json brings it along");
}
