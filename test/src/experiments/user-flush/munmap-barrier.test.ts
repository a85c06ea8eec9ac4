/** `munmap-barrier`: what the flush of a munmap takes where the other CPUs sleep, and across sockets. */
import { describe, expect, it } from "vitest";
import { presetByName } from "../../../../arch/index.ts";
import { EXPERIMENTS, runExperiment } from "../../../../src/experiments/index.ts";
import { readSettings } from "../../../../src/settings/machine-settings.ts";
import { rows } from "../small-runs.ts";

const [experiment] = EXPERIMENTS.filter(({ name }) => name === "munmap-barrier");

function munmapsOf(given: Readonly<Record<string, string>>, settings: Readonly<Record<string, string>>) {
  const observer = { onProgress: () => {}, onKernel: () => {} };
  const preset = presetByName("ivy-bridge");
  const result = runExperiment(experiment, preset, 1, { rounds: "3", ...given }, observer, readSettings(settings));
  return rows(result, "munmaps").map(({ munmapUsec, flushUsec }) => ({
    munmap: Number(munmapUsec),
    flush: Number(flushUsec),
  }));
}

describe("munmap-barrier", () => {
  it("sleeping CPUs are woken all at once: their number adds no more to what busy ones take than the first", () => {
    const cpus = { cpus: "1,2,15" };
    const [busy, asleep] = ["busy", "asleep"].map((others) => munmapsOf({ ...cpus, others }, { topology: "1x15x1" }));
    expect(asleep[0]).toEqual(busy[0]);
    const wakeUps = asleep.map(({ flush }, i) => flush - busy[i].flush);
    // From C1, as kernel.ipi.idleWakeCycles: 2500 cycles at 2.3 GHz.
    expect(wakeUps[1]).toBeCloseTo(2500 / 2300, 1);
    expect(wakeUps[2]).toBeLessThan(1.5 * wakeUps[1]);
  });

  it("from a deep state they take its exit latency, and from none that of busy CPUs", () => {
    const deep = { cpus: "4", others: "asleep" };
    const [poll, c1] = ["poll", "C1"].map((state) => munmapsOf(deep, { topology: "1x15x1", "idle-states": state })[0]);
    const [busy] = munmapsOf({ cpus: "4", others: "busy" }, { topology: "1x15x1" });
    expect(poll.flush).toBeLessThan(c1.flush);
    expect(poll.flush).toBeCloseTo(busy.flush, 0);
  });

  it("CPUs of other sockets cost more, of those two hops away the most; what is not the flush stays the same", () => {
    const [own, near, all] = munmapsOf({ cpus: "4,8,16", others: "busy" }, { topology: "8x2x1" });
    const perCpu = [(near.flush - own.flush) / 4, (all.flush - near.flush) / 8];
    expect(perCpu[1]).toBeGreaterThan(perCpu[0]);
    expect(all.munmap - all.flush).toBeCloseTo(own.munmap - own.flush, 1);
  });
});
