/** The presets by name. */
import { MachineUsageError } from "../faults.ts";
import type { Preset } from "../preset.ts";
import { SKYLAKE } from "./skylake.ts";

/** All presets that come with the machine. */
export const PRESETS: readonly Preset[] = [SKYLAKE];

/** @throws MachineUsageError for a name that no preset has */
export function presetByName(name: string): Preset {
  const preset = PRESETS.find((candidate) => candidate.name === name);
  if (preset === undefined) {
    throw new MachineUsageError("preset", name, `one of ${PRESETS.map((each) => each.name).join(", ")}`);
  }
  return preset;
}
