/** Threads that sleep: their CPUs only borrow their address spaces meanwhile, so that flushes pass them over. */
import { describe, expect, it } from "vitest";
import { type KernelCode, PAGE_SIZE, PAUSE_TURN } from "../../../arch/index.ts";
import { IPI_POLICY, type MmStruct } from "../../../mm/index.ts";
import { mmapReadLock, mmapReadUnlock } from "../../../mm/user/mmap-lock.ts";
import { boot, faults, type Machine, on, runningOn, TEXT, touchAll } from "./user-machine.ts";

const HELD_CYCLES = 300_000;

/** A thread on CPU 0 has mmap_lock to write, and `meanwhile` runs on CPU 2 while another, of `mm`, sleeps for it on CPU 1. Says how that one's CPU is. */
function whileItSleeps(
  machine: Machine,
  mm: MmStruct,
  meanwhile: () => KernelCode<void>,
): { readonly wasLazy: boolean } {
  const { kernel, spaces } = machine;
  const { loop } = kernel.machine;
  let wasLazy = false;
  function* writer(): KernelCode<void> {
    yield* mm.mmapLock.downWrite();
    loop.spend(HELD_CYCLES);
    while (loop.mustYield()) yield PAUSE_TURN;
    mm.mmapLock.upWrite();
  }
  function* sleeper(): KernelCode<void> {
    spaces.switchTo(mm);
    loop.spend(10_000);
    while (loop.mustYield()) yield PAUSE_TURN;
    yield* mmapReadLock(spaces, mm, TEXT, TEXT + PAGE_SIZE);
    yield* mmapReadUnlock(mm);
  }
  function* third(): KernelCode<void> {
    loop.spend(HELD_CYCLES / 3);
    while (loop.mustYield()) yield PAUSE_TURN;
    wasLazy = spaces.tlbStates[1].isLazy;
    yield* meanwhile();
  }
  kernel.spawn("writer", 0, writer());
  kernel.spawn("sleeper", 1, sleeper());
  kernel.spawn("third", 2, third());
  kernel.runUntilIdle();
  return { wasLazy };
}

describe("a CPU whose thread sleeps for mmap_lock", () => {
  it("is in lazy mode: a flush does not interrupt it, and it catches up when the thread is back", () => {
    const machine = boot(IPI_POLICY);
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 3, 0);
    touchAll(machine, 3);
    const { sent } = kernel.mm.flushing.smp;
    const { wasLazy } = whileItSleeps(machine, mm, function* () {
      // The page's entry goes and every CPU of the address space is told, as another thread of the process would.
      mm.tables.owed.waive(mm.tables.vunmapRangeNoflush(TEXT + PAGE_SIZE, TEXT + 2 * PAGE_SIZE));
      yield* spaces.flushTlbMmRange(mm, TEXT + PAGE_SIZE, TEXT + 2 * PAGE_SIZE, false);
    });
    expect(wasLazy).toBe(true);
    // Of CPUs 0 and 1, which are in its mask, CPU 0 alone.
    expect(kernel.mm.flushing.smp.sent - sent).toBe(1);
    expect(spaces.shootdowns[1]).toBe(0);
    expect(spaces.tlbStates[1].isLazy).toBe(false);
    expect(spaces.loaded[1]).toBe(mm);
    expect(faults(machine, 1, 1)).toBe(true);
    expect(faults(machine, 1, 2)).toBe(false);
  });

  it("is interrupted all the same where page tables are freed, and leaves the address space; the thread takes it back", () => {
    const machine = boot(IPI_POLICY);
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 3, 0);
    const loadedMeanwhile: MmStruct[] = [];
    whileItSleeps(machine, mm, function* () {
      yield* spaces.flushTlbMmRange(mm, TEXT, TEXT + PAGE_SIZE, true);
      loadedMeanwhile.push(spaces.loaded[1]);
    });
    expect(spaces.shootdowns[1]).toBe(1);
    expect(loadedMeanwhile).toEqual([spaces.initMm]);
    expect(spaces.loaded[1]).toBe(mm);
    expect(kernel.verify()).toEqual([]);
  });

  it("goes on in the thread's own address space, whichever another thread of the CPU has loaded meanwhile", () => {
    const machine = boot(IPI_POLICY);
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 3, 0);
    const other = spaces.mmAlloc();
    const loadedByOther: MmStruct[] = [];
    // biome-ignore lint/correctness/useYield: runs without a pause
    function* second(): KernelCode<void> {
      spaces.switchTo(other);
      kernel.machine.loop.spend(20_000);
      loadedByOther.push(spaces.loaded[1]);
    }
    // biome-ignore lint/correctness/useYield: runs without a pause
    whileItSleeps(machine, mm, function* () {
      kernel.spawn("second", 1, second());
    });
    expect(loadedByOther).toEqual([other]);
    expect(spaces.loaded[1]).toBe(mm);
  });

  it("of a kernel thread that sleeps, a CPU with a process stays as it is", () => {
    const machine = boot(IPI_POLICY);
    const { kernel, spaces } = machine;
    const { loop } = kernel.machine;
    const mm = runningOn(machine, 2, 0);
    function* writer(): KernelCode<void> {
      yield* mm.mmapLock.downWrite();
      loop.spend(HELD_CYCLES);
      while (loop.mustYield()) yield PAUSE_TURN;
      mm.mmapLock.upWrite();
    }
    let isLazy = true;
    function* reader(): KernelCode<void> {
      loop.spend(10_000);
      while (loop.mustYield()) yield PAUSE_TURN;
      yield* mm.mmapLock.downRead();
      yield* mm.mmapLock.upRead();
    }
    function* looks(): KernelCode<void> {
      loop.spend(HELD_CYCLES / 2);
      while (loop.mustYield()) yield PAUSE_TURN;
      isLazy = spaces.tlbStates[1].isLazy;
    }
    kernel.spawn("writer", 0, writer());
    kernel.spawn("kworker", 1, reader());
    kernel.spawn("looks", 2, looks());
    kernel.runUntilIdle();
    expect(isLazy).toBe(false);
  });
});

describe("is_lazy of a CPU (cpu_tlbstate_shared)", () => {
  it("is a line that a flush reads of each CPU, and that moves when the CPU has entered or left lazy mode", () => {
    const machine = boot(IPI_POLICY);
    const { kernel, spaces } = machine;
    const { loop } = kernel.machine;
    runningOn(machine, 3, 0);
    const cycles = (): number => {
      const before = loop.clockCycles[0];
      on(machine, 0, () => spaces.notLazy([1, 2]));
      return loop.clockCycles[0] - before;
    };
    cycles();
    expect(cycles()).toBe(0);
    on(machine, 1, () => spaces.switchTo(null));
    const transfer = loop.lines.transferCycles[loop.topology.distance(1, 0)];
    expect(cycles()).toBe(transfer);
    expect(on(machine, 0, () => spaces.notLazy([0, 1, 2]))).toEqual([0, 2]);
  });
});
