/** The microarchitectures that the command line knows. */
import { PRESETS, type Preset } from "../../arch/index.ts";
import { unknownName } from "../input/errors.ts";

/**
 * The preset called `name`.
 * @throws UnknownNameError when there is none, naming the nearest and all that there are
 */
export function findPreset(name: string): Preset {
  const found = PRESETS.find((preset) => preset.name === name);
  if (found !== undefined) return found;
  throw unknownName("preset", name, presetNames());
}

/** The names of all presets. */
export function presetNames(): string[] {
  return PRESETS.map((preset) => preset.name);
}
