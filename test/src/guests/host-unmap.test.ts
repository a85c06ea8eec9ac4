/** Memory that a host takes from its guest while it runs: nothing cached leads to it afterwards, and the guest sees no difference but time. */
import { describe, expect, test } from "vitest";
import { compute, type KernelCode } from "../../../arch/index.ts";
import { KVM_POLICY } from "../../../mm/index.ts";
import { bootKernel, type KernelConfig } from "../../../src/machine/kernel.ts";
import { runOnKernel } from "../../../src/runs/run.ts";
import { findWorkload } from "../../../src/workloads/index.ts";

const NUMA = { pages: 50, periodUsec: 100 };

function run(config: Partial<KernelConfig>, workload = "mixed", operations = 800) {
  const kernel = bootKernel({ cpus: 4, ...config });
  const report = runOnKernel(kernel, findWorkload(workload), { operations, seed: 4 });
  return { kernel, report, unmapping: kernel.host?.unmapping };
}

describe.each(["skylake", "zen4"])("%s", (preset) => {
  test.each([4, 2])(
    "NUMA balancing on %i physical CPUs: what was stored is there, and nothing cached is stale",
    (physicalCpus) => {
      const { kernel, report, unmapping } = run({ preset, guest: { physicalCpus, numaBalancing: NUMA } });
      expect(report.memory.wrongLoads).toBe(0);
      expect(report.kernelWarnings).toBe(0);
      expect(kernel.verify()).toEqual([]);
      expect(unmapping?.unmappings).toBeGreaterThan(5);
      expect(unmapping?.pages).toBeGreaterThan(200);
      expect(unmapping?.kicks).toBeGreaterThan(0);
      const { accounts, clockCycles } = kernel.machine.loop;
      for (let cpu = 0; cpu < 4; cpu++) {
        const sum = [...accounts.ofCpu(cpu).values()].reduce((total, cycles) => total + cycles, 0);
        expect(sum).toBeCloseTo(clockCycles[cpu], 3);
        expect(kernel.machine.loop.interrupts.disabled[cpu]).toBe(0);
      }
      // What was taken is mapped again where it is used.
      const faults = report.guest?.vcpus.reduce((sum, vcpu) => sum + vcpu.faults, 0) ?? 0;
      expect(faults * 4096).toBeGreaterThan(report.guest?.memoryBytes ?? 0);
    },
  );

  test("with flushes that skip vCPUs, and processes", () => {
    const guest = { physicalCpus: 2, hostPages: "2M", numaBalancing: { pages: 5, periodUsec: 150 } } as const;
    const { report, unmapping } = run({ preset, flushPolicy: KVM_POLICY, guest }, "user_processes");
    expect(report.memory.wrongLoads).toBe(0);
    expect(unmapping?.pages).toBeGreaterThan(0);
  });

  test.each([true, false])(
    "where vCPUs invalidate (%s) nothing cached leads to memory that the guest does not have",
    (invalidates) => {
      const kernel = bootKernel({ cpus: 2, preset, guest: {} });
      const { machine, host } = kernel;
      const unmapping = host?.unmapping;
      if (unmapping === null || unmapping === undefined) throw new Error("no host");
      const area = kernel.vmalloc(8 * 4096);
      for (const cpu of machine.cpus) for (let i = 0; i < 8; i++) cpu.load(area + i * 4096, 4);
      const frames = [(machine.cpus[0].probe(area + 3 * 4096).guestPhysical ?? 0) / 4096];
      expect(kernel.verify()).toEqual([]);
      if (!invalidates) {
        const pay = unmapping.payInvalidation.bind(unmapping);
        unmapping.payInvalidation = (cpu) => {
          pay(cpu);
          return false;
        };
      }
      kernel.run(() => unmapping.inflate(frames));
      const findings = kernel.verify();
      if (invalidates) {
        expect(findings).toEqual([]);
        return;
      }
      // Both vCPUs, in each TLB and in the caches of guest-physical mappings.
      for (const cpu of [0, 1]) {
        const own = findings.filter((finding) => finding.startsWith(`CPU ${cpu}:`));
        expect(own.some((finding) => finding.includes("which the guest does not have"))).toBe(true);
        expect(own.some((finding) => finding.includes("guest-physical pages lead from"))).toBe(true);
      }
    },
  );

  test("a balloon: pages that the guest gives away are gone on every vCPU, and come back empty", () => {
    const kernel = bootKernel({ cpus: 2, preset, guest: {} });
    const { machine, host } = kernel;
    const { loop } = machine;
    if (host === null) throw new Error("no host");
    const area = kernel.vmalloc(8 * 4096);
    for (const cpu of machine.cpus) for (let i = 0; i < 8; i++) cpu.store(area + i * 4096, 4, 7);
    const frames = Array.from(
      { length: 8 },
      (_, i) => (machine.cpus[0].probe(area + i * 4096).guestPhysical ?? 0) / 4096,
    );
    const before = host.hypervisor.pages;
    const seen: number[] = [];
    let isGone = false;
    function* other(): KernelCode<void> {
      while (!isGone && loop.currentThread !== null) yield* compute(loop.currentThread, 5000);
      expect(host?.hypervisor.pages).toBe(before - 8);
      for (let i = 0; i < 8; i++) seen.push(machine.cpus[1].load(area + i * 4096, 4));
    }
    function* inflating(): KernelCode<void> {
      yield* host?.unmapping?.inflate(frames) ?? other();
      isGone = true;
    }
    kernel.spawn("other", 1, other());
    kernel.spawn("balloon", 0, inflating());
    kernel.runUntilIdle();
    expect(seen).toEqual(new Array(8).fill(0));
    expect(host.hypervisor.pages).toBe(before);
    expect(host.unmapping?.kicks).toBe(1);
    expect(kernel.verify()).toEqual([]);
  });
});

test.each([
  ["zen2", "2M", 6],
  ["skylake", "2M", 5],
  ["zen2", "4K", 5],
] as const)(
  "a vCPU that was found preempted invalidates before it does anything, however soon that is: %s, %s, %i CPUs",
  (preset, hostPages, physicalCpus) => {
    // Here some vCPU has something to do between the last time at which it ran and the time at which the host finds it idle for long.
    const numaBalancing = { pages: 16, periodUsec: 300 };
    const kernel = bootKernel({ cpus: 6, preset, guest: { hostPages, guestPages: "4K", physicalCpus, numaBalancing } });
    for (const [workload, operations, seed] of [
      ["fork_storm", 18, 683],
      ["mixed", 73, 716],
      ["mixed", 246, 916],
    ] as const) {
      expect(runOnKernel(kernel, findWorkload(workload), { operations, seed }).memory.wrongLoads).toBe(0);
    }
    expect(kernel.verify()).toEqual([]);
  },
);
