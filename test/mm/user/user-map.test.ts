import { describe, expect, it } from "vitest";
import { type KernelCode, PAGE_SIZE, PAUSE_TURN } from "../../../arch/index.ts";
import {
  doAnonymousPage,
  EINVAL,
  ENOMEM,
  exitMmap,
  IPI_POLICY,
  KERNEL_VERSIONS,
  madviseDontneed,
  mmapPopulate,
  mprotect,
  munmap,
} from "../../../mm/index.ts";
import { boot, faults, runningOn, TEXT } from "./user-machine.ts";

/** One past the last user address. */
const USER_END = 2 ** 47;

describe("an address space", () => {
  it.each([
    [
      "mmap",
      (machine: ReturnType<typeof boot>, mm: ReturnType<typeof runningOn>, start: number, end: number) =>
        mmapPopulate(machine.spaces, mm, start, (end - start) / PAGE_SIZE),
    ],
    [
      "munmap",
      (machine: ReturnType<typeof boot>, mm: ReturnType<typeof runningOn>, start: number, end: number) =>
        munmap(machine.spaces, mm, start, end),
    ],
    [
      "mprotect",
      (machine: ReturnType<typeof boot>, mm: ReturnType<typeof runningOn>, start: number, end: number) =>
        mprotect(machine.spaces, mm, start, end, false),
    ],
    [
      "madvise",
      (machine: ReturnType<typeof boot>, mm: ReturnType<typeof runningOn>, start: number, end: number) =>
        madviseDontneed(machine.spaces, mm, start, end),
    ],
  ] as const)("takes whole pages of the user half: %s", (_, call) => {
    const machine = boot(IPI_POLICY);
    const { kernel } = machine;
    const mm = runningOn(machine, 1, 0);
    const before = kernel.pages.freePages;
    for (const [start, end] of [
      [-PAGE_SIZE, PAGE_SIZE],
      [USER_END - PAGE_SIZE, USER_END + PAGE_SIZE],
      [USER_END, USER_END + PAGE_SIZE],
      [TEXT, TEXT],
      [TEXT + PAGE_SIZE, TEXT],
      [TEXT + 8, TEXT + 8 + PAGE_SIZE],
    ]) {
      expect(kernel.run(call(machine, mm, start, end)), `${start} to ${end}`).toBe(-EINVAL);
    }
    expect(kernel.pages.freePages).toBe(before);
    expect(mm.mmapLock.isHeld).toBe(false);
    // The first and the last page are the user's.
    expect(kernel.run(call(machine, mm, 0, PAGE_SIZE))).toBe(0);
    expect(kernel.run(call(machine, mm, USER_END - PAGE_SIZE, USER_END))).toBe(0);
    expect(mm.mmapLock.isHeld).toBe(false);
    expect(kernel.verify()).toEqual([]);
  });

  it("gives everything back when memory ends during mmap", () => {
    const machine = boot(IPI_POLICY);
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 1, 0);
    const before = kernel.pages.freePages;
    expect(kernel.run(mmapPopulate(spaces, mm, TEXT + 2 ** 30, before + 1))).toBe(-ENOMEM);
    // So many frames are there, but not the tables as well.
    expect(kernel.run(mmapPopulate(spaces, mm, TEXT + 2 ** 30, before))).toBe(-ENOMEM);
    expect(kernel.pages.freePages).toBeLessThanOrEqual(before);
    expect(kernel.pages.freePages).toBeGreaterThan(before - 300);
    expect(kernel.verify()).toEqual([]);
    kernel.run(exitMmap(spaces, mm));
    expect(kernel.verify()).toEqual([]);
  });
});

describe.each(KERNEL_VERSIONS.map(({ name }) => name))(
  "pages that are given back and faulted in again (%s)",
  (version) => {
    const machineOf = (): ReturnType<typeof boot> => boot(IPI_POLICY, { kernel: version });

    it("are zeroed, writable, and read again without a fault", () => {
      const machine = machineOf();
      const { kernel, spaces } = machine;
      const mm = runningOn(machine, 2, 0);
      const [cpu0, cpu1] = kernel.machine.cpus;
      for (let page = 0; page < 8; page++) cpu0.store(TEXT + page * PAGE_SIZE, 4, 7 + page);
      cpu1.touch(TEXT + 3 * PAGE_SIZE);
      kernel.run(spaces.lru.lruAddDrainAll());
      const before = kernel.pages.freePages;
      expect(kernel.run(madviseDontneed(spaces, mm, TEXT + 2 * PAGE_SIZE, TEXT + 4 * PAGE_SIZE), 0)).toBe(0);
      // Its table stays: the mapping is still there.
      expect(kernel.pages.freePages).toBe(before + 2);
      for (const cpu of [0, 1]) {
        for (let page = 0; page < 8; page++) expect(faults(machine, cpu, page)).toBe(page === 2 || page === 3);
      }
      expect(kernel.run(doAnonymousPage(spaces, mm, TEXT + 3 * PAGE_SIZE + 123), 0)).toBe(0);
      expect(kernel.pages.freePages).toBe(before + 1);
      expect(faults(machine, 0, 3)).toBe(false);
      expect(cpu0.load(TEXT + 3 * PAGE_SIZE, 4)).toBe(0);
      cpu0.store(TEXT + 3 * PAGE_SIZE, 4, 99);
      // Somebody else was there first: nothing is mapped over it.
      expect(kernel.run(doAnonymousPage(spaces, mm, TEXT + 3 * PAGE_SIZE), 1)).toBe(0);
      expect(cpu1.load(TEXT + 3 * PAGE_SIZE, 4)).toBe(99);
      expect(cpu1.load(TEXT + 4 * PAGE_SIZE, 4)).toBe(11);
      expect(kernel.pages.freePages).toBe(before + 1);
      expect(kernel.verify()).toEqual([]);
    });

    it("must be the user's, and there must be memory", () => {
      const machine = machineOf();
      const { kernel, spaces } = machine;
      const mm = runningOn(machine, 1, 0);
      expect(kernel.run(doAnonymousPage(spaces, mm, USER_END))).toBe(-EINVAL);
      expect(kernel.run(doAnonymousPage(spaces, mm, USER_END - 1))).toBe(0);
      // A page in a table that is there, and one that needs tables of its own: each allocation in turn.
      for (const la of [TEXT + 20 * PAGE_SIZE, 2 ** 40]) {
        const before = kernel.pages.freePages;
        let failures = 0;
        for (; ; failures++) {
          kernel.faults.failAt(failures);
          const result = kernel.run(doAnonymousPage(spaces, mm, la));
          const { failures: failed } = kernel.faults;
          kernel.faults.disarm();
          if (failed === 0) {
            expect(result).toBe(0);
            break;
          }
          expect(result).toBe(-ENOMEM);
          expect(mm.mmapLock.isHeld).toBe(false);
          expect(kernel.verify()).toEqual([]);
        }
        expect(failures).toBeGreaterThanOrEqual(la === 2 ** 40 ? 4 : 1);
        // The page and its tables: what failed kept nothing.
        expect(before - kernel.pages.freePages).toBe(la === 2 ** 40 ? 4 : 1);
      }
      expect(kernel.verify()).toEqual([]);
    });

    it.each([
      ["another mapping", [TEXT + 2 ** 30, TEXT + 2 ** 30 + PAGE_SIZE]],
      ["their mapping", [TEXT, TEXT + 64 * PAGE_SIZE]],
    ] as const)(
      "wait for who changes %s: unless it is another and they lock only their own (6.4, 6.17)",
      (which, range) => {
        const machine = machineOf();
        const { kernel, spaces } = machine;
        const mm = runningOn(machine, 2, 0);
        const done: string[] = [];
        const doneWhileHeld: string[] = [];
        function* writer(): KernelCode<void> {
          yield* mm.mmapLock.downWrite();
          mm.beginChange(range);
          for (let i = 0; i < 100; i++) {
            kernel.machine.loop.spend(10_000);
            yield PAUSE_TURN;
          }
          doneWhileHeld.push(...done);
          mm.endChange();
        }
        function* named(name: string, code: KernelCode<number>): KernelCode<void> {
          kernel.machine.loop.spend(20_000);
          yield PAUSE_TURN;
          expect(yield* code).toBe(0);
          done.push(name);
        }
        kernel.spawn("writer", 2, writer());
        kernel.spawn("madvise", 0, named("madvise", madviseDontneed(spaces, mm, TEXT, TEXT + PAGE_SIZE)));
        kernel.spawn("fault", 1, named("fault", doAnonymousPage(spaces, mm, TEXT + 30 * PAGE_SIZE)));
        kernel.runUntilIdle();
        const { hasPerVmaLock, madviseLocksVma } = kernel.mm.version;
        const free = [...(hasPerVmaLock ? ["fault"] : []), ...(madviseLocksVma ? ["madvise"] : [])];
        expect([...doneWhileHeld].sort()).toEqual(which === "another mapping" ? free : []);
        expect([...done].sort()).toEqual(["fault", "madvise"]);
        expect(mm.mmapLock.isHeld).toBe(false);
        expect(mm.isChanging(TEXT, TEXT + PAGE_SIZE)).toBe(false);
      },
    );

    it("cost what each part of them costs, and nothing for pages that are there", () => {
      const machine = machineOf();
      const { kernel, spaces } = machine;
      const { loop } = kernel.machine;
      const mm = runningOn(machine, 1, 0);
      const { user } = kernel.mm.costs;
      const cycles = (code: Parameters<typeof kernel.run>[0]): number => {
        const before = loop.clockCycles[0];
        kernel.run(code, 0);
        return loop.clockCycles[0] - before;
      };
      const there = cycles(doAnonymousPage(spaces, mm, TEXT));
      const locks = kernel.mm.version.hasPerVmaLock ? 0 : 2 * kernel.mm.costs.lock.uncontendedCycles;
      expect(there).toBeGreaterThanOrEqual(user.faultCycles + locks);
      expect(there).toBeLessThan(user.faultCycles + locks + 1000);
      const faulted = cycles(doAnonymousPage(spaces, mm, TEXT + 9 * PAGE_SIZE));
      expect(faulted - there).toBeGreaterThanOrEqual(kernel.mm.pageLines.zeroOwnCycles);
      const none = cycles(mprotect(spaces, mm, TEXT + 100 * PAGE_SIZE, TEXT + 101 * PAGE_SIZE, false));
      const one = cycles(mprotect(spaces, mm, TEXT, TEXT + PAGE_SIZE, false));
      const again = cycles(mprotect(spaces, mm, TEXT, TEXT + PAGE_SIZE, false));
      expect(one - again).toBeGreaterThanOrEqual(user.protectEntryCycles);
      expect(none).toBeGreaterThanOrEqual(user.mprotectCycles);
    });
  },
);
