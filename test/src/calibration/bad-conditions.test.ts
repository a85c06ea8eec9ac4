/** Curves of which no preset can be made: better none than a wrong one. */
import { describe, expect, it } from "vitest";
import { PRESETS, type Preset } from "../../../arch/index.ts";
import { calibrate } from "../../../src/calibration/calibration.ts";
import { CalibrationError } from "../../../src/calibration/calibration-error.ts";
import type { ChainTimer } from "../../../src/calibration/chain-timer.ts";
import { collectCurves } from "../../../src/calibration/collect.ts";
import type { MeasuredCurves } from "../../../src/calibration/curves.ts";
import { EmulatedTimer } from "../../../src/calibration/emulated-timer.ts";
import { type Random, randomStream } from "../../../src/machine/random.ts";

const SKYLAKE = PRESETS.find(({ name }) => name === "skylake") as Preset;

/** A timer that asks another for other pages, or changes its times. */
function wrapped(
  inner: ChainTimer,
  changes: { readonly pages?: (page: number) => number; readonly ns?: (ns: number) => number; readonly size?: number },
): ChainTimer {
  const { pages = (page: number) => page, ns = (time: number) => time, size = inner.memoryPages } = changes;
  return {
    memoryPages: size,
    isAligned: true,
    origin: inner.origin,
    clockGhz: inner.clockGhz,
    time: (visits, repetitions) => ns(inner.time(visits.map(pages), repetitions)),
  };
}

function curvesOf(changes: Parameters<typeof wrapped>[1]): MeasuredCurves {
  return collectCurves(wrapped(new EmulatedTimer(SKYLAKE), changes), { seed: 1, isQuick: true });
}

const upTo = (random: Random, most: number) => (most * random.between(0, 1000)) / 1000;

describe("no preset is made", () => {
  it("of curves that are different each time, as under a heavy load", () => {
    const random = randomStream(3);
    const curves = curvesOf({ ns: (ns) => ns * (1 + upTo(random, 2)), size: 2 ** 14 });
    expect(curves.disagreeing).toBeGreaterThan(0.1);
    expect(() => calibrate(curves)).toThrow(CalibrationError);
    expect(() => calibrate(curves)).toThrow(/too much else runs/);
  });

  it("of huge pages, which it names", () => {
    const curves = curvesOf({ pages: (page) => Math.floor(page / 512) });
    expect(() => calibrate(curves)).toThrow(/2 MiB pages \(transparent huge pages\)/);
  });

  it("of a memory in which no TLB runs out", () => {
    const curves = curvesOf({ size: 600 + 8 });
    const flat = { ...curves, loads: curves.loads.map((each) => ({ ...each, points: each.points.slice(0, 3) })) };
    expect(() => calibrate(flat)).toThrow(/too few points|no curve rises/);
  });

  it("of loads that all take the same time", () => {
    expect(() => calibrate(curvesOf({ ns: () => 2 }))).toThrow(/no curve rises/);
  });

  it("of an index that is none of those known", () => {
    // Every page goes to a set that depends on all of its bits.
    const scrambled = (page: number) => Math.imul(page ^ (page >>> 7), 0x9e3779b1) >>> 13;
    expect(() => calibrate(curvesOf({ pages: scrambled }))).toThrow(/no geometry explains|do not tell/);
  });
});
