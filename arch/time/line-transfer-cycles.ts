/** From the nanoseconds of a preset to cycles by distance. */
import type { Figure } from "../presets/figure.ts";
import type { Preset } from "../presets/preset.ts";
import type { ByDistance } from "./topology.ts";

/** What moving a line costs on a part, in cycles, by distance. */
export function lineTransferCycles({ lineTransfers, frequencyGhz }: Preset): ByDistance {
  const { core, cluster, socket, remote, far } = lineTransfers;
  const cyclesOf = ({ value }: Figure<"ns">): number => Math.round(value * frequencyGhz.value);
  return [0, cyclesOf(core), cyclesOf(cluster), cyclesOf(socket), cyclesOf(remote), cyclesOf(far)];
}
