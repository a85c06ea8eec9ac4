import { describe, expect, it } from "vitest";
import { PAGE_SIZE } from "../../../arch/index.ts";
import { CHECK_EVERY_FLUSHES, exitMmap, INVLPGB_POLICY, IPI_POLICY, leaveMm, munmap } from "../../../mm/index.ts";
import { boot, faults, on, runningOn, TEXT, touchAll } from "./user-machine.ts";

describe("flushes by broadcasts", () => {
  it("interrupt nobody when an address space ends: its tables stay until the last lazy CPU has gone on", () => {
    const machine = boot(INVLPGB_POLICY);
    const { kernel, spaces } = machine;
    const other = spaces.mmAlloc();
    const free = kernel.pages.freePages;
    const asids = spaces.globalAsids.capture().available;
    const mm = runningOn(machine, 5, CHECK_EVERY_FLUSHES + 2);
    expect(spaces.globalAsids.capture().available).toBe(asids - 1);
    touchAll(machine, 5);
    for (let cpu = 1; cpu < 5; cpu++) on(machine, cpu, () => spaces.switchTo(null));
    const { sent } = kernel.mm.flushing.smp;
    kernel.run(exitMmap(spaces, mm), 0);
    expect(kernel.mm.flushing.smp.sent).toBe(sent);
    expect(spaces.loaded.every((loaded) => loaded === mm)).toBe(true);
    // Nothing is left that a lazy CPU could use, not even by guess.
    for (let cpu = 0; cpu < 5; cpu++) expect(faults(machine, cpu, 1)).toBe(true);
    expect(kernel.verify()).toEqual([]);
    const kept = free - kernel.pages.freePages;
    expect(kept).toBe(kernel.mm.flushing.isolation ? 2 : 1);
    const leaves = [
      () => spaces.switchTo(spaces.initMm),
      () => spaces.switchTo(other),
      () => leaveMm(spaces),
      () => spaces.switchTo(other),
      () => spaces.switchTo(other),
    ];
    for (const [cpu, leave] of leaves.entries()) {
      expect(kernel.pages.freePages).toBe(free - kept);
      expect(spaces.globalAsids.capture().available).toBe(asids - 1);
      on(machine, cpu, leave);
    }
    expect(kernel.pages.freePages).toBe(free);
    expect(spaces.globalAsids.capture().available).toBe(asids);
    expect(mm.cpus()).toEqual([]);
    expect(kernel.verify()).toEqual([]);
  });

  it("leave a lazy CPU as it is: it comes back to its address space without a flush and without a write to CR3", () => {
    const machine = boot(INVLPGB_POLICY);
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 4, CHECK_EVERY_FLUSHES + 2);
    touchAll(machine, 4);
    on(machine, 3, () => spaces.switchTo(null));
    expect(spaces.tlbStates[3].isLazy).toBe(true);
    kernel.run(munmap(spaces, mm, TEXT, TEXT + PAGE_SIZE), 0);
    expect(spaces.loaded[3]).toBe(mm);
    const counters = (): number => kernel.machine.cpus[3].counters()["dtlb_load_misses.walk_completed"];
    const before = counters();
    const clock = kernel.machine.loop.clockCycles[3];
    on(machine, 3, () => spaces.switchTo(mm));
    expect(kernel.machine.loop.clockCycles[3]).toBe(clock);
    expect(spaces.tlbStates[3].isLazy).toBe(false);
    expect(faults(machine, 3, 5)).toBe(false);
    expect(counters()).toBe(before);
    expect(faults(machine, 3, 0)).toBe(true);
  });

  it("find a lazy CPU still under an ASID of its own: it goes over to the global one and is lazy no more", () => {
    const machine = boot(INVLPGB_POLICY);
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 5, CHECK_EVERY_FLUSHES - 1);
    on(machine, 4, () => spaces.switchTo(null));
    for (let i = 0; i < 2; i++) kernel.run(spaces.flushTlbMmRange(mm, TEXT, TEXT + PAGE_SIZE, false), 0);
    expect(mm.globalAsid).toBeGreaterThan(5);
    expect(spaces.loaded[4]).toBe(mm);
    expect(spaces.tlbStates[4]).toMatchObject({ loadedAsid: mm.globalAsid, isLazy: false });
    // Its place in the mask was not given up in between.
    expect(mm.cpus()).toEqual([0, 1, 2, 3, 4]);
  });
});

describe("a CPU that goes idle", () => {
  it("leaves what it borrows, and is not in the mask any more", () => {
    const machine = boot(IPI_POLICY);
    const { kernel, spaces } = machine;
    const mm = runningOn(machine, 2, 0);
    on(machine, 1, () => spaces.switchTo(null));
    on(machine, 1, () => leaveMm(spaces));
    on(machine, 1, () => leaveMm(spaces));
    expect(spaces.loaded[1]).toBe(spaces.initMm);
    expect(mm.cpus()).toEqual([0]);
    expect(kernel.log.warnings).toBe(0);
    on(machine, 0, () => leaveMm(spaces));
    expect(kernel.log.lines.at(-1)).toContain("leave_mm: CPU 0 runs a process");
    expect(spaces.loaded[0]).toBe(spaces.initMm);
  });
});
