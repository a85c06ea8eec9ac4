import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KernelLog, type OwedFlush, OwedFlushes, PAGE_KERNEL } from "../../../mm/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";

const PAGE = 4096;

describe("flushes that are owed", () => {
  it("are told apart, however many there are and in whatever order they are settled", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(1000)), { maxLength: 200 }), (steps) => {
        const log = new KernelLog();
        const debts = new OwedFlushes(log);
        const open = new Map<OwedFlush, number>();
        for (const [settles, pick] of steps) {
          const kept = [...open][pick % Math.max(open.size, 1)];
          if (settles && kept !== undefined) {
            const [owed, start] = kept;
            expect([debts.startOf(owed), debts.endOf(owed)]).toEqual([start, start + PAGE]);
            debts.settle(owed, start, start + PAGE);
            open.delete(owed);
          } else {
            open.set(debts.owe(pick * PAGE, (pick + 1) * PAGE), pick * PAGE);
          }
          expect(debts.count).toBe(open.size);
        }
        expect(debts.ranges().map(({ start }) => start)).toEqual(
          [...open].sort(([a], [b]) => a - b).map(([, start]) => start),
        );
        expect(log.lines).toEqual([]);
      }),
    );
  });

  it("are as many as calls leave open at one time: none is lost when there is room for more", () => {
    const debts = new OwedFlushes(new KernelLog());
    const open = Array.from({ length: 1000 }, (_, i) => debts.owe(i * PAGE, (i + 2) * PAGE));
    expect(new Set(open).size).toBe(1000);
    const ranges = open.map((_, i) => ({ start: i * PAGE, end: (i + 2) * PAGE }));
    expect(open.map((owed) => ({ start: debts.startOf(owed), end: debts.endOf(owed) }))).toEqual(ranges);
    expect(debts.ranges()).toEqual(ranges);
  });

  it("are warned of when what is flushed does not cover them, or when they are settled twice", () => {
    const log = new KernelLog();
    const debts = new OwedFlushes(log);
    debts.settle(debts.owe(0, 3 * PAGE), PAGE, 3 * PAGE);
    expect(log.lines[0]).toMatch(/does not cover/);
    const owed = debts.owe(0, PAGE);
    debts.waive(owed);
    debts.waive(owed);
    expect(log.lines[1]).toMatch(/settled twice/);
    expect(debts.count).toBe(0);
  });

  it("can be part of a larger one, which covers them", () => {
    const log = new KernelLog();
    const debts = new OwedFlushes(log);
    const whole = debts.owe(0, 4 * PAGE);
    debts.include(debts.owe(PAGE, 2 * PAGE), whole);
    expect([debts.count, log.lines]).toEqual([1, []]);
    debts.include(debts.owe(3 * PAGE, 5 * PAGE), whole);
    expect(log.lines.at(-1)).toMatch(/does not cover/);
    const late = debts.owe(0, PAGE);
    debts.waive(whole);
    debts.include(late, whole);
    expect(log.lines.at(-1)).toMatch(/no flush of them is owed/);
  });

  it("are asked for by whatever takes something away from an entry", () => {
    const kernel = bootKernel({ cpus: 1 });
    const { tables, log } = kernel;
    const address = kernel.vmalloc(PAGE);
    const { cursor } = tables;
    cursor.seek(address);
    const forgetful = [
      // @ts-expect-error which flush is owed for it is not said
      () => cursor.clearLeaf(),
      // @ts-expect-error nor here
      () => cursor.clearTable(),
      // @ts-expect-error nor here
      () => cursor.forbidWrites(),
    ];
    expect(forgetful).toHaveLength(3);
    const elsewhere = tables.owed.owe(address + PAGE, address + 2 * PAGE);
    cursor.forbidWrites(elsewhere);
    expect(log.lines.at(-1)).toMatch(/page table entries of .* change, and no flush of them is owed/);
    tables.owed.waive(elsewhere);
    cursor.allowWrites();
    expect(cursor.isWritable).toBe(true);
    const owed = tables.owed.owe(address, address + PAGE);
    const lines = log.lines.length;
    cursor.forbidWrites(owed);
    expect([cursor.isWritable, log.lines.length]).toEqual([false, lines]);
    tables.owed.waive(owed);
    cursor.clearTable(owed);
    expect(log.lines).toHaveLength(lines + 1);
  });

  it("are all settled after vmalloc, vmap and vm_map_ram, lazily and eagerly freed; verify finds one that is forgotten", () => {
    const kernel = bootKernel({ cpus: 2 });
    const frames = kernel.allocFrames(8);
    for (let i = 0; i < 50; i++) {
      kernel.vfree(kernel.vmalloc((1 + (i % 5)) * PAGE));
      kernel.vunmap(kernel.vmap(frames));
      kernel.vmUnmapRam(kernel.vmMapRam(frames), frames.length);
    }
    kernel.vmUnmapAliases();
    expect(kernel.tables.owed.count).toBe(0);
    expect(kernel.verify()).toEqual([]);
    const { low, high } = PAGE_KERNEL;
    const address = 0xd000_0000_0000;
    expect(kernel.tables.vmapSmallPagesRangeNoflush(address, address + PAGE, low, high, frames, 0)).toBe(0);
    const forgotten = kernel.tables.vunmapRangeNoflush(address, address + PAGE);
    expect(kernel.verify()).toEqual([
      "a flush of 0xffffd00000000000-0xffffd00000001000 is owed, which nobody has settled",
    ]);
    kernel.tables.owed.waive(forgotten);
    expect(kernel.verify()).toEqual([]);
  });
});
