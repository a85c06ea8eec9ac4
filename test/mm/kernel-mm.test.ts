import { expect, it } from "vitest";
import { Machine, PAGE_SIZE } from "../../arch/index.ts";
import {
  DEFAULT_KERNEL_COSTS,
  exitMmap,
  FaultInjection,
  flushTlbKernelRange,
  KernelLog,
  KernelMm,
  makeDirectMap,
  mmapPopulate,
  PageAllocator,
  PageTables,
  UserSpaces,
} from "../../mm/index.ts";

const TEXT = 0x40_0000;

/** Memory management without any allocator of kernel addresses. */
function makeKernelMm(levels: 4 | 5): KernelMm {
  const machine = new Machine({
    cpus: 2,
    memoryBytes: 2 ** 27,
    preset: "skylake",
    features: { la57: true },
    pagingLevels: levels,
  });
  const [log, faults] = [new KernelLog(), new FaultInjection()];
  const pages = new PageAllocator(machine.memory, 2, 1, faults);
  const tables = new PageTables(machine.memory, pages, faults, log, machine.loop, levels);
  makeDirectMap(tables);
  for (const cpu of machine.cpus) cpu.writeCr3(tables.rootFrame * PAGE_SIZE);
  return new KernelMm({ machine, pages, tables, log, faults, costs: DEFAULT_KERNEL_COSTS });
}

it.each([4, 5] as const)("an address space of %d levels gives every frame and table back at its end", (levels) => {
  const kernel = makeKernelMm(levels);
  const { loop } = kernel;
  const free = kernel.pages.freePages;
  const spaces = new UserSpaces(kernel);
  const mm = spaces.mmAlloc();
  expect(loop.runSync(0, mmapPopulate(spaces, mm, TEXT, 700))).toBe(0);
  loop.runSync(0, exitMmap(spaces, mm));
  expect(kernel.pages.freePages).toBe(free);
});

it("flushes count by the ceiling, with no allocator there", () => {
  const { loop, flushing } = makeKernelMm(4);
  const start = 0xc900_0000_0000;
  loop.runSync(0, flushTlbKernelRange(flushing, start, start + flushing.ceilingPages * PAGE_SIZE));
  loop.runSync(0, flushTlbKernelRange(flushing, start, start + (flushing.ceilingPages + 1) * PAGE_SIZE));
  expect([flushing.rangeFlushes, flushing.fullFlushes]).toEqual([1, 1]);
});
