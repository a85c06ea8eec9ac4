import { describe, expect, it } from "vitest";
import { PRESETS, presetByName } from "../../../../arch/index.ts";
import { DEFAULT_KERNEL_COSTS } from "../../../../mm/index.ts";
import { EXPERIMENTS, runExperiment } from "../../../../src/experiments/index.ts";
import { column, rows, run, SMALL } from "../small-runs.ts";

describe("flush-cost", () => {
  const result = run("flush-cost");

  it("shows a whole flush above the ceiling of 33 pages, with refills of every CPU's resident pages", () => {
    for (const row of rows(result, "flushes")) {
      if (row.policy !== "ipi") continue;
      expect(row.flushes).toBe(Number(row.pages) > 33 ? "whole TLB" : "page by page");
      if (Number(row.pages) <= 33) expect(row.refillCycles).toBe(0);
      else expect(Number(row.refillCycles) / Number(row.cpus)).toBeGreaterThan(16 * 20);
    }
  });

  it("grows with the number of CPUs: work, wait and stolen cycles", () => {
    const own = rows(result, "flushes").filter((row) => row.policy === "ipi" && row.pages === 1);
    for (const part of ["workCycles", "waitCycles", "stolenCycles"]) {
      const values = column(own, part);
      expect(values).toEqual([...values].sort((a, b) => a - b));
      expect(values[3]).toBeGreaterThan(values[1]);
    }
  });

  it("shows eager vunmap growing steeply with CPUs while lazy vunmap stays flat beside it", () => {
    const of = (policy: string) =>
      column(
        rows(result, "vunmaps").filter((row) => row.policy === policy),
        "totalCycles",
      );
    const [eager, lazy] = [of("eager"), of("ipi")];
    expect(eager[3] - eager[0]).toBeGreaterThan(1000 * (lazy[3] - lazy[0]));
    expect(Math.max(...lazy)).toBeLessThan(eager[0] / 10);
  });

  it("shows munmap under invlpgb flat once the address space has a global ASID, from four CPUs on", () => {
    const amd = presetByName("zen4");
    const own = runExperiment(EXPERIMENTS[0], amd, 1, {
      ...SMALL["flush-cost"],
      cpus: "2,4,8,32",
      policies: "ipi,invlpgb",
    });
    const of = (policy: string, key: string) =>
      column(
        rows(own, "munmaps").filter((row) => row.policy === policy),
        key,
      );
    expect(of("invlpgb", "interruptedCpus")).toEqual([1, 0, 0, 0]);
    expect(of("ipi", "interruptedCpus")).toEqual([1, 3, 7, 31]);
    const [, four, , many] = of("invlpgb", "totalCycles");
    // Flat but for the way that all answers come.
    expect(many - four).toBe((32 - 4) * DEFAULT_KERNEL_COSTS.flush.broadcastCpuCycles);
    const interrupts = of("ipi", "totalCycles");
    expect(interrupts[3]).toBeGreaterThan(5 * interrupts[1]);
  });

  it("leaves isolated CPUs in user mode alone under the policy deferred", () => {
    const deferred = rows(result, "flushes").filter((row) => row.policy === "deferred" && row.pages === 1);
    expect(column(deferred, "waitCycles")).toEqual([0, 0, 0, 0]);
    expect(column(deferred, "refillCycles")[3]).toBeGreaterThan(0);
  });

  it("uses INVLPGB where the preset has it, and says where it has not", () => {
    expect(result.findings[0]).toContain("skylake has no INVLPGB");
    const amd = PRESETS.find(({ features }) => features.invlpgb);
    if (amd === undefined) return;
    const experiment = EXPERIMENTS[0];
    const own = runExperiment(experiment, amd, 1, { ...SMALL["flush-cost"], policies: "invlpgb" });
    const stolen = column(rows(own, "flushes"), "stolenCycles");
    expect(Math.max(...stolen)).toBe(0);
    expect(Math.max(...column(rows(own, "flushes"), "workCycles"))).toBeGreaterThan(0);
  });
});
