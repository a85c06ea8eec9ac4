import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type KernelCode, PAGE_SIZE, PAUSE_TURN } from "../../../arch/index.ts";
import {
  doAnonymousPage,
  dupMm,
  handlePteFault,
  IPI_POLICY,
  type MmStruct,
  madviseDontneed,
  mmap,
  mmapPopulate,
  mprotect,
  mremap,
  munmap,
} from "../../../mm/index.ts";
import { lockVmaUnderRcu, VMA_LOCKED, vmaEndRead } from "../../../mm/user/mmap-lock.ts";
import { Vmas } from "../../../mm/user/vmas.ts";
import { boot, type Machine, runningOn, TEXT } from "./user-machine.ts";

const PAGES = 24;

describe("the mappings of an address space", () => {
  it("are one where they touch, and new ones where one is cut, as sets of pages say", () => {
    const operation = fc.record({
      maps: fc.boolean(),
      first: fc.nat(PAGES - 1),
      pages: fc.integer({ min: 1, max: 6 }),
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 30 }), (operations) => {
        const vmas = new Vmas();
        const mapped = new Array<boolean>(PAGES + 8).fill(false);
        for (const { maps, first, pages } of operations) {
          const before = mapped.map((_, page) => vmas.find(page * PAGE_SIZE + 5));
          if (maps) vmas.insert(first * PAGE_SIZE, (first + pages) * PAGE_SIZE);
          else vmas.remove(first * PAGE_SIZE, (first + pages) * PAGE_SIZE);
          mapped.fill(maps, first, first + pages);
          const found = mapped.map((_, page) => vmas.find(page * PAGE_SIZE + 5));
          expect(found.map((id) => id !== 0)).toEqual(mapped);
          // Two neighbours are of one mapping, and mappings that do not touch are two.
          for (let page = 1; page < mapped.length; page++) {
            if (mapped[page] && mapped[page - 1]) expect(found[page]).toBe(found[page - 1]);
          }
          const runs = found.filter((id, page) => id !== 0 && id !== found[page - 1]);
          expect(new Set(runs).size).toBe(runs.length);
          expect(vmas.capture().id).toHaveLength(runs.length);
          // What was cut is new; what grew or was not concerned is what it was.
          if (!maps) {
            for (let page = 0; page < mapped.length; page++) {
              const wasCut = before.some((id, at) => id === before[page] && at >= first && at < first + pages);
              if (found[page] !== 0) expect(found[page] === before[page]).toBe(!wasCut);
            }
          }
          const other = new Vmas();
          expect(other.restore(vmas.capture(), vmas.lastId)).toBe(true);
          expect(mapped.map((_, page) => other.find(page * PAGE_SIZE + 5))).toEqual(found);
          // The next mapping has the same number in both.
          expect(other.lastId).toBe(vmas.lastId);
        }
      }),
    );
  });

  it("are one only where what they map follows on (vm_pgoff)", () => {
    const vmas = new Vmas();
    vmas.insert(0, 4 * PAGE_SIZE);
    vmas.insert(4 * PAGE_SIZE, 6 * PAGE_SIZE, 100);
    vmas.insert(6 * PAGE_SIZE, 8 * PAGE_SIZE, 102);
    vmas.insert(8 * PAGE_SIZE, 10 * PAGE_SIZE);
    const ids = (): number[] => [0, 4, 6, 8].map((page) => vmas.find(page * PAGE_SIZE));
    expect(ids()).toEqual([1, 2, 2, 3]);
    // What is left of one keeps its pages' numbers, so that it is whole again where the same ones come back.
    vmas.remove(4 * PAGE_SIZE, 5 * PAGE_SIZE);
    expect(vmas.pgoffOf(5 * PAGE_SIZE)).toBe(101);
    vmas.insert(4 * PAGE_SIZE, 5 * PAGE_SIZE, 100);
    expect(new Set(ids()).size).toBe(3);
    vmas.remove(7 * PAGE_SIZE, 8 * PAGE_SIZE);
    vmas.insert(7 * PAGE_SIZE, 8 * PAGE_SIZE);
    expect(vmas.find(7 * PAGE_SIZE)).toBe(vmas.find(8 * PAGE_SIZE));
    const other = new Vmas();
    expect(other.restore(vmas.capture(), vmas.lastId)).toBe(true);
    expect(other.pgoffOf(6 * PAGE_SIZE)).toBe(102);
    const copy = new Vmas();
    vmas.copyTo(copy);
    expect(copy.pgoffOf(6 * PAGE_SIZE)).toBe(102);
  });

  it("are not restored where they overlap", () => {
    const state = { start: Float64Array.of(0, 4096), end: Float64Array.of(8192, 12288), id: Uint32Array.of(1, 2) };
    expect(new Vmas().restore(state, 2)).toBe(false);
  });

  it.each([
    ["twice the same", [1, 1], 2],
    ["none", [0, 1], 2],
    ["one that was not given yet", [1, 3], 2],
  ])("are not restored with a number that is %s", (_what, id, lastId) => {
    const state = { start: Float64Array.of(0, 8192), end: Float64Array.of(4096, 12288), id: Uint32Array.from(id) };
    expect(new Vmas().restore(state, lastId)).toBe(false);
    expect(new Vmas().restore({ ...state, id: Uint32Array.of(1, 2) }, lastId)).toBe(true);
  });
});

describe("lines of an address space", () => {
  const START = TEXT + 2 ** 30;

  /** Cycles that a call on each of two CPUs waits for lines, once each has made it before. */
  function waits(version: string, twoMappings: boolean, call: "fault" | "madvise" | "mprotect"): number[] {
    const machine = boot(IPI_POLICY, { kernel: version });
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 2, 0);
    const { lines } = kernel.machine.loop;
    const startOf = (cpu: number): number => START + cpu * (twoMappings ? 2 ** 31 : 2 ** 21);
    for (const cpu of [0, 1]) kernel.run(mmap(spaces, mm, startOf(cpu), startOf(cpu) + 2 ** 21), cpu);
    const once = (cpu: number, round: number): number => {
      const la = startOf(cpu) + round * PAGE_SIZE;
      const before = lines.waitedCycles[cpu];
      if (call === "fault") kernel.run(doAnonymousPage(spaces, mm, la, false), cpu);
      if (call === "madvise") kernel.run(madviseDontneed(spaces, mm, la, la + PAGE_SIZE), cpu);
      if (call === "mprotect") kernel.run(mprotect(spaces, mm, la, la + PAGE_SIZE, false), cpu);
      return lines.waitedCycles[cpu] - before;
    };
    for (let round = 0; round < 3; round++) for (const cpu of [0, 1]) once(cpu, round);
    once(0, 3);
    const alone = once(0, 4);
    once(1, 4);
    return [alone, once(0, 5)];
  }

  it.each([
    ["6.1", "fault", "both"],
    ["6.12", "fault", "the mapping"],
    ["6.12", "madvise", "both"],
    ["7.3", "madvise", "the address space's count of pending flushes"],
    ["6.12", "mprotect", "both"],
  ] as const)(
    "move between CPUs that use them in turns, and cost one CPU nothing: %s, %s (%s)",
    (version, call, _lines) => {
      const [alone, inTurns] = waits(version, false, call);
      expect(alone).toBe(0);
      expect(inTurns).toBeGreaterThan(0);
    },
  );

  it("of the lock of a mapping move between threads of one mapping only, from 6.4 on", () => {
    expect(waits("6.12", true, "fault")[1]).toBe(0);
    expect(waits("6.12", false, "fault")[1]).toBeGreaterThan(0);
    expect(waits("6.1", true, "fault")[1]).toBeGreaterThan(0);
    expect(waits("7.3", false, "madvise")[1]).toBeGreaterThan(waits("7.3", true, "madvise")[1]);
  });

  it("of one mapping keep nobody out of its neighbour: who drops pages of both takes mmap_lock", () => {
    const machine = boot(IPI_POLICY, { kernel: "7.3" });
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 2, 0);
    kernel.run(mmap(spaces, mm, START, START + 4 * PAGE_SIZE));
    kernel.run(mmap(spaces, mm, START + 5 * PAGE_SIZE, START + 9 * PAGE_SIZE));
    const locked = (start: number, end: number) => {
      const lock = kernel.run(lockVmaUnderRcu(spaces, mm, START + start * PAGE_SIZE, START + end * PAGE_SIZE));
      kernel.run(vmaEndRead(spaces, mm, lock));
      return lock;
    };
    expect(locked(0, 4)).toBe(mm.vmas.find(START));
    expect(locked(20, 24)).toBe(0);
    for (const [start, end] of [
      [3, 6],
      [3, 5],
      [4, 6],
      [0, 20],
      [4, 20],
    ])
      expect(locked(start, end)).toBe(VMA_LOCKED);
  });

  it.each(["populate", "mremap"])("of a neighbour are waited for by whoever makes it longer: %s", (how) => {
    const machine = boot(IPI_POLICY, { kernel: "7.3" });
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 2, 0);
    const from = START + 2 ** 30;
    kernel.run(mmap(spaces, mm, START, START + 4 * PAGE_SIZE));
    if (how === "mremap") kernel.run(mmapPopulate(spaces, mm, from, 4));
    const end = START + 4 * PAGE_SIZE;
    let isReading = false;
    function* reader(): KernelCode<void> {
      const lock = yield* lockVmaUnderRcu(spaces, mm, START, end);
      isReading = true;
      kernel.machine.loop.spend(10_000);
      while (kernel.machine.loop.mustYield()) yield PAUSE_TURN;
      isReading = false;
      yield* vmaEndRead(spaces, mm, lock);
    }
    function* writer(): KernelCode<void> {
      kernel.machine.loop.spend(1000);
      yield* how === "mremap" ? mremap(spaces, mm, from, from + 4 * PAGE_SIZE, end) : mmapPopulate(spaces, mm, end, 4);
      expect(isReading).toBe(false);
    }
    kernel.spawn("reader", 0, reader());
    kernel.spawn("writer", 1, writer());
    kernel.runUntilIdle();
    if (how === "populate") expect(mm.vmas.find(end)).toBe(mm.vmas.find(START));
  });

  /** Where a mapping of four pages is before it is moved behind that at `START`. */
  const FROM = START + 2 ** 30;
  const FROM_END = FROM + 4 * PAGE_SIZE;
  type Use = (machine: Machine, mm: MmStruct) => MmStruct;
  const writes: Use = ({ kernel, spaces }, mm) => {
    kernel.run(handlePteFault(spaces, mm, FROM, true));
    return mm;
  };
  const drops: Use = ({ kernel, spaces }, mm) => {
    kernel.run(madviseDontneed(spaces, mm, FROM, FROM_END));
    return mm;
  };
  const reads: Use = ({ kernel, spaces }, mm) => {
    kernel.run(handlePteFault(spaces, mm, FROM, false));
    return mm;
  };
  const populates: Use = ({ kernel, spaces }, mm) => {
    kernel.run(mmapPopulate(spaces, mm, FROM, 4));
    return mm;
  };
  const mapsFile: Use = ({ kernel, spaces }, mm) => {
    kernel.run(mmap(spaces, mm, FROM, FROM_END, 7));
    return mm;
  };
  const forks: Use = ({ kernel, spaces }, mm) => kernel.run(dupMm(spaces, mm)) ?? mm;

  it.each([
    ["was never touched", true, []],
    ["was read, which mapped the zero page", true, [reads]],
    ["was read, and then written", false, [reads, writes]],
    ["was populated", false, [populates]],
    ["was written", false, [writes]],
    ["was written, and has no page any more", false, [writes, drops]],
    ["was written before it was forked", false, [writes, drops, forks]],
    ["was forked before anything was written", true, [forks]],
    ["maps a file, of which nothing was touched", false, [mapsFile]],
  ])("are one with those of a mapping moved beside them that %s (%s)", (_what, isOne, uses) => {
    const machine = boot(IPI_POLICY);
    const { kernel, spaces } = machine;
    const first = runningOn(machine, 1, 0);
    kernel.run(mmap(spaces, first, START, START + 4 * PAGE_SIZE));
    kernel.run(mmap(spaces, first, FROM, FROM_END));
    const mm = (uses as Use[]).reduce((used, use) => use(machine, used), first);
    const other = new Vmas();
    expect(other.restore(mm.vmas.capture(), mm.vmas.lastId)).toBe(true);
    expect(other.keepsPgoff(FROM)).toBe(mm.vmas.keepsPgoff(FROM));
    expect(kernel.run(mremap(spaces, mm, FROM, FROM_END, START + 4 * PAGE_SIZE))).toBe(0);
    expect(mm.vmas.find(START + 4 * PAGE_SIZE) === mm.vmas.find(START)).toBe(isOne);
  });

  it("have had a page of their own where any part of them has, however they were cut and joined", () => {
    const vmas = new Vmas();
    vmas.insert(0, 4 * PAGE_SIZE);
    vmas.prepareAnonVma(PAGE_SIZE);
    vmas.prepareAnonVma(9 * PAGE_SIZE);
    vmas.remove(2 * PAGE_SIZE, 3 * PAGE_SIZE);
    expect([0, 3].map((page) => vmas.keepsPgoff(page * PAGE_SIZE))).toEqual([true, true]);
    vmas.insert(6 * PAGE_SIZE, 8 * PAGE_SIZE);
    expect([6, 9].map((page) => vmas.keepsPgoff(page * PAGE_SIZE))).toEqual([false, false]);
    // Joined to one before it, to one behind it, and to both.
    vmas.insert(4 * PAGE_SIZE, 5 * PAGE_SIZE);
    vmas.insert(5 * PAGE_SIZE, 6 * PAGE_SIZE);
    expect([3, 4, 5, 7].map((page) => vmas.keepsPgoff(page * PAGE_SIZE))).toEqual([true, true, true, true]);
  });

  it("come back when the neighbour's mapping is taken out: what is left is a mapping of its own", () => {
    const machine = boot(IPI_POLICY);
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 2, 0);
    kernel.run(mmap(spaces, mm, START, START + 2 ** 20));
    kernel.run(mmap(spaces, mm, START + 2 ** 20, START + 2 ** 21));
    const both = mm.vmas.find(START);
    expect(mm.vmas.find(START + 2 ** 20)).toBe(both);
    kernel.run(munmap(spaces, mm, START, START + 2 ** 20));
    expect(mm.vmas.find(START)).toBe(0);
    expect(mm.vmas.find(START + 2 ** 20)).not.toBe(both);
  });

  it("mprotect takes the lock of each page table with its line, from whoever changed rights there before", () => {
    const waitOf = (between: number): number => {
      const machine = boot(IPI_POLICY);
      const { kernel, spaces } = machine;
      const { lines } = kernel.machine.loop;
      const mm = runningOn(machine, 2, 0);
      kernel.run(mmapPopulate(spaces, mm, START, 1024));
      const change = (cpu: number, la: number, writable: boolean): number => {
        const before = lines.waitedCycles[cpu];
        kernel.run(mprotect(spaces, mm, la, la + PAGE_SIZE, writable), cpu);
        return lines.waitedCycles[cpu] - before;
      };
      for (const cpu of [0, 1]) for (const la of [START, START + 2 ** 21]) change(cpu, la, cpu === 1);
      change(0, between, false);
      return change(1, START, false);
    };
    const { lines, topology } = boot(IPI_POLICY).kernel.machine.loop;
    expect(waitOf(START + PAGE_SIZE) - waitOf(START + 2 ** 21)).toBe(lines.transferCycles[topology.distance(0, 1)]);
  });
});
