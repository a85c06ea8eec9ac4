/** A balloon that a guest inflates and empties while it works: what it holds is nobody's, what it gives back comes with memory of the host. */
import { describe, expect, test } from "vitest";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { runOnKernel } from "../../../src/runs/run.ts";
import { stateOf } from "../../../src/state/saved-parts.ts";
import { findWorkload } from "../../../src/workloads/index.ts";

const BALLOON = { pages: 300, periodUsec: 60 };

function run(preset: string, guest: object, operations = 500) {
  const kernel = bootKernel({ cpus: 4, preset, guest: { balloon: BALLOON, ...guest } });
  const report = runOnKernel(kernel, findWorkload("mixed"), { operations, seed: 4 });
  const { balloon } = kernel.host ?? {};
  if (balloon === null || balloon === undefined) throw new Error("no balloon");
  return { kernel, report, balloon };
}

describe.each(["skylake", "zen4"])("%s", (preset) => {
  test.each([{}, { physicalCpus: 2 }, { hostPages: "2M" }] as const)("with %j", (guest) => {
    const { kernel, report, balloon } = run(preset, guest);
    expect(report.memory.wrongLoads).toBe(0);
    expect(report.kernelWarnings).toBe(0);
    expect(kernel.verify()).toEqual([]);
    expect(balloon.deflations).toBeGreaterThan(1);
    expect(balloon.inflations - balloon.deflations).toBe(balloon.frames.length > 0 ? 1 : 0);
    expect(report.guest?.balloon).toEqual({
      inflations: balloon.inflations,
      deflations: balloon.deflations,
      pagesGiven: balloon.inflations * BALLOON.pages,
    });
  });
});

test("inflated, its pages are the guest's no longer and none of the host's; emptied, they are free", () => {
  const { kernel, balloon } = run("skylake", {});
  while (balloon.frames.length === 0) runOnKernel(kernel, findWorkload("mixed"), { operations: 40, seed: 1 });
  const frames = [...balloon.frames];
  expect(new Set(frames).size).toBe(BALLOON.pages);
  for (const frame of frames) expect(kernel.host?.hypervisor.unmap(frame)).toEqual([]);
  expect(kernel.verify()).toEqual([]);
  // A page that is in the balloon and somebody else's is found.
  kernel.freeFrames(balloon.frames.slice(0, 1));
  expect(kernel.verify()).toEqual([`balloon: frame 0x${frames[0].toString(16)} is in it and not allocated`]);
});

test("holds what there is where the guest has less memory than was asked for", () => {
  const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 25, guest: { balloon: { pages: 1e9, periodUsec: 20 } } });
  runOnKernel(kernel, findWorkload("mixed"), { operations: 300, seed: 4 });
  expect(kernel.host?.balloon?.inflations).toBeGreaterThan(0);
  expect(kernel.verify()).toEqual([]);
});

test("a kernel with one is not saved", () => {
  const { kernel } = run("skylake", {}, 20);
  expect(() => stateOf(kernel)).toThrow("the guest has a balloon");
});
