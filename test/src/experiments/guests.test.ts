/** What `nested-walk` and `fracture` are meant to show. */
import { expect, test } from "vitest";
import { presetByName } from "../../../arch/index.ts";
import { EXPERIMENTS, runExperiment } from "../../../src/experiments/index.ts";

function rows(name: string, parameters: Record<string, string>, preset = "sapphire-rapids") {
  const experiment = EXPERIMENTS.find((each) => each.name === name);
  if (experiment === undefined) throw new Error(name);
  const [table] = runExperiment(experiment, presetByName(preset), 1, parameters).tables;
  return table.rows.map((row) => Object.fromEntries(table.columns.map(({ key }, i) => [key, row[i]])));
}

const WALKS = { size: "32", pages: "4K,2M", accesses: "4000" };

test.each(["sapphire-rapids", "zen4"])("nested-walk: what each dimension and each page size adds, %s", (preset) => {
  const all = rows("nested-walk", { ...WALKS, levels: "4,5", host_levels: "4,5" }, preset);
  const cold = (guestPage: string, hostPage: string, guestLevels = 4, hostLevels = 4) =>
    Number(
      all.find(
        (row) =>
          row.guestPage === guestPage &&
          row.hostPage === hostPage &&
          row.guestLevels === guestLevels &&
          row.hostLevels === (hostPage === "native" ? 0 : hostLevels),
      )?.coldWalkCycles,
    );
  for (const page of ["4K", "2M"]) {
    const order = [cold(page, "native"), cold(page, "1G"), cold(page, "2M"), cold(page, "4K")];
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(new Set(order).size).toBe(4);
    expect(cold(page, "4K", 5, 4)).toBeGreaterThan(cold(page, "4K"));
    expect(cold(page, "4K", 4, 5)).toBeGreaterThan(cold(page, "4K"));
    expect(cold(page, "4K", 5, 5)).toBeGreaterThan(Math.max(cold(page, "4K", 5, 4), cold(page, "4K", 4, 5)));
  }
  const steady = (guestPage: string, hostPage: string) =>
    all.find((row) => row.guestPage === guestPage && row.hostPage === hostPage && row.guestLevels === 4) ?? {};
  // A large page of one side only is held in pieces: as many misses as with small ones on both.
  const difference = Number(steady("2M", "4K").missPercent) - Number(steady("4K", "4K").missPercent);
  expect(Math.abs(difference)).toBeLessThan(1);
  expect(steady("2M", "2M").missPercent).toBe(steady("2M", "native").missPercent);
  expect(Number(steady("4K", "4K").overNativeCycles)).toBeGreaterThan(1);
  // Large pages that need no walks natively do on small ones of the host.
  expect(steady("2M", "native").overNativeCycles).toBe(0);
  expect(steady("2M", "4K").overNativeCycles).toBe(steady("2M", "4K").walkCyclesPerAccess);
});

test("fracture: on host pages of 4 KiB the work after INVLPGs walks as after losing everything, and not after MOV to CR3", () => {
  const all = rows("fracture", { invlpgs: "1,33", rounds: "5" });
  const cell = (hostPage: string, flush: string, invlpgs = 33) =>
    all.find((row) => row.hostPage === hostPage && row.flush === flush && row.invlpgs === invlpgs) ?? {};
  for (const invlpgs of [1, 33]) {
    expect(cell("4K", "INVLPG", invlpgs).refillWalks).toBe(64);
    expect(cell("4K", "MOV CR3", invlpgs).refillWalks).toBe(0);
    for (const hostPage of ["native", "2M", "1G"]) expect(cell(hostPage, "INVLPG", invlpgs).refillWalks).toBe(0);
  }
  const amd = rows("fracture", { invlpgs: "33", rounds: "5", host_pages: "4K" }, "zen4");
  expect(amd.find((row) => row.hostPage === "4K" && row.flush === "INVLPG")?.refillWalks).toBe(0);
});
