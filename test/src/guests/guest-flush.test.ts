/** Flush policies of guests: a vCPU that does not run gets no interrupt, and uses nothing stale when it runs again. */
import { describe, expect, test } from "vitest";
import { compute, type KernelCode, PageFault } from "../../../arch/index.ts";
import {
  type FlushPolicy,
  HYPERV_POLICY,
  INVLPGB_POLICY,
  IPI_POLICY,
  KVM_POLICY,
  mmapPopulate,
  munmap,
  UserSpaces,
} from "../../../mm/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { runOnKernel } from "../../../src/runs/run.ts";
import { findWorkload } from "../../../src/workloads/index.ts";

const START = 0x10_0000_0000;
const PAGE = 4096;

/**
 * vCPUs 0 and 2 share a physical CPU and compute without rest, vCPU 1 has its own and unmaps pages that all have cached. What each of
 * the others finds when it next uses them, how long the call took, and interrupts that the others took for it.
 */
function unmapWhileOthersCompute(flushPolicy: FlushPolicy, preset: string, pages: number) {
  const kernel = bootKernel({ cpus: 3, preset, flushPolicy, guest: { physicalCpus: 2 } });
  const { machine, mm: kernelMm } = kernel;
  const { loop } = machine;
  const { smp, host } = kernelMm.flushing;
  const spaces = new UserSpaces(kernelMm);
  const mm = spaces.mmAlloc();
  const faults = [0, 0, 0];
  const result = { callCycles: 0, owed: [] as number[], interrupts: [0, 0, 0], faults };
  let isUnmapped = false;
  function* busy(): KernelCode<void> {
    spaces.switchTo(mm);
    const cpu = machine.cpus[loop.currentCpu];
    /** The pages that fault. */
    const use = (): number => {
      let count = 0;
      for (let i = 0; i < pages; i++) {
        try {
          cpu.touch(START + i * PAGE);
        } catch (error) {
          if (!(error instanceof PageFault)) throw error;
          count++;
        }
      }
      return count;
    };
    while (!isUnmapped && loop.currentThread !== null) {
      use();
      yield* compute(loop.currentThread, 100_000);
    }
    faults[cpu.id] = use();
  }
  function* caller(): KernelCode<void> {
    spaces.switchTo(mm);
    yield* mmapPopulate(spaces, mm, START, pages);
    kernel.spawn("busy/0", 0, busy());
    kernel.spawn("busy/2", 2, busy());
    // Until both have run, and one of them is in the middle of its slice.
    if (loop.currentThread !== null) yield* compute(loop.currentThread, 2.6e7);
    const before = [...smp.taken];
    const began = loop.nowCycles();
    yield* munmap(spaces, mm, START, START + pages * PAGE);
    isUnmapped = true;
    result.callCycles = loop.nowCycles() - began;
    result.interrupts = before.map((count, cpu) => smp.taken[cpu] - count);
    result.owed = [0, 2].filter((cpu) => host?.owesFlush(cpu));
  }
  kernel.spawn("caller", 1, caller());
  kernel.runUntilIdle();
  return { ...result, problems: kernel.verify() };
}

describe.each(["skylake", "zen4"])("%s", (preset) => {
  test.each([
    ["kvm", 1],
    ["kvm", 40],
    ["hyperv", 1],
    ["hyperv", 40],
  ])("%s, %i pages: the vCPU that does not run is not waited for, and flushes before it runs", (name, pages) => {
    const policy = name === "kvm" ? KVM_POLICY : HYPERV_POLICY;
    const slow = unmapWhileOthersCompute(IPI_POLICY, preset, pages);
    const fast = unmapWhileOthersCompute(policy, preset, pages);
    for (const { faults, problems } of [slow, fast]) {
      expect(problems).toEqual([]);
      // Each of the others finds each page gone.
      expect(faults).toEqual([pages, 0, pages]);
    }
    expect(slow.owed).toEqual([]);
    expect(slow.interrupts[0]).toBe(1);
    expect(slow.interrupts[2]).toBe(1);
    // A slice is 3 ms: nearly eight million cycles.
    expect(slow.callCycles).toBeGreaterThan(1e6);
    expect(fast.callCycles).toBeLessThan(1e5);
    expect(fast.owed).toHaveLength(1);
    // KVM interrupts the other; with Hyper-V the hypervisor does, and the guest sees nothing of it.
    expect(fast.interrupts[0] + fast.interrupts[2]).toBe(policy === KVM_POLICY ? 1 : 0);
    expect(fast.interrupts[fast.owed[0]]).toBe(0);
  });
});

test("a policy that skips vCPUs and does not mark them leaves stale translations, which the test sees", () => {
  const forgetful: FlushPolicy = {
    ...KVM_POLICY,
    name: "forgetful",
    flushUser: (context, request) =>
      request.nativeFlushTlbMulti((cpus) =>
        context.smp.onEachCpuMask(
          cpus.filter((cpu) => context.host?.isPreempted(cpu) !== true),
          request.invalidate,
          request.record,
        ),
      ),
  };
  const { faults } = unmapWhileOthersCompute(forgetful, "skylake", 1);
  expect(faults[0] + faults[2]).toBe(1);
});

test.each([
  ["skylake", KVM_POLICY],
  ["sapphire-rapids", HYPERV_POLICY],
  ["zen4", KVM_POLICY],
  ["zen4", HYPERV_POLICY],
  ["zen4", INVLPGB_POLICY],
] as const)("processes on overcommitted vCPUs of %s find what they stored, under %o", (preset, flushPolicy) => {
  const kernel = bootKernel({ cpus: 6, preset, flushPolicy, guest: { physicalCpus: 3, hostPages: "2M" } });
  const accounts = kernel.vm.flushing.keepAccounts();
  const report = runOnKernel(kernel, findWorkload("user_processes"), { operations: 1500, seed: 5 });
  expect(report.memory.wrongLoads).toBe(0);
  expect(report.kernelWarnings).toBe(0);
  expect(accounts.total().stolenCycles).toBeGreaterThan(0);
});

test("they are refused without a guest", () => {
  for (const flushPolicy of [KVM_POLICY, HYPERV_POLICY]) {
    expect(() => bootKernel({ flushPolicy })).toThrow(/runs as a guest/);
  }
});
