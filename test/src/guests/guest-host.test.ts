/** A kernel in a guest: the same calls with the same results as on the machine itself, on memory that its host maps on demand. */
import { describe, expect, test } from "vitest";
import type { KernelCode } from "../../../arch/index.ts";
import { INVLPGB_POLICY, IPI_POLICY, RAR_POLICY } from "../../../mm/index.ts";
import { bootKernel, type KernelConfig } from "../../../src/machine/kernel.ts";
import { runOnKernel } from "../../../src/runs/run.ts";
import { findWorkload } from "../../../src/workloads/index.ts";

function run(config: Partial<KernelConfig>, workload = "mixed", operations = 600) {
  const kernel = bootKernel({ cpus: 4, ...config });
  const report = runOnKernel(kernel, findWorkload(workload), { operations, seed: 3 });
  return { kernel, report };
}

describe.each(["skylake", "sapphire-rapids", "zen4"])("on %s", (preset) => {
  // On one CPU: what CPUs do beside each other depends on time.
  const native = run({ preset, cpus: 1 }).report;

  test.each(["4K", "2M", "1G"] as const)(
    "calls give what they give without a guest, on host pages of %s",
    (hostPages) => {
      const { kernel, report } = run({ preset, cpus: 1, guest: { hostPages } });
      expect(report.operations).toEqual(native.operations);
      expect(report.memory.wrongLoads).toBe(0);
      expect(report.memory.loads).toBe(native.memory.loads);
      expect(kernel.verify()).toEqual([]);
      const { guest } = report;
      const faults = guest?.vcpus.reduce((sum, vcpu) => sum + vcpu.faults, 0) ?? 0;
      const pageBytes = { "4K": 2 ** 12, "2M": 2 ** 21, "1G": 2 ** 30 }[hostPages];
      // Registers of devices are mapped too, and are no memory.
      expect(faults * pageBytes).toBeGreaterThanOrEqual(guest?.memoryBytes ?? 0);
      expect(guest?.memoryBytes).toBeGreaterThan(0);
      expect(report.counters[0]["second_stage.walks"]).toBeGreaterThan(0);
    },
  );

  test("vCPUs that share physical CPUs do the same work later, and all cycles are booked", () => {
    const { kernel, report } = run({ preset, guest: { physicalCpus: 2 } });
    expect(report.memory.wrongLoads).toBe(0);
    expect(report.memory.loads + report.memory.stores).toBeGreaterThan(0);
    const stolen = report.guest?.vcpus.map(({ stolenCycles }) => stolenCycles) ?? [];
    const { accounts, clockCycles } = kernel.machine.loop;
    for (let cpu = 0; cpu < 4; cpu++) {
      const parts = accounts.ofCpu(cpu);
      expect([...parts.values()].reduce((sum, cycles) => sum + cycles, 0)).toBeCloseTo(clockCycles[cpu], 3);
      expect(parts.get("stolen by other vCPUs") ?? 0).toBe(stolen[cpu]);
    }
    expect(Math.max(...stolen)).toBeGreaterThan(1e6);
    expect(kernel.verify()).toEqual([]);
  });

  test("the same seed gives the same guest", () => {
    const config = { preset, guest: { physicalCpus: 3, hostPages: "2M" } } as const;
    expect(run(config).report).toEqual(run(config).report);
  });
});

test("refills after a flush are attributed in a guest as without one", () => {
  const refills = (config: Partial<KernelConfig>): number => {
    const kernel = bootKernel({ cpus: 2, preset: "sapphire-rapids", ...config });
    const accounts = kernel.vm.flushing.keepAccounts();
    const area = kernel.vmalloc(64 * 4096);
    const gone = kernel.vmalloc(4096);
    const [cpu] = kernel.machine.cpus;
    const touch = (): void => {
      for (let i = 0; i < 64; i++) cpu.touch(area + i * 4096);
    };
    touch();
    cpu.touch(gone);
    kernel.vfree(gone);
    kernel.vmUnmapAliases();
    touch();
    return accounts.total().refills;
  };
  const config = { flushCeilingPages: 0 };
  expect(refills(config)).toBe(64);
  expect(refills({ ...config, guest: {} })).toBe(64);
  expect(refills({ ...config, guest: { physicalCpus: 1 } })).toBe(64);
});

test("INVLPGB of a guest reaches all its vCPUs, which have one ASID; without it each has its own", () => {
  const ids = (flushPolicy?: typeof INVLPGB_POLICY): number[] =>
    bootKernel({ cpus: 3, preset: "zen4", flushPolicy, guest: {} }).host?.vcpus.map(({ id }) => id) ?? [];
  expect(ids()).toEqual([1, 2, 3]);
  expect(ids(INVLPGB_POLICY)).toEqual([1, 1, 1]);
  const { report } = run({ preset: "zen4", flushPolicy: INVLPGB_POLICY, guest: { physicalCpus: 2 } });
  expect(report.memory.wrongLoads).toBe(0);
  expect(report.counters.reduce((sum, each) => sum + each.invlpgb, 0)).toBeGreaterThan(0);
});

test("device registers are passed through: nothing answers behind them", () => {
  const kernel = bootKernel({ cpus: 1, guest: {} });
  const address = kernel.ioremap(0xfed0_0000, 4096);
  const [cpu] = kernel.machine.cpus;
  expect(cpu.load(address, 4)).toBe(0xffff_ffff);
  cpu.store(address, 4, 1);
  expect(cpu.load(address, 4)).toBe(0xffff_ffff);
});

test("what a host cannot have is refused", () => {
  expect(() => bootKernel({ cpus: 2, guest: { physicalCpus: 3 } })).toThrow(/physical CPUs 3/);
  expect(() => bootKernel({ preset: "granite-rapids", flushPolicy: RAR_POLICY, guest: {} })).toThrow(
    /flush policy rar/,
  );
});

test("guest pages of 4 KiB map all of the guest's kernel", () => {
  const leaves = (guestPages: "4K" | "2M"): number =>
    bootKernel({ memoryBytes: 2 ** 28, guest: { guestPages } }).tables.tables[1];
  expect(leaves("4K")).toBeGreaterThanOrEqual(2 ** 28 / 2 ** 21);
  expect(leaves("2M")).toBeLessThan(4);
});

test.each(["skylake", "zen4"])("verify finds what a guest on %s has not flushed, in its own dimension", (preset) => {
  const problems = (flushes: boolean): string[] => {
    const flushPolicy = { ...IPI_POLICY, name: "own", ...(flushes ? {} : { *flush(): KernelCode<void> {} }) };
    const kernel = bootKernel({ cpus: 2, preset, flushPolicy, guest: { hostPages: "2M" } });
    const area = kernel.vmalloc(4 * 4096);
    for (const cpu of kernel.machine.cpus) for (let i = 0; i < 4; i++) cpu.load(area + i * 4096, 4);
    expect(kernel.verify()).toEqual([]);
    kernel.vfree(area);
    kernel.vmUnmapAliases();
    return kernel.verify();
  };
  expect(problems(true)).toEqual([]);
  expect(
    problems(false).filter((finding) => /nothing is mapped there, and no flush is owed/.test(finding)).length,
  ).toBeGreaterThanOrEqual(8);
});
