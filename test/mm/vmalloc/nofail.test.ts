/** `__GFP_NOFAIL`: an allocation that is tried again for as long as it takes. */
import { describe, expect, it } from "vitest";
import { type KernelCode, PAUSE_RESCHED } from "../../../arch/index.ts";
import {
  __GFP_NOFAIL,
  __vmalloc,
  __vmallocNodeRange,
  type AllocationKind,
  GFP_KERNEL,
  GFP_NOWAIT,
  NotEnoughMemory,
  VM_ALLOW_HUGE_VMAP,
  VMALLOC_REQUEST,
  VMALLOC_START,
  vfree,
  wait,
} from "../../../mm/index.ts";
import { bootKernel, type Kernel } from "../../../src/index.ts";

const PAGE = 4096;
const MIB = 2 ** 20;
const GFP_NOFAIL = GFP_KERNEL | __GFP_NOFAIL;
const KINDS: readonly AllocationKind[] = ["frame", "pageTable", "vmapArea", "vmapAreaPreload", "vmStruct", "pageArray"];

function boot(memoryBytes = 32 * MIB): Kernel {
  return bootKernel({ cpus: 2, memoryBytes });
}

function* freeLater(kernel: Kernel, addresses: readonly number[], afterTurns: number): KernelCode<void> {
  for (let i = 0; i < afterTurns; i++) {
    kernel.machine.loop.spend(1_000_000);
    yield PAUSE_RESCHED;
  }
  for (const address of addresses) yield* wait(vfree(kernel.vm, address));
}

describe("__GFP_NOFAIL", () => {
  it.each([
    ["of one page", PAGE],
    ["whose page pointers are vmalloc'ed too", 3 * MIB],
  ])("an area %s is there whatever fails, one allocation after the other", (_, sizeBytes) => {
    for (const kind of [null, ...KINDS]) {
      for (let index = 0; index < 8; index++) {
        const kernel = boot();
        kernel.faults.failAt(index, kind);
        const address = kernel.run(() => __vmalloc(kernel.vm, sizeBytes, GFP_NOFAIL));
        const where = `${kind ?? "any"} ${index}`;
        expect(address, where).toBeGreaterThan(0);
        kernel.machine.cpus[0].store(address + sizeBytes - 4, 4, 7);
        expect(kernel.verify(), where).toEqual([]);
        kernel.vfree(address);
      }
    }
  });

  it("tries page tables again a jiffy later, and leaves nothing of the first try behind", () => {
    const kernel = boot();
    // The second of three tables: the first is full of entries by then.
    kernel.faults.failAt(1, "pageTable");
    const [clock] = kernel.machine.loop.clockCycles;
    const address = kernel.run(() => __vmalloc(kernel.vm, 5 * MIB, GFP_NOFAIL));
    expect(kernel.faults.failures).toBe(1);
    expect(address).toBeGreaterThan(0);
    expect(kernel.log.warnings).toBe(0);
    expect(kernel.machine.loop.clockCycles[0] - clock).toBeGreaterThan(2.6e9 / 250);
    expect(kernel.verify()).toEqual([]);
  });

  it("is not asked by fault injection for objects and frames (should_failslab, should_fail_alloc_page)", () => {
    const kernel = boot();
    // Page tables, which know nothing of the caller's flags, are there already.
    kernel.vfree(kernel.vmalloc(MIB));
    for (const kind of ["frame", "vmapArea", "vmStruct", "pageArray"] as const) {
      kernel.faults.failAt(0, kind, Number.POSITIVE_INFINITY);
      expect(
        kernel.run(() => __vmalloc(kernel.vm, 8 * PAGE, GFP_NOFAIL)),
        kind,
      ).toBeGreaterThan(0);
      expect(kernel.faults.failures, kind).toBe(0);
      expect(
        kernel.run(() => __vmalloc(kernel.vm, 8 * PAGE, GFP_KERNEL)),
        kind,
      ).toBe(0);
    }
  });

  it("waits for frames until somebody gives some back", () => {
    const kernel = boot();
    const hoard: number[] = [];
    for (let address = kernel.vmalloc(MIB); address !== 0; address = kernel.vmalloc(MIB)) hoard.push(address);
    expect(kernel.run(() => __vmalloc(kernel.vm, 2 * MIB, GFP_KERNEL))).toBe(0);
    kernel.spawn("other", 1, freeLater(kernel, hoard.slice(0, 4), 50));
    const address = kernel.run(() => __vmalloc(kernel.vm, 2 * MIB, GFP_NOFAIL));
    expect(address).toBeGreaterThan(0);
    kernel.runUntilIdle();
    expect(kernel.verify()).toEqual([]);
  });

  it("waits for room in the address space, and says once that it tries again", () => {
    const kernel = boot();
    const start = VMALLOC_START + 2 ** 41;
    const request = { ...VMALLOC_REQUEST, range: { start, end: start + 8 * PAGE } };
    const held = kernel.run(() => __vmallocNodeRange(kernel.vm, 6 * PAGE, request));
    expect(held).toBe(start);
    kernel.spawn("other", 1, freeLater(kernel, [held], 50));
    const address = kernel.run(() => __vmallocNodeRange(kernel.vm, 6 * PAGE, { ...request, gfp: GFP_NOFAIL }));
    expect(address).toBe(start);
    const retries = kernel.log.lines.filter((line) => line.includes("vm_struct allocation failed. Retrying."));
    expect(retries).toHaveLength(1);
    kernel.runUntilIdle();
    expect(kernel.verify()).toEqual([]);
  });

  it("ends with the kernel's panic, not with an endless loop, when nobody is left to give anything back", () => {
    const kernel = boot();
    while (kernel.vmalloc(MIB) !== 0);
    expect(() => kernel.run(() => __vmalloc(kernel.vm, 2 * MIB, GFP_NOFAIL))).toThrow(NotEnoughMemory);
    expect(kernel.log.lines.at(-1)).toMatch(/^Kernel panic - not syncing: System is deadlocked on memory/);
  });

  it("does not outlive the machine: more than all memory is refused at once, as in the kernel", () => {
    const kernel = boot();
    expect(kernel.run(() => __vmalloc(kernel.vm, 64 * MIB, GFP_NOFAIL))).toBe(0);
    expect(kernel.log.lines.at(-1)).toContain("exceeds total pages");
  });

  it("asks for small pages where large ones are short", () => {
    const kernel = boot();
    kernel.faults.failAt(0, "frame");
    const request = { ...VMALLOC_REQUEST, gfp: GFP_NOFAIL, flags: VM_ALLOW_HUGE_VMAP };
    const address = kernel.run(() => __vmallocNodeRange(kernel.vm, 2 * MIB, request));
    expect(address).toBeGreaterThan(0);
    expect(kernel.faults.failures).toBe(1);
    expect(kernel.verify()).toEqual([]);
  });

  it("means nothing to who may not wait for frames", () => {
    const kernel = boot();
    while (kernel.vmalloc(MIB) !== 0);
    expect(kernel.run(() => __vmalloc(kernel.vm, 2 * MIB, GFP_NOWAIT | __GFP_NOFAIL))).toBe(0);
  });
});
