/**
 * How long a CPU that waits for work takes to wake up when an interrupt comes (`drivers/cpuidle/`). Which state it is in follows from how long it
 * has been idle: the deepest that it pays to enter for so long, as if the governor had foreseen it (`menu` predicts, and is often right).
 */
import type { Preset } from "../../arch/presets/preset.ts";
import { ConfigError } from "../lib/config-error.ts";

/** The deepest state is the preset's last one. */
const DEEPEST_IDLE_STATE = "all";
/** CPUs poll for work (`idle=poll`): nothing wakes up. */
const POLLING = "poll";

/** A state in cycles. */
export interface IdleStateCycles {
  readonly exitCycles: number;
  readonly residencyCycles: number;
}

/**
 * The states that a CPU may enter, the lightest first.
 * @param deepest the name of one of the preset's (`intel_idle.max_cstate`), `all` or `poll`
 * @throws ConfigError for a state that the part does not have
 */
export function idleStateCycles(preset: Preset, deepest: string): IdleStateCycles[] {
  const { idleStates = [], frequencyGhz, name } = preset;
  if (deepest === POLLING) return [];
  const place = idleStates.findIndex((state) => state.name.toLowerCase() === deepest.toLowerCase());
  const last = deepest === DEEPEST_IDLE_STATE ? idleStates.length - 1 : place;
  if (last < 0) {
    const known = [POLLING, ...idleStates.map((state) => state.name), DEEPEST_IDLE_STATE].join(", ");
    throw new ConfigError("idle states", deepest, `one of ${known}, those of the preset ${name}`);
  }
  return idleStates.slice(0, last + 1).map(({ exitLatency, targetResidency }) => ({
    exitCycles: exitLatency.value * frequencyGhz.value,
    residencyCycles: targetResidency.value * frequencyGhz.value,
  }));
}

/** What waking up takes after `idleCycles` of nothing to do. */
export function wakeCycles(states: readonly IdleStateCycles[], idleCycles: number): number {
  let exit = 0;
  for (const state of states) if (idleCycles >= state.residencyCycles) exit = state.exitCycles;
  return exit;
}
