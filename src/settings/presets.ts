/** The microarchitectures that the command line knows. */
import { PRESETS, type Preset } from "../../arch/index.ts";
import { UsageError } from "../input/errors.ts";
import { suggestion } from "../input/suggestion.ts";

/**
 * The preset called `name`.
 * @throws UsageError when there is none, naming the nearest and all that there are
 */
export function findPreset(name: string): Preset {
  const found = PRESETS.find((preset) => preset.name === name);
  if (found !== undefined) return found;
  const names = presetNames();
  throw new UsageError(`unknown preset '${name}'${suggestion(name, names)}; there are ${names.join(", ")}`);
}

/** The names of all presets. */
export function presetNames(): string[] {
  return PRESETS.map((preset) => preset.name);
}
