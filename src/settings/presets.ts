/** The microarchitectures that the command line knows, and files of one's own. */
import { PRESETS, type Preset } from "../../arch/index.ts";
import { UnknownNameError } from "../input/errors.ts";
import { suggestion } from "../input/suggestion.ts";

/**
 * The preset called `name`.
 * @throws UnknownNameError when there is none, naming the nearest and all that there are
 */
export function findPreset(name: string): Preset {
  const found = PRESETS.find((preset) => preset.name === name);
  if (found !== undefined) return found;
  const known = presetNames();
  const line = `unknown preset '${name}'${suggestion(name, known)}; there are ${known.join(", ")}, and files that end in .json`;
  throw new UnknownNameError(line, name, known);
}

/** Whether a word that is given for a preset is the name of a file. */
export function isPresetFile(word: string): boolean {
  return word.endsWith(".json");
}

/** The names of all presets. */
export function presetNames(): string[] {
  return PRESETS.map((preset) => preset.name);
}
