import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { describe, expect, it } from "vitest";
import { type KernelCode, PAUSE_RESCHED } from "../../../arch/index.ts";
import {
  DEFERRED_POLICY,
  EAGER_POLICY,
  exitMmap,
  flushTlbAll,
  INVLPGB_POLICY,
  leaveMm,
  snapshotVmalloc,
  UserSpaces,
  vfreeAtomic,
  vmallocinfo,
} from "../../../mm/index.ts";
import { EXIT_USAGE, endingOf } from "../../../src/command-line/errors.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";
import { runOnKernel } from "../../../src/runs/run.ts";
import { captureKernel } from "../../../src/state/kernel-state.ts";
import { loadKernel, saveKernel } from "../../../src/state/machine-state.ts";
import { mixed } from "../../../src/workloads/mixed.ts";
import { testVmalloc } from "../../../src/workloads/test-vmalloc/index.ts";
import { userProcesses } from "../../../src/workloads/user-processes.ts";
import { temporaryFolder } from "../fixtures.ts";

const folder = temporaryFolder();

function saveAndLoad(kernel: Kernel): Kernel {
  const file = join(folder.path, "state");
  saveKernel(kernel, file, "a test");
  const loaded = loadKernel(file);
  expect(loaded.madeBy).toBe("a test");
  return loaded.kernel;
}

describe("a saved machine", () => {
  it("knows after loading in which order locks were taken, where that is checked", () => {
    const kernel = bootKernel({ cpus: 4, proveLocking: true });
    runOnKernel(kernel, mixed, { operations: 1000, seed: 1 });
    const seen = kernel.mm.lockdep?.dependencies() ?? [];
    expect(seen.length).toBeGreaterThan(0);
    expect(saveAndLoad(kernel).mm.lockdep?.dependencies()).toEqual(seen);
    expect(saveAndLoad(bootKernel({ cpus: 1 })).mm.lockdep).toBeNull();
  });

  it("is a copy: what was captured stays as it was while the kernel goes on, and so does one that was restored", () => {
    const kernel = bootKernel({ cpus: 4, proveLocking: true });
    kernel.mm.flushing.keepAccounts();
    const { initMm } = UserSpaces.of(kernel.mm);
    expect(initMm.ctxId).toBeGreaterThan(0);
    runOnKernel(kernel, mixed, { operations: 1500, seed: 1 });
    const captured = captureKernel(kernel);
    const before = structuredClone(captured);
    runOnKernel(kernel, mixed, { operations: 1500, seed: 2 });
    runOnKernel(kernel, userProcesses, { operations: 300, seed: 2 });
    expect(isDeepStrictEqual(captured, before)).toBe(true);
    expect(isDeepStrictEqual(captureKernel(kernel), before)).toBe(false);
  });

  it("gives back after loading what a process left that a lazy CPU still borrows", () => {
    const kernel = bootKernel({ cpus: 2, preset: "zen4", flushPolicy: INVLPGB_POLICY });
    const spaces = UserSpaces.of(kernel.mm);
    const free = kernel.pages.freePages;
    const mm = spaces.mmAlloc();
    mm.globalAsid = spaces.globalAsids.allocateGlobalAsid(() => undefined);
    const on = (cpu: number, body: (these: UserSpaces) => void, of: Kernel): void => {
      // biome-ignore lint/correctness/useYield: plain code on a CPU
      function* code(): KernelCode<void> {
        body(UserSpaces.of(of.mm));
      }
      of.run(code(), cpu);
    };
    on(1, (these) => these.switchTo(mm), kernel);
    on(1, (these) => these.switchTo(null), kernel);
    kernel.run(exitMmap(spaces, mm), 0);
    expect(kernel.pages.freePages).toBeLessThan(free);
    const loaded = saveAndLoad(kernel);
    on(1, (these) => leaveMm(these), loaded);
    expect(loaded.pages.freePages).toBe(free);
    expect(loaded.verify()).toEqual([]);
  });

  it.each([
    ["4 CPUs after a mixed workload", { cpus: 4 }, mixed],
    ["1 CPU after test_vmalloc", { cpus: 1 }, testVmalloc],
    ["3 CPUs with eager flushes and 2 NUMA nodes", { cpus: 3, numaNodes: 2, flushPolicy: EAGER_POLICY }, mixed],
  ])("goes on after loading as if nothing had happened: %s", (_, config, workload) => {
    const kernel = bootKernel(config);
    const options = {
      operations: 3000,
      seed: 1,
      ...(workload === testVmalloc
        ? {
            parameters: {
              test_loop_count: 200,
              run_test_mask: 0x539,
              nr_pages: 3,
              test_repeat_count: 1,
              nr_threads: 1,
            },
          }
        : {}),
    };
    runOnKernel(kernel, workload, options);
    const loaded = saveAndLoad(kernel);
    expect(loaded.verify()).toEqual([]);
    expect(snapshotVmalloc(loaded.vm)).toEqual(snapshotVmalloc(kernel.vm));
    expect(vmallocinfo(loaded.vm)).toEqual(vmallocinfo(kernel.vm));
    const again = { ...options, seed: 2 };
    expect(runOnKernel(loaded, workload, again)).toEqual(runOnKernel(kernel, workload, again));
    expect(snapshotVmalloc(loaded.vm)).toEqual(snapshotVmalloc(kernel.vm));
    expect([...loaded.machine.loop.clockCycles]).toEqual([...kernel.machine.loop.clockCycles]);
    expect(loaded.verify()).toEqual([]);
  });

  it("keeps its memory, its TLBs and its counters, and shares nothing with the one that was saved", () => {
    const kernel = bootKernel({ cpus: 2 });
    const address = kernel.vmalloc(64 * 4096);
    const [cpu] = kernel.machine.cpus;
    for (let page = 0; page < 64; page++) cpu.store(address + page * 4096, 4, page * 3);
    const loaded = saveAndLoad(kernel);
    const [other] = loaded.machine.cpus;
    expect(other.counters()).toEqual(cpu.counters());
    for (let page = 0; page < 64; page++) expect(other.load(address + page * 4096, 4)).toBe(page * 3);
    expect(other.counters()["dTLB-load-misses"]).toBe(0);
    other.store(address, 4, 99);
    expect(cpu.load(address, 4)).toBe(0);
    loaded.vfree(address);
    expect(kernel.verify()).toEqual([]);
    expect(vmallocinfo(kernel.vm)).not.toEqual(vmallocinfo(loaded.vm));
  });

  it("can be one of 1 TiB, in a file of a few megabytes", () => {
    const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 40 });
    const address = kernel.vmallocHuge(2 ** 30);
    const loaded = saveAndLoad(kernel);
    expect(loaded.machine.memory.sizeBytes).toBe(2 ** 40);
    expect(readFileSync(join(folder.path, "state")).length).toBeLessThan(8 * 2 ** 20);
    loaded.vfree(address);
    expect(loaded.verify()).toEqual([]);
  });

  it("keeps the accounts of flushes, and goes on with them", () => {
    const kernel = bootKernel({ cpus: 2 });
    kernel.mm.flushing.keepAccounts({ perCpu: true });
    runOnKernel(kernel, mixed, { operations: 400, seed: 1 });
    const loaded = saveAndLoad(kernel);
    const [mine, theirs] = [loaded, kernel].map((each) => each.mm.flushing.accounts);
    expect(mine?.records.length).toBeGreaterThan(0);
    expect(mine?.total()).toEqual(theirs?.total());
    runOnKernel(loaded, mixed, { operations: 400, seed: 2 });
    runOnKernel(kernel, mixed, { operations: 400, seed: 2 });
    expect(mine?.costByOrigin()).toEqual(theirs?.costByOrigin());
    expect(mine?.unexplainedWalks).toBe(theirs?.unexplainedWalks);
  });

  it("keeps work that is queued and not begun", () => {
    const kernel = bootKernel({ cpus: 2, vmalloc: { lazyMaxPages: 4 } });
    kernel.currentCpu = 1;
    for (const address of [kernel.vmalloc(8 * 4096), kernel.vmalloc(4096)]) kernel.vfree(address);
    vfreeAtomic(kernel.vm, kernel.vmalloc(4096));
    const loaded = saveAndLoad(kernel);
    for (const each of [kernel, loaded]) {
      expect(each.vm.lazyNr).toBe(11);
      each.runUntilIdle();
      expect(each.vm.purges).toBeGreaterThan(0);
    }
    expect(captureKernel(loaded)).toEqual(captureKernel(kernel));
  });

  it("keeps user address spaces: a later flush reaches the CPUs that still have one loaded", () => {
    const kernel = bootKernel({ cpus: 2, pageTableIsolation: true });
    runOnKernel(kernel, userProcesses, { operations: 200, seed: 1 });
    const loaded = saveAndLoad(kernel);
    const lazy = UserSpaces.of(loaded.mm).tlbStates.map(({ isLazy }) => isLazy);
    expect(lazy).toEqual(UserSpaces.of(kernel.mm).tlbStates.map(({ isLazy }) => isLazy));
    expect(lazy).toContain(true);
    expect(UserSpaces.of(loaded.mm).loaded.map(({ ctxId }) => ctxId)).toEqual(
      UserSpaces.of(kernel.mm).loaded.map(({ ctxId }) => ctxId),
    );
    const mmsOf = ({ mm }: typeof kernel) => [...UserSpaces.of(mm).mms].map(({ ctxId }) => ctxId);
    expect(mmsOf(loaded)).toEqual(mmsOf(kernel));
    // Most of them no CPU has loaded.
    expect(mmsOf(loaded).length).toBeGreaterThan(2);
    expect(loaded.verify()).toEqual([]);
    const next = { operations: 200, seed: 2 };
    expect(runOnKernel(loaded, userProcesses, next)).toEqual(runOnKernel(kernel, userProcesses, next));
  });
});

describe("what cannot be saved is refused, in one line that says what and why", () => {
  it("a kernel with former bugs of Linux, which a file has no place for", () => {
    expect(refusal(bootKernel({ bugs: ["removeVmAreaFindsTwice"] }))).toMatch(/former bugs .*removeVmAreaFindsTwice/);
  });

  const refusal = (kernel: Kernel): string => {
    const file = join(folder.path, "refused");
    let line = "";
    try {
      saveKernel(kernel, file, "");
    } catch (error) {
      const ending = endingOf(error);
      expect(ending?.exitCode).toBe(EXIT_USAGE);
      line = ending?.line ?? "";
    }
    expect(existsSync(file)).toBe(false);
    return line;
  };

  it("a thread in the middle of its code", () => {
    const kernel = bootKernel({ cpus: 1 });
    kernel.spawn(
      "busy",
      0,
      (function* (): KernelCode<void> {
        yield PAUSE_RESCHED;
      })(),
    );
    expect(refusal(kernel)).toBe("the state cannot be saved: thread busy: is in the middle of its code");
    kernel.runUntilIdle();
    saveKernel(kernel, join(folder.path, "idle"), "");
  });

  it("a lock that is held", () => {
    const kernel = bootKernel({ cpus: 1 });
    kernel.vm.purgeLock.tryTake();
    expect(refusal(kernel)).toBe("the state cannot be saved: vmap_purge_lock: is held");
  });

  it("a purge notifier", () => {
    const kernel = bootKernel({ cpus: 1 });
    kernel.vm.registerVmapPurgeNotifier(() => 0);
    const why = "is registered, which is a function of the program";
    expect(refusal(kernel)).toBe(`the state cannot be saved: vmap purge notifier: ${why}`);
  });

  it("a flush policy of one's own", () => {
    const kernel = bootKernel({ cpus: 1, flushPolicy: { ...EAGER_POLICY, name: "mine" } });
    const known = "ipi, invlpgb, rar, deferred, eager, kvm, hyperv";
    expect(refusal(kernel)).toBe(`the state cannot be saved: flush policy "mine": is none of ${known}`);
  });

  it("a flush that an isolated CPU has put off until it leaves user mode", () => {
    const kernel = bootKernel({ cpus: 2, flushPolicy: DEFERRED_POLICY, isolatedCpus: [1] });
    kernel.run(
      // biome-ignore lint/correctness/useYield: kernel code is a generator even where it never waits
      (function* (): KernelCode<void> {
        kernel.mm.flushing.userMode.enterUser();
      })(),
      1,
    );
    kernel.run(flushTlbAll(kernel.mm.flushing), 0);
    expect(refusal(kernel)).toContain("CPU 1: owes a flush that was put off until it leaves user mode");
  });
});
