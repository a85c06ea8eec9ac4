import { describe, expect, it } from "vitest";
import { presetByName } from "../../../arch/index.ts";
import { EXPERIMENTS, runExperiment } from "../../../src/experiments/index.ts";
import { pcidPingPong } from "../../../src/experiments/pcid-ping-pong.ts";
import { column, rows, run } from "./small-runs.ts";

describe("pcid-ping-pong", () => {
  it("shows what six ASIDs and PCIDs do: no flush up to six processes, one in each turn from seven on, and without PCIDs always", () => {
    expect(EXPERIMENTS).toContain(pcidPingPong);
    const given = { processes: "1,2,6,7", pages: "16", turns: "6" };
    // Its TLB is large, and knows any number of PCIDs.
    const result = runExperiment(pcidPingPong, presetByName("sapphire-rapids"), 1, given);
    const cells = rows(result, "turns");
    const of = (setting: string, key: string) =>
      cells.filter((row) => row.setting === setting).map((row) => Number(row[key]));
    expect(of("PCIDs", "flushesPerTurn")).toEqual([0, 0, 0, 1]);
    expect(of("PCIDs", "walksPerTurn")).toEqual([0, 0, 0, 16]);
    expect(of("no PCIDs", "flushesPerTurn")).toEqual([0, 1, 1, 1]);
    expect(of("no PCIDs", "walksPerTurn")).toEqual([0, 16, 16, 16]);
    // Isolation without PCIDs flushes on the way to user mode and back.
    expect(of("no PCIDs, isolation", "flushesPerTurn")).toEqual([2, 3, 3, 3]);
    const [with2, without2] = [of("PCIDs", "turnCycles")[1], of("no PCIDs", "turnCycles")[1]];
    expect(with2).toBeLessThan(without2);
  });

  it("leaves PCIDs out where a CPU has none", () => {
    const zen2 = runExperiment(pcidPingPong, presetByName("zen2"), 1, { processes: "2", pages: "4", turns: "1" });
    expect(rows(zen2, "turns").map(({ setting }) => setting)).toEqual(["no PCIDs", "no PCIDs, isolation"]);
    expect(rows(run("pcid-ping-pong"), "turns")).toHaveLength(12);
  });

  it("pays at each turn for what mitigations do at a context switch", () => {
    const zen4 = presetByName("zen4");
    const { mitigations } = zen4;
    if (mitigations === undefined) throw new Error("nothing is known of mitigations on Zen 4");
    const { fillReturnBuffer } = mitigations.costs;
    const costs = {
      ...mitigations.costs,
      fillReturnBuffer: { ...fillReturnBuffer, value: fillReturnBuffer.value + 1000 },
    };
    const observer = { onProgress: () => {}, onKernel: () => {} };
    const turnsOf = (preset: typeof zen4, mode: "on" | "off") =>
      column(
        rows(
          runExperiment(pcidPingPong, preset, 1, { processes: "1,2", pages: "4", turns: "2" }, observer, {
            mitigations: mode,
          }),
          "turns",
        ),
        "turnCycles",
      );
    const dearer = { ...zen4, mitigations: { ...mitigations, costs } };
    const [on, off] = [turnsOf(zen4, "on"), turnsOf(zen4, "off")];
    expect(turnsOf(dearer, "on")).toEqual(on.map((cycles) => cycles + 1000));
    expect(turnsOf(dearer, "off")).toEqual(off);
  });
});
