/** Random TLBs of the kinds that parts have, on an emulated machine whose times are disturbed as a host's are. */
import { PRESETS, type Preset, type TlbPreset } from "../../../arch/index.ts";
import { REPLACEMENT_NAMES, replacementPolicy, replacementProblem } from "../../../arch/presets/replacement/index.ts";
import type { SetGeometry } from "../../../src/calibration/set-geometry.ts";
import { type Random, randomStream } from "../../../src/machine/random.ts";

/** A machine to be recovered from its curves. */
export interface RandomMachine {
  readonly preset: Preset;
  readonly first: SetGeometry;
  readonly second: SetGeometry;
  /** A factor for each repetition: up to 2 % always, and up to twice as long every tenth time. */
  readonly noise: () => number;
}

const BASE = PRESETS.find(({ name }) => name === "sapphire-rapids") as Preset;

function pick<T>(random: Random, from: readonly T[]): T {
  return from[random.between(0, from.length - 1)];
}

/** The machine of a seed. */
export function randomMachine(seed: number): RandomMachine {
  const random = randomStream(seed);
  const firstSets = pick(random, [1, 2, 4, 8, 16, 16, 16, 32, 64]);
  const waysOfFirst = Array.from({ length: 127 }, (_, i) => i + 2).filter(
    (ways) => firstSets * ways >= 24 && firstSets * ways <= 128,
  );
  const isHashed = firstSets > 1 && random.between(0, 2) === 0;
  const first: SetGeometry = {
    sets: firstSets,
    ways: pick(random, waysOfFirst),
    indexHash: isHashed ? "xor" : "linear",
  };
  const ways = pick(random, [4, 6, 8, 12, 16, 24]);
  const setsOfSecond = [64, 128, 128, 256, 512].filter((sets) => {
    const entries = sets * ways;
    return entries >= 512 && entries <= 4096 && entries > 4 * first.sets * first.ways;
  });
  const second: SetGeometry = { sets: pick(random, setsOfSecond), ways, indexHash: pick(random, ["linear", "xor"]) };
  const tlbs = BASE.tlbs.map((tlb): TlbPreset => {
    if (tlb.level === 2) return { ...tlb, ...second, replacement: policyFor(random, second.ways) };
    const isLoadTlb = tlb.kinds.includes("load") && tlb.pageSizes.includes("4K");
    return isLoadTlb ? { ...tlb, ...first, replacement: policyFor(random, first.ways) } : tlb;
  });
  const { secondLevelHit, walk } = BASE.costs;
  const costs = {
    ...BASE.costs,
    secondLevelHit: { ...secondLevelHit, value: random.between(5, 10) },
    walk: { ...walk, value: random.between(15, 40) },
  };
  const noise = () =>
    1 + (0.02 * random.between(0, 1000)) / 1000 + (random.between(0, 9) === 0 ? random.between(0, 1000) / 1000 : 0);
  return { preset: { ...BASE, tlbs, costs }, first, second, noise };
}

/** A policy that fills all ways: of another, curves show fewer. */
function policyFor(random: Random, ways: number): TlbPreset["replacement"] {
  return pick(
    random,
    REPLACEMENT_NAMES.filter(
      (name) => replacementProblem(name, ways) === null && replacementPolicy(name, ways).filledWays === undefined,
    ),
  );
}
