/**
 * From any point on, a kernel that was saved and loaded does the same as the one that was not. MMULAB_POINTS sets how many points
 * are tried, MMULAB_SEED the seed of the first.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { KernelCode } from "../../../arch/index.ts";
import { ALL_FLUSH_POLICIES, DONE, FLUSH_POLICIES, flushAtEntryOf, UserSpaces } from "../../../mm/index.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../../../src/machine/kernel.ts";
import { type Random, randomStream } from "../../../src/machine/random.ts";
import { runOnKernel } from "../../../src/runs/run.ts";
import { captureKernel, type KernelState } from "../../../src/state/kernel-state.ts";
import { loadKernel, saveKernel } from "../../../src/state/machine-state.ts";
import { WORKLOADS } from "../../../src/workloads/index.ts";
import { temporaryFolder } from "../fixtures.ts";

const POINTS = Number(process.env.MMULAB_POINTS ?? 16);
const FIRST_SEED = Number(process.env.MMULAB_SEED ?? 1);
const folder = temporaryFolder();

const TEST_VMALLOC = { test_loop_count: 10, run_test_mask: 0x7ff, nr_pages: 2, test_repeat_count: 1, nr_threads: 1 };
/** Of a guest: all but the two tests that fill the space with junk first (`full_fit_alloc_test`, `long_busy_list_alloc_test`), minutes of the guest's time. */
const GUEST_TEST_VMALLOC = { ...TEST_VMALLOC, run_test_mask: 0x7ff & ~0b110 };
const PRESETS = ["skylake", "icelake", "sapphire-rapids", "zen2", "zen4"];

function choose<T>(random: Random, choices: readonly T[]): T {
  return choices[random.between(0, choices.length - 1)];
}

/** Presets of the policies that not all of them can carry out. */
const PRESET_OF: Readonly<Record<string, string>> = { invlpgb: "zen4", rar: "granite-rapids" };

function configOf(random: Random): Partial<KernelConfig> {
  const flushPolicy = choose(random, FLUSH_POLICIES);
  const cpus = choose(random, [1, 2, 3, 4, 7]);
  return {
    cpus,
    flushPolicy,
    preset: PRESET_OF[flushPolicy.name] ?? choose(random, PRESETS),
    numaNodes: random.between(1, 2),
    pageTableIsolation: random.between(0, 2) === 0,
    isolatedCpus: flushPolicy.name === "deferred" ? [cpus - 1] : [],
    vmalloc: choose(random, [{}, { lazyMaxPages: 64 }, { lazyMaxPages: 1024 }]),
  };
}

/** Of a guest, on its host; the policies are those that a guest can have. */
function guestConfigOf(random: Random): Partial<KernelConfig> {
  const flushPolicy = choose(
    random,
    ALL_FLUSH_POLICIES.filter(({ usesRar }) => usesRar !== true),
  );
  const cpus = choose(random, [1, 2, 3, 4, 6]);
  return {
    cpus,
    flushPolicy,
    preset: PRESET_OF[flushPolicy.name] ?? choose(random, ["skylake", "sapphire-rapids", "zen2", "zen4"]),
    pageTableIsolation: random.between(0, 2) === 0,
    isolatedCpus: flushPolicy.name === "deferred" ? [cpus - 1] : [],
    vmalloc: choose(random, [{}, { lazyMaxPages: 64 }]),
    guest: {
      hostPages: choose(random, ["4K", "2M"] as const),
      guestPages: choose(random, [undefined, "4K", "2M"] as const),
      physicalCpus: random.between(1, cpus),
      numaBalancing: choose(random, [undefined, { pages: 16, periodUsec: 300 }]),
    },
  };
}

interface Step {
  readonly workload: string;
  readonly operations: number;
  readonly seed: number;
}

function stepOf(random: Random): Step {
  const { name } = choose(random, WORKLOADS);
  return { workload: name, operations: random.between(1, 200), seed: random.between(0, 1000) };
}

function perform(kernel: Kernel, { workload: name, operations, seed }: Step): string {
  const workload = WORKLOADS.find((each) => each.name === name);
  if (workload === undefined) throw new Error(name);
  const ofTests = kernel.host === null ? TEST_VMALLOC : GUEST_TEST_VMALLOC;
  const parameters = name === "test_vmalloc" ? { parameters: ofTests } : {};
  return JSON.stringify(runOnKernel(kernel, workload, { operations, seed, ...parameters }));
}

/** Calls from outside, after which freed areas and the work that purges them may be left over. */
function callFromOutside(kernel: Kernel, random: Random): void {
  kernel.currentCpu = random.between(0, kernel.machine.loop.cpus - 1);
  const addresses = Array.from({ length: random.between(0, 40) }, () => kernel.vmalloc(random.between(1, 40) * 4096));
  for (const address of addresses) if (random.between(0, 3) > 0) kernel.vfree(address);
  // A purge that has begun is a thread in the middle of its code, which cannot be saved; one that is queued can.
  if (kernel.vm.drainWork?.queuedThread === null) kernel.runUntilIdle();
}

/** Names of the parts in which two states differ. */
function differences(one: object, other: object, path = "state"): string[] {
  if (isDeepStrictEqual(one, other)) return [];
  if (ArrayBuffer.isView(one) || Array.isArray(one)) return [path];
  return Object.entries(one).flatMap(([name, value]) => {
    const theirs = (other as Record<string, unknown>)[name];
    if (typeof value !== "object" || value === null || theirs === null)
      return value === theirs ? [] : [`${path}.${name}`];
    return differences(value as object, theirs as object, `${path}.${name}`);
  });
}

function saveAndLoad(kernel: Kernel): Kernel {
  const file = join(folder.path, "point.state");
  saveKernel(kernel, file, "a point");
  const loaded = loadKernel(file);
  rmSync(file);
  return loaded.kernel;
}

/** One point: what is wrong there, in words; empty when all is well. */
function tryPoint(seed: number, configFrom = configOf): string[] {
  const random = randomStream(seed);
  const kernel = bootKernel(configFrom(random));
  const accounts = random.between(0, 3);
  if (accounts > 0) kernel.mm.flushing.keepAccounts({ refills: accounts !== 1, perCpu: accounts === 3 });
  const before = Array.from({ length: random.between(0, 2) }, () => stepOf(random));
  for (const step of before) perform(kernel, step);
  if (random.between(0, 2) === 0) callFromOutside(kernel, random);
  const state: KernelState = captureKernel(kernel);
  const findings = kernel.verify();
  const loaded = saveAndLoad(kernel);
  const wrong = differences(captureKernel(loaded), state).map((part) => `${part} differs after loading`);
  if (!isDeepStrictEqual(loaded.verify(), findings)) wrong.push(`verify: ${loaded.verify().join("; ")}`);
  wrong.push(...loaded.verify());
  const after = [stepOf(random), stepOf(random)];
  for (const step of after) {
    if (perform(loaded, step) !== perform(kernel, step)) wrong.push(`${JSON.stringify(step)} does something else`);
  }
  wrong.push(...differences(captureKernel(loaded), captureKernel(kernel)).map((part) => `${part} differs at the end`));
  return wrong;
}

describe("a saved kernel goes on as if it had not been saved", () => {
  it.each(Array.from({ length: POINTS }, (_, i) => FIRST_SEED + i))(
    "from the point of seed %i",
    (seed) => {
      expect(tryPoint(seed)).toEqual([]);
    },
    120_000,
  );

  it.each(Array.from({ length: Math.ceil(POINTS / 2) }, (_, i) => FIRST_SEED + i))(
    "and so does a guest with its host, from the point of seed %i",
    (seed) => {
      expect(tryPoint(seed, guestConfigOf)).toEqual([]);
    },
    120_000,
  );

  it("a vCPU that owes a flush owes it after loading, on account of the same flush", () => {
    const flushPolicy = ALL_FLUSH_POLICIES.find(({ name }) => name === "kvm");
    const kernel = bootKernel({ cpus: 4, flushPolicy, guest: { physicalCpus: 2 } });
    const accounts = kernel.mm.flushing.keepAccounts({ perCpu: true });
    perform(kernel, { workload: "user_processes", operations: 150, seed: 1 });
    // At the end of a run all have run again; one that did not owes the last flush.
    const record = accounts.records.at(-1) ?? null;
    kernel.host?.paravirt?.flushAtEntry(1, flushAtEntryOf(accounts, record));
    expect([...(captureKernel(kernel).host?.owedFlushes.flush ?? [])]).toEqual([record?.id]);
    const loaded = saveAndLoad(kernel);
    for (const cpu of kernel.machine.cpus) {
      expect(loaded.mm.flushing.host?.owesFlush(cpu.id)).toBe(kernel.mm.flushing.host?.owesFlush(cpu.id));
    }
    const step = { workload: "user_processes", operations: 200, seed: 99 };
    expect(perform(loaded, step)).toBe(perform(kernel, step));
    expect(differences(captureKernel(loaded), captureKernel(kernel))).toEqual([]);
  });

  it("CPUs that come for an mmap_lock wait for who gave it back as if it had not been saved: readers for writers, writers for both", () => {
    const use = fc.record({
      cpu: fc.nat(2),
      kind: fc.constantFrom("read" as const, "write" as const, "downgrade" as const),
      atCycles: fc.nat(5000),
      cycles: fc.nat(20_000),
    });
    /** Has CPUs come for the lock of the address space that they run on, each with what it does one after the other in one go; where their clocks are then. */
    const clocksAfter = (
      kernel: Kernel,
      uses: readonly { cpu: number; kind: string; atCycles: number; cycles: number }[],
    ) => {
      const { loop } = kernel.machine;
      const spaces = UserSpaces.of(kernel.mm);
      const { mmapLock } = spaces.loaded[0];
      uses.forEach(({ cpu, kind, atCycles, cycles }, i) => {
        function* comes(): KernelCode<void> {
          loop.spend(atCycles);
          yield* kind === "read" ? mmapLock.downRead() : mmapLock.downWrite();
          loop.spend(cycles);
          if (kind === "downgrade") mmapLock.downgradeWrite();
          if (kind === "write") mmapLock.upWrite();
          else yield* mmapLock.upRead();
        }
        kernel.spawn(`comes ${i}`, cpu, comes());
      });
      kernel.runUntilIdle();
      return [...loop.clockCycles];
    };
    fc.assert(
      fc.property(
        fc.array(use, { minLength: 1, maxLength: 5 }),
        fc.array(use, { minLength: 1, maxLength: 5 }),
        (before, after) => {
          const kernel = bootKernel({ cpus: 3, memoryBytes: 2 ** 26 });
          const spaces = UserSpaces.of(kernel.mm);
          const mm = spaces.mmAlloc();
          const switches = () => {
            spaces.switchTo(mm);
            return DONE;
          };
          for (let cpu = 0; cpu < 3; cpu++) kernel.run(switches, cpu);
          clocksAfter(kernel, before);
          const loaded = saveAndLoad(kernel);
          expect(clocksAfter(loaded, after)).toEqual(clocksAfter(kernel, after));
          expect(differences(captureKernel(loaded), captureKernel(kernel))).toEqual([]);
        },
      ),
      {
        numRuns: 40,
        examples: [
          [
            [{ cpu: 1, kind: "read", atCycles: 0, cycles: 20_000 }],
            [{ cpu: 0, kind: "read", atCycles: 0, cycles: 10 }],
          ],
        ],
      },
    );
  });

  it("a scan of the host that is on its way to a vCPU is on its way after loading", () => {
    const flushPolicy = FLUSH_POLICIES.find(({ name }) => name === "eager");
    const guest = { physicalCpus: 1, numaBalancing: { pages: 16, periodUsec: 300 } };
    const kernel = bootKernel({ cpus: 2, flushPolicy, guest });
    const nextScan = () => captureKernel(kernel).host?.unmapping.nextScan;
    // Each flush is an exit, and the entry after it sends the scan.
    for (let calls = 0; nextScan() === undefined && calls < 100; calls++) kernel.vfree(kernel.vmalloc(4096));
    expect(nextScan()).toBeDefined();
    const loaded = saveAndLoad(kernel);
    expect(differences(captureKernel(loaded), captureKernel(kernel))).toEqual([]);
    const step = { workload: "mixed", operations: 200, seed: 5 };
    expect(perform(loaded, step)).toBe(perform(kernel, step));
    expect(loaded.host?.unmapping?.unmappings).toBeGreaterThan(0);
    expect(differences(captureKernel(loaded), captureKernel(kernel))).toEqual([]);
  });
});
