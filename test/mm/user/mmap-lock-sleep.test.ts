/** Waiting for `mmap_lock`: what a reader pays that has slept for it, and what a writer's waiting for readers counts as. */
import { describe, expect, it } from "vitest";
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import { ACTIVITY_SWITCH } from "../../../arch/time/cycle-accounts.ts";
import type { KernelCode } from "../../../arch/time/event-loop.ts";
import { PAUSE_TURN } from "../../../arch/time/event-loop.ts";
import { IPI_POLICY } from "../../../mm/index.ts";
import { lockClass } from "../../../mm/kernel/lock-stat.ts";
import { mmapReadLock, mmapReadUnlock, mmapWriteLock, mmapWriteUnlock } from "../../../mm/user/mmap-lock.ts";
import { boot, runningOn, TEXT } from "./user-machine.ts";

const HELD_CYCLES = 200_000;

interface Slept {
  /** Changes of threads that the reader's CPU was charged for while it slept. */
  readonly changes: number;
  /** From when the reader could go on, and its CPU had nothing else to run, until it had the lock. */
  readonly wakeCycles: number;
  /** What waking up from idle takes. */
  readonly idleWakeCycles: number;
}

/** A writer on CPU 0 holds the lock; a reader on CPU 1 sleeps for it, and another thread has its CPU for `otherCycles` meanwhile (0: none). */
function sleep(otherCycles: number): Slept {
  const machine = boot(IPI_POLICY);
  const { kernel, spaces } = machine;
  const { loop } = kernel.machine;
  const mm = runningOn(machine, 2, 0);
  let [otherEndsAt, freedAt, hasItAt, before, after] = [0, 0, 0, 0, 0];
  function* writer(): KernelCode<void> {
    yield* mmapWriteLock(spaces, mm, [TEXT, TEXT + PAGE_SIZE]);
    loop.spend(HELD_CYCLES);
    while (loop.mustYield()) yield PAUSE_TURN;
    mmapWriteUnlock(mm);
    freedAt = loop.nowCycles();
  }
  function* reader(): KernelCode<void> {
    loop.spend(10_000);
    before = loop.accounts.cycles(1, ACTIVITY_SWITCH);
    yield* mmapReadLock(spaces, mm, TEXT, TEXT + PAGE_SIZE);
    after = loop.accounts.cycles(1, ACTIVITY_SWITCH);
    hasItAt = loop.nowCycles();
    yield* mmapReadUnlock(mm);
  }
  // biome-ignore lint/correctness/useYield: runs without a pause
  function* other(): KernelCode<void> {
    loop.spend(otherCycles);
    otherEndsAt = loop.nowCycles();
  }
  kernel.spawn("writer", 0, writer());
  kernel.spawn("reader", 1, reader());
  if (otherCycles > 0) kernel.spawn("other", 1, other());
  kernel.runUntilIdle();
  return {
    changes: (after - before) / loop.contextSwitchCycles,
    wakeCycles: hasItAt - Math.max(freedAt, otherEndsAt),
    idleWakeCycles: kernel.mm.costs.ipi.idleWakeCycles,
  };
}

describe("a reader that has slept for mmap_lock", () => {
  it("a CPU that was idle meanwhile wakes up and changes to the reader", () => {
    expect(sleep(0).changes).toBe(1);
  });

  it("a CPU that another thread had, which then ended, changes to it and back, and wakes up as any idle one", () => {
    const idle = sleep(0);
    const { changes, wakeCycles } = sleep(HELD_CYCLES / 4);
    expect(changes).toBe(2);
    expect(wakeCycles).toBe(idle.wakeCycles);
  });

  it("a CPU that another thread has until after the lock is free was never idle: it only changes back", () => {
    const idle = sleep(0);
    const { changes, wakeCycles, idleWakeCycles } = sleep(2 * HELD_CYCLES);
    expect(changes).toBe(2);
    expect(idleWakeCycles).toBeGreaterThan(0);
    // Nor does it see the line of the lock move, which it did while the other ran.
    expect(wakeCycles).toBeLessThanOrEqual(idle.wakeCycles - idleWakeCycles);
  });
});

describe("a writer of mmap_lock that waits for readers", () => {
  /** Statistics of a writer on CPU 1 that comes while a reader on CPU 0 has the lock, behind another writer on CPU 2 or not. */
  function statistics(isSecond: boolean) {
    const machine = boot(IPI_POLICY);
    const { kernel, spaces } = machine;
    const { loop } = kernel.machine;
    const mm = runningOn(machine, 3, 0);
    function* reader(): KernelCode<void> {
      yield* mmapReadLock(spaces, mm, TEXT, TEXT + PAGE_SIZE);
      loop.spend(HELD_CYCLES);
      yield* mmapReadUnlock(mm);
    }
    function* writer(comesAt: number): KernelCode<void> {
      loop.spend(comesAt);
      yield* mmapWriteLock(spaces, mm, [TEXT, TEXT + PAGE_SIZE]);
      loop.spend(1000);
      while (loop.mustYield()) yield PAUSE_TURN;
      mmapWriteUnlock(mm);
    }
    const before = lockClass(loop, "mmap_lock").snapshot();
    kernel.spawn("reader", 0, reader());
    kernel.spawn("writer", 1, writer(20_000));
    if (isSecond) kernel.spawn("other writer", 2, writer(10_000));
    kernel.runUntilIdle();
    const after = lockClass(loop, "mmap_lock").snapshot();
    return {
      contentions: after.contentions - before.contentions,
      acquisitions: after.acquisitions - before.acquisitions,
      waitCycles: after.waitTotalCycles - before.waitTotalCycles,
      holdCycles: after.holdTotalCycles - before.holdTotalCycles,
    };
  }

  it("waits, and does not hold it", () => {
    const { contentions, acquisitions, waitCycles, holdCycles } = statistics(false);
    expect([contentions, acquisitions]).toEqual([1, 1]);
    expect(waitCycles).toBeGreaterThan(HELD_CYCLES - 40_000);
    expect(holdCycles).toBeLessThan(10_000);
  });

  it("is one contention each, of those that wait one behind the other", () => {
    const { contentions, acquisitions, waitCycles, holdCycles } = statistics(true);
    expect([contentions, acquisitions]).toEqual([2, 2]);
    expect(waitCycles).toBeGreaterThan(2 * (HELD_CYCLES - 40_000));
    expect(holdCycles).toBeLessThan(20_000);
  });
});
