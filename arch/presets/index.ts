/** The presets by name. */
import { MachineUsageError } from "../isa/errors.ts";
import { GRANITE_RAPIDS } from "./granite-rapids.ts";
import { HASWELL } from "./haswell.ts";
import { ICELAKE } from "./icelake.ts";
import { IVY_BRIDGE } from "./ivy-bridge.ts";
import type { Preset } from "./preset.ts";
import { SAPPHIRE_RAPIDS } from "./sapphire-rapids.ts";
import { SKYLAKE } from "./skylake.ts";
import { ZEN2 } from "./zen2.ts";
import { ZEN3 } from "./zen3.ts";
import { ZEN4 } from "./zen4.ts";
import { ZEN5 } from "./zen5.ts";

/** All presets that come with the machine. */
export const PRESETS: readonly Preset[] = [
  SKYLAKE,
  ICELAKE,
  SAPPHIRE_RAPIDS,
  GRANITE_RAPIDS,
  HASWELL,
  IVY_BRIDGE,
  ZEN2,
  ZEN3,
  ZEN4,
  ZEN5,
];

/** @throws MachineUsageError for a name that no preset has */
export function presetByName(name: string): Preset {
  const preset = PRESETS.find((candidate) => candidate.name === name);
  if (preset === undefined) {
    throw new MachineUsageError("preset", name, `one of ${PRESETS.map((each) => each.name).join(", ")}`);
  }
  return preset;
}
