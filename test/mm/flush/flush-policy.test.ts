import { describe, expect, it } from "vitest";
import { cachedTranslations } from "../../../arch/cpu/cached-translations.ts";
import { type KernelCode, PAGE_SIZE, PAUSE_TURN, PageFault } from "../../../arch/index.ts";
import {
  asCode,
  DEFERRED_POLICY,
  EAGER_POLICY,
  FLUSH_POLICIES,
  type FlushPolicy,
  flushPolicyByName,
  flushTlbKernelRange,
  INVLPGB_POLICY,
  IPI_POLICY,
  lockStatistics,
  RAR_POLICY,
  vfree,
  vmalloc,
  vmUnmapAliases,
  vunmapRange,
  wait,
} from "../../../mm/index.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../../../src/machine/kernel.ts";
import { featuresFor } from "./policy-features.ts";

function boot(flushPolicy: FlushPolicy, config: Partial<KernelConfig> = {}): Kernel {
  const features = featuresFor(flushPolicy);
  return bootKernel({ cpus: 4, memoryBytes: 2 ** 28, flushPolicy, features, ...config });
}

/** A vmalloc'ed page whose translation every CPU has cached. */
function cachedEverywhere(kernel: Kernel): number {
  const address = kernel.vmalloc(PAGE_SIZE);
  kernel.machine.cpus[0].store(address, 4, 42);
  for (const cpu of kernel.machine.cpus) expect(cpu.load(address, 4)).toBe(42);
  return address;
}

function isCached(kernel: Kernel, cpu: number, address: number): boolean {
  try {
    kernel.machine.cpus[cpu].touch(address);
    return true;
  } catch (error) {
    if (error instanceof PageFault) return false;
    throw error;
  }
}

/** Whether the CPU's TLB translates a page, asked without an access. */
function holds(kernel: Kernel, cpu: number, address: number): boolean {
  return cachedTranslations(kernel.machine.cpus[cpu]).some((entry) => entry.la === address);
}

describe("flush policies", () => {
  it.each([...FLUSH_POLICIES])("$name: no CPU uses a translation once the flush of its range is over", (policy) => {
    for (const pages of [1, 33, 34, 600]) {
      const kernel = boot(policy);
      const address = cachedEverywhere(kernel);
      const { owed } = kernel.tables;
      owed.settle(kernel.tables.vunmapRangeNoflush(address, address + PAGE_SIZE), address, address + pages * PAGE_SIZE);
      expect(isCached(kernel, 3, address)).toBe(true);
      kernel.run(flushTlbKernelRange(kernel.mm.flushing, address, address + pages * PAGE_SIZE));
      for (let cpu = 0; cpu < 4; cpu++) expect(isCached(kernel, cpu, address)).toBe(false);
    }
  });

  it.each([IPI_POLICY, INVLPGB_POLICY, RAR_POLICY, DEFERRED_POLICY])(
    "$name: between vfree and the purge a stale entry still works, as on hardware; after vm_unmap_aliases none does",
    (policy) => {
      const kernel = boot(policy);
      const address = cachedEverywhere(kernel);
      kernel.vfree(address);
      expect(isCached(kernel, 2, address)).toBe(true);
      kernel.run(vmUnmapAliases(kernel.vm));
      expect(isCached(kernel, 2, address)).toBe(false);
      expect(kernel.verify()).toEqual([]);
    },
  );

  it("eager: vfree and vm_unmap_ram flush before they return, and the room is free at once", () => {
    const kernel = boot(EAGER_POLICY);
    const address = cachedEverywhere(kernel);
    kernel.vfree(address);
    expect(isCached(kernel, 2, address)).toBe(false);
    expect(kernel.vm.lazyNr).toBe(0);
    expect(kernel.vmalloc(PAGE_SIZE)).toBe(address);
    const frames = kernel.allocFrames(2);
    const mapped = kernel.vmMapRam(frames);
    for (const cpu of kernel.machine.cpus) cpu.touch(mapped);
    kernel.vmUnmapRam(mapped, 2);
    expect(isCached(kernel, 1, mapped)).toBe(false);
    const large = kernel.vmMapRam(kernel.allocFrames(70));
    kernel.machine.cpus[3].touch(large);
    kernel.vmUnmapRam(large, 70);
    expect(isCached(kernel, 3, large)).toBe(false);
    expect(kernel.vm.purges).toBe(0);
    expect(kernel.verify()).toEqual([]);
  });

  it("invlpgb: interrupts nobody, and needs a CPU that has it", () => {
    const kernel = boot(INVLPGB_POLICY);
    cachedEverywhere(kernel);
    const clocks = [...kernel.machine.loop.clockCycles];
    const accounts = kernel.vm.flushing.keepAccounts();
    kernel.run(flushTlbKernelRange(kernel.mm.flushing, 0xc900_0000_0000, 0xc900_0000_a000));
    expect([...kernel.machine.loop.clockCycles].slice(1)).toEqual(clocks.slice(1));
    expect(kernel.vm.flushing.smp.sent).toBe(0);
    expect(accounts.records[0]).toMatchObject({ policy: "invlpgb", full: false, interrupted: 0, stolenCycles: 0 });
    expect(() => bootKernel({ flushPolicy: INVLPGB_POLICY })).toThrow(
      "flush policy invlpgb: expected a CPU with INVLPGB",
    );
  });

  it("rar: microcode flushes everything on the other CPUs, with interrupts off too, and interrupts nobody", () => {
    const kernel = boot(RAR_POLICY);
    const { machine, mm } = kernel;
    const { loop } = machine;
    const address = cachedEverywhere(kernel);
    const other = cachedEverywhere(kernel);
    const accounts = kernel.vm.flushing.keepAccounts();
    let took = 0;
    function* irqsOff(): KernelCode<void> {
      loop.disableInterrupts();
      while (took === 0) {
        loop.spend(500);
        yield PAUSE_TURN;
        if (!holds(kernel, 3, address)) took = loop.nowCycles();
      }
      loop.enableInterrupts();
    }
    kernel.spawn("interrupts off", 3, irqsOff());
    kernel.spawn("flusher", 0, flushTlbKernelRange(mm.flushing, address, address + PAGE_SIZE));
    kernel.runUntilIdle();
    expect(took).toBeGreaterThan(0);
    expect(mm.flushing.smp.sent).toBe(0);
    expect([...mm.flushing.smp.taken]).toEqual([0, 0, 0, 0]);
    // The CPU that asks flushes one page, the others what they have.
    expect([0, 1, 2, 3].map((cpu) => holds(kernel, cpu, other))).toEqual([true, false, false, false]);
    const { remoteAction, invpcidAll } = machine.preset.costs;
    const { idleWakeCycles } = mm.costs.ipi;
    expect(accounts.records[0]).toMatchObject({
      policy: "rar",
      full: false,
      interrupted: 0,
      stolenCycles: 3 * (remoteAction.value + invpcidAll.value) + 2 * idleWakeCycles,
      stolenFromRunningCycles: remoteAction.value + invpcidAll.value,
    });
    expect(() => bootKernel({ flushPolicy: RAR_POLICY })).toThrow(
      "flush policy rar: expected a CPU with RAR and INVPCID",
    );
  });

  it("rar: many CPUs that flush at the same time share payloads, and all are done", () => {
    const cpus = 130;
    const kernel = boot(RAR_POLICY, { cpus });
    const { flushing } = kernel.mm;
    const accounts = flushing.keepAccounts();
    const address = kernel.vmalloc(PAGE_SIZE);
    for (let cpu = 0; cpu < cpus; cpu += 8) {
      kernel.spawn(`flusher/${cpu}`, cpu, flushTlbKernelRange(flushing, address, address + PAGE_SIZE));
    }
    kernel.runUntilIdle();
    expect(accounts.records.length).toBe(Math.ceil(cpus / 8));
    for (const { waitCycles } of accounts.records) expect(waitCycles).toBeGreaterThan(0);
    // CPUs 0, 64 and 128 use the same payload, one after the other.
    const rarLock = lockStatistics(kernel.machine.loop).find(({ name }) => name === "rar_lock");
    expect(rarLock?.contentions).toBeGreaterThan(0);
  });

  it("deferred: an isolated CPU in user mode flushes when it comes back, by system call or interrupt", () => {
    for (const back of ["system call", "interrupt"]) {
      const kernel = boot(DEFERRED_POLICY, { isolatedCpus: [2, 3] });
      const { userMode } = kernel.vm.flushing;
      const accounts = kernel.vm.flushing.keepAccounts();
      const address = cachedEverywhere(kernel);
      const { loop } = kernel.machine;
      function* user(): KernelCode<void> {
        userMode.enterUser();
        loop.spend(1_000_000);
        while (loop.mustYield()) yield PAUSE_TURN;
        expect(userMode.owes(2)).toBe(true);
        if (back === "interrupt") {
          loop.postInterrupt(2, loop.nowCycles(), (cpu) => {
            userMode.interruptEntry(cpu);
            userMode.interruptExit(cpu);
          });
          yield PAUSE_TURN;
          expect(holds(kernel, 2, address)).toBe(false);
          expect(kernel.machine.cpus[2].cpl).toBe(3);
          userMode.enterKernel();
        } else {
          userMode.enterKernel();
        }
        expect(isCached(kernel, 2, address)).toBe(false);
      }
      kernel.spawn("user", 2, user());
      function* flusher(): KernelCode<void> {
        loop.spend(1000);
        yield* vunmapRange(kernel.mm, address, address + PAGE_SIZE);
        expect(holds(kernel, 3, address)).toBe(false);
        expect(holds(kernel, 2, address)).toBe(true);
      }
      kernel.spawn("flusher", 0, flusher());
      kernel.runUntilIdle();
      const [record] = accounts.records;
      expect(record.deferred).toBe(1);
      expect(record.interrupted).toBe(2);
      expect(userMode.owes(2)).toBe(false);
      const preset = kernel.machine.preset.costs;
      expect(record.stolenFromRunningCycles).toBe(kernel.mm.costs.flush.localCycles + preset.invpcidAll.value);
    }
  });

  it("deferred: the CPU that flushes flushes its own TLB at once, though it is isolated and was in user mode", () => {
    const kernel = boot(DEFERRED_POLICY, { isolatedCpus: [2] });
    const { userMode } = kernel.vm.flushing;
    const accounts = kernel.vm.flushing.keepAccounts();
    const address = cachedEverywhere(kernel);
    function* user(): KernelCode<void> {
      userMode.enterUser();
      // As an interrupt's code does: in the kernel, on a CPU that counts as being in user mode.
      userMode.interruptEntry(2);
      yield* vunmapRange(kernel.mm, address, address + PAGE_SIZE);
      expect(userMode.owes(2)).toBe(false);
      for (let cpu = 0; cpu < 4; cpu++) expect(holds(kernel, cpu, address), `CPU ${cpu}`).toBe(false);
      userMode.interruptExit(2);
    }
    kernel.spawn("user", 2, user());
    kernel.runUntilIdle();
    expect(accounts.records[0].deferred).toBe(0);
  });

  it("are found by name, and a policy of one's own is used as it is", () => {
    expect(flushPolicyByName("eager")).toBe(EAGER_POLICY);
    expect(() => flushPolicyByName("never")).toThrow("flush policy never: expected ipi, invlpgb, rar, deferred, eager");
    let flushes = 0;
    const own: FlushPolicy = {
      ...IPI_POLICY,
      name: "own",
      *flush(context, request) {
        flushes++;
        yield* IPI_POLICY.flush(context, request);
      },
    };
    const kernel = boot(own);
    kernel.vfree(kernel.vmalloc(PAGE_SIZE));
    kernel.vmUnmapAliases();
    expect(flushes).toBe(1);
  });

  it("refuse an isolated CPU that there is not", () => {
    expect(() => boot(DEFERRED_POLICY, { isolatedCpus: [4] })).toThrow("isolated CPU 4: expected a CPU from 0 to 3");
  });
});

describe("the purge between two CPUs", () => {
  it("a CPU uses a stale entry until its own handler has run, not until the flush was sent", () => {
    const kernel = boot(IPI_POLICY, { cpus: 2 });
    const address = cachedEverywhere(kernel);
    const { loop } = kernel.machine;
    const seen: boolean[] = [];
    function* reader(): KernelCode<void> {
      loop.disableInterrupts();
      for (let i = 0; i < 4; i++) {
        loop.spend(20_000);
        yield PAUSE_TURN;
        seen.push(isCached(kernel, 1, address));
      }
      loop.enableInterrupts();
      yield PAUSE_TURN;
      seen.push(isCached(kernel, 1, address));
    }
    function* freer(): KernelCode<void> {
      yield* wait(vfree(kernel.vm, address));
      yield* vmUnmapAliases(kernel.vm);
      // The range may be used again only now, after the last acknowledgement.
      expect(loop.nowCycles()).toBeGreaterThan(80_000);
    }
    kernel.spawn("reader", 1, reader());
    kernel.spawn("freer", 0, freer());
    kernel.runUntilIdle();
    expect(seen).toEqual([true, true, true, true, false]);
  });

  it("a double free raced by two CPUs: one wins, the other is warned of", () => {
    const kernel = boot(IPI_POLICY, { cpus: 2 });
    const address = kernel.vmalloc(3 * PAGE_SIZE);
    const before = kernel.pages.freePages;
    kernel.spawn(
      "a",
      0,
      asCode(() => vfree(kernel.vm, address)),
    );
    kernel.spawn(
      "b",
      1,
      asCode(() => vfree(kernel.vm, address)),
    );
    kernel.runUntilIdle();
    expect(kernel.pages.freePages).toBe(before + 3);
    expect(kernel.log.warnings).toBe(1);
    expect(kernel.verify()).toEqual([]);
    function* again(): KernelCode<void> {
      yield* wait(vfree(kernel.vm, yield* wait(vmalloc(kernel.vm, PAGE_SIZE))));
    }
    kernel.run(again());
  });
});
