import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type KernelCode, PAGE_SIZE, PTE_RW } from "../../../arch/index.ts";
import {
  DEFAULT_KERNEL_COSTS,
  doAnonymousPage,
  doWpPage,
  dupMm,
  EINVAL,
  FLUSH_POLICIES,
  handlePteFault,
  IPI_POLICY,
  type MmStruct,
  madviseDontneed,
  mmap,
  mmapPopulate,
  mprotect,
  munmap,
} from "../../../mm/index.ts";
import { boot, runningOn, TEXT } from "./user-machine.ts";

/** Behind the pages that the machine's process has, in the same table. */
const FRESH = TEXT + 16 * PAGE_SIZE;

describe("a write fault", () => {
  it("leaves alone what others have put in place of its page while it waited (pte_same)", () => {
    const delay = fc.integer({ min: 0, max: 2000 });
    fc.assert(
      fc.property(fc.tuple(delay, delay, delay), fc.boolean(), (delays, begins) => {
        const machine = boot(IPI_POLICY, { kernel: "7.3" });
        const { kernel, spaces } = machine;
        const mm = runningOn(machine, 3, 0);
        kernel.run(handlePteFault(spaces, mm, FRESH, begins), 0);
        if (begins) kernel.run(dupMm(spaces, mm), 0);
        const calls = [
          () => handlePteFault(spaces, mm, FRESH, true),
          () => madviseDontneed(spaces, mm, FRESH, FRESH + PAGE_SIZE),
          () => handlePteFault(spaces, mm, FRESH, false),
        ];
        calls.forEach((call, cpu) => {
          function* thread(): KernelCode<void> {
            kernel.machine.loop.spend(delays[cpu]);
            expect(yield* call()).toBe(0);
          }
          kernel.spawn(`thread ${cpu}`, cpu, thread());
        });
        kernel.runUntilIdle();
        expect(kernel.verify()).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });
});

describe("anonymous memory that is read before it is written", () => {
  it("maps the zero page, which takes no memory and cannot be written", () => {
    const machine = boot(IPI_POLICY);
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 2, 0);
    const [cpu0, cpu1] = kernel.machine.cpus;
    const free = kernel.pages.freePages;
    for (const page of [0, 1]) {
      expect(kernel.run(doAnonymousPage(spaces, mm, FRESH + page * PAGE_SIZE + 8, false), 0)).toBe(0);
      expect(cpu0.load(FRESH + page * PAGE_SIZE, 4)).toBe(0);
      expect(() => cpu0.store(FRESH + page * PAGE_SIZE, 4, 1)).toThrow("#PF(P|W)");
    }
    expect(mm.tables.cursor.frameAt(FRESH)).toBe(mm.tables.cursor.frameAt(FRESH + PAGE_SIZE));
    expect(kernel.pages.freePages).toBe(free);
    expect(cpu1.load(FRESH, 4)).toBe(0);
    expect(kernel.verify()).toEqual([]);
  });

  it.each([...FLUSH_POLICIES])(
    "gets a page of its own when it is written, of which all CPUs learn: $name",
    (policy) => {
      const machine = boot(policy);
      const { kernel, spaces } = machine;
      const mm = runningOn(machine, 2, 0);
      const [cpu0, cpu1] = kernel.machine.cpus;
      kernel.run(handlePteFault(spaces, mm, FRESH, false), 0);
      expect(cpu0.load(FRESH, 4) + cpu1.load(FRESH, 4)).toBe(0);
      const free = kernel.pages.freePages;
      expect(kernel.run(handlePteFault(spaces, mm, FRESH, true), 0)).toBe(0);
      expect(kernel.pages.freePages).toBe(free - 1);
      cpu0.store(FRESH, 4, 42);
      // It had the zero page in its TLB.
      expect(cpu1.load(FRESH, 4)).toBe(42);
      expect(kernel.verify()).toEqual([]);
    },
  );

  it("may not be written after mprotect either, until its write fault", () => {
    const machine = boot(IPI_POLICY);
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 1, 0);
    const [cpu] = kernel.machine.cpus;
    kernel.run(handlePteFault(spaces, mm, FRESH, false), 0);
    kernel.run(mprotect(spaces, mm, FRESH, FRESH + PAGE_SIZE, false), 0);
    kernel.run(mprotect(spaces, mm, FRESH, FRESH + PAGE_SIZE, true), 0);
    expect(() => cpu.store(FRESH, 4, 1)).toThrow("#PF(P|W)");
    expect(kernel.run(doWpPage(spaces, mm, FRESH), 0)).toBe(0);
    cpu.store(FRESH, 4, 1);
    expect(kernel.verify()).toEqual([]);
  });

  it("is shared by parent and child, each of which gets a page of its own", () => {
    const machine = boot(IPI_POLICY);
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 1, 0);
    const [cpu] = kernel.machine.cpus;
    kernel.run(handlePteFault(spaces, mm, FRESH, false), 0);
    const child = kernel.run(dupMm(spaces, mm), 0) as MmStruct;
    expect(kernel.run(doWpPage(spaces, child, FRESH), 0)).toBe(0);
    expect(cpu.load(FRESH, 4)).toBe(0);
    expect(kernel.run(doWpPage(spaces, mm, FRESH), 0)).toBe(0);
    cpu.store(FRESH, 4, 7);
    expect(mm.tables.cursor.frameAt(FRESH)).not.toBe(child.tables.cursor.frameAt(FRESH));
    expect(kernel.verify()).toEqual([]);
  });

  it("costs less to fault in and to take out than a page of its own, and more than nothing", () => {
    const machine = boot(IPI_POLICY);
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 1, 0);
    const { user } = kernel.mm.costs;
    const cycles = (code: Parameters<typeof kernel.run>[0]): number => {
      const before = kernel.machine.loop.clockCycles[0];
      kernel.run(code, 0);
      return kernel.machine.loop.clockCycles[0] - before;
    };
    const end = FRESH + PAGE_SIZE;
    for (let i = 0; i < 3; i++) {
      const none = cycles(madviseDontneed(spaces, mm, FRESH, end));
      const read = cycles(doAnonymousPage(spaces, mm, FRESH, false));
      const dropZero = cycles(madviseDontneed(spaces, mm, FRESH, end));
      const written = cycles(doAnonymousPage(spaces, mm, FRESH));
      const drop = cycles(madviseDontneed(spaces, mm, FRESH, end));
      expect(read).toBeGreaterThanOrEqual(user.readFaultCycles);
      expect(written).toBeGreaterThan(read + user.faultCycles - user.readFaultCycles);
      expect(dropZero).toBeGreaterThan(none + user.zapZeroPageCycles);
      expect(drop).toBeGreaterThan(dropZero);
    }
  });

  it("reads as a simple memory would, whatever is done with it", () => {
    const operation = fc.record({
      what: fc.constantFrom("read", "write", "drop", "forbid", "allow", "unmap"),
      page: fc.nat(5),
      cpu: fc.nat(1),
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
        const machine = boot(IPI_POLICY);
        const { kernel, spaces } = machine;
        const mm = runningOn(machine, 2, 0);
        const values = new Array<number>(6).fill(0);
        operations.forEach(({ what, page, cpu: id }, i) => {
          const la = FRESH + page * PAGE_SIZE;
          const { [id]: cpu } = kernel.machine.cpus;
          if (what === "drop" || what === "unmap") {
            const call = what === "drop" ? madviseDontneed : munmap;
            kernel.run(call(spaces, mm, la, la + PAGE_SIZE), id);
            values[page] = 0;
          } else if (what === "read" || what === "write") {
            kernel.run(handlePteFault(spaces, mm, la, what === "write"), id);
            if (what === "write") {
              cpu.store(la, 4, i + 1);
              values[page] = i + 1;
            }
            for (const each of kernel.machine.cpus.slice(0, 2)) expect(each.load(la, 4)).toBe(values[page]);
          } else kernel.run(mprotect(spaces, mm, la, la + PAGE_SIZE, what === "allow"), id);
        });
        expect(kernel.verify()).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });

  it("is found by verify where it could be written", () => {
    const machine = boot(IPI_POLICY);
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 1, 0);
    kernel.run(handlePteFault(spaces, mm, FRESH, false), 0);
    const { cursor } = mm.tables;
    cursor.seek(FRESH);
    expect(cursor.low & PTE_RW).toBe(0);
    cursor.allowWrites();
    expect(kernel.verify()).toContainEqual(
      expect.stringContaining(`the zero page can be written at 0x${FRESH.toString(16).padStart(16, "0")}`),
    );
  });
});

describe("mmap of anonymous memory", () => {
  it.each(["mmap", "mmapPopulate"])("pays for its mapping, populated or not: %s", (how) => {
    const cyclesWith = (mmapCycles: number): number => {
      const costs = { ...DEFAULT_KERNEL_COSTS, user: { ...DEFAULT_KERNEL_COSTS.user, mmapCycles } };
      const machine = boot(IPI_POLICY, { costs });
      const { kernel, spaces } = machine;
      const mm = runningOn(machine, 1, 0);
      const [before] = kernel.machine.loop.clockCycles;
      if (how === "mmap") kernel.run(mmap(spaces, mm, FRESH, FRESH + 4 * PAGE_SIZE), 0);
      else kernel.run(mmapPopulate(spaces, mm, FRESH, 4), 0);
      return kernel.machine.loop.clockCycles[0] - before;
    };
    expect(cyclesWith(8000) - cyclesWith(1000)).toBe(7000);
  });

  it("maps nothing before its first use", () => {
    const machine = boot(IPI_POLICY);
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 1, 0);
    const free = kernel.pages.freePages;
    const [before] = kernel.machine.loop.clockCycles;
    expect(kernel.run(mmap(spaces, mm, FRESH, FRESH + 4 * PAGE_SIZE), 0)).toBe(0);
    expect(kernel.machine.loop.clockCycles[0] - before).toBeGreaterThanOrEqual(kernel.mm.costs.user.mmapCycles);
    expect(kernel.pages.freePages).toBe(free);
    expect(() => kernel.machine.cpus[0].load(FRESH, 4)).toThrow("#PF");
    expect(kernel.run(mmap(spaces, mm, FRESH + 1, FRESH + PAGE_SIZE), 0)).toBe(-EINVAL);
    expect(kernel.run(mmapPopulate(spaces, mm, FRESH, 4), 0)).toBe(0);
    expect(kernel.verify()).toEqual([]);
  });
});
