import { describe, expect, it } from "vitest";
import {
  __vmallocNodeRange,
  reclaimAndPurgeVmapAreas,
  VM_ALLOC,
  VMALLOC_END,
  VMALLOC_REQUEST,
  VMALLOC_START,
} from "../../../mm/index.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";
import { CALLS, type Call } from "./fault-injection-calls.ts";

const PAGE = 4096;
const MIB = 2 ** 20;

/** Everything that a failed call must leave as it was. Page tables may have been made, ranges may be lazily freed. */
function holdings(kernel: Kernel): object {
  const { vm, pages, tables } = kernel;
  return {
    framesInUse: pages.totalPages - pages.freePages - tables.tablePages,
    vmallocPages: vm.nrVmallocPages,
    vmStructs: vm.vms.liveCount,
    leaves: tables.leavesSet - tables.leavesCleared,
    busy: vm.nodes.flatMap((node) => {
      const found: string[] = [];
      const { head } = node.busy.tree;
      for (let area = vm.areas.nextOf(head); area !== head; area = vm.areas.nextOf(area)) {
        // A vmap block may stay; it is checked after a forced purge.
        if (vm.areas.vmOf(area) !== 0) found.push(vm.areas.startOf(area).toString(16));
      }
      return found;
    }),
  };
}

/** The gaps of the address space once everything freed has been given back. */
function gapsAfterPurge(kernel: Kernel): string[] {
  const { vm } = kernel;
  kernel.run(reclaimAndPurgeVmapAreas(vm));
  expect(vm.lazyNr).toBe(0);
  const gaps: string[] = [];
  const { head } = vm.freeTree;
  for (let gap = vm.areas.nextOf(head); gap !== head; gap = vm.areas.nextOf(gap)) {
    gaps.push(`${vm.areas.startOf(gap).toString(16)}-${vm.areas.endOf(gap).toString(16)}`);
  }
  return gaps;
}

function freshKernel(call: Call, cpus: number): { kernel: Kernel; frames: Uint32Array } {
  const kernel = bootKernel({ cpus, memoryBytes: call.memoryBytes ?? 16 * MIB });
  return { kernel, frames: kernel.allocFrames(600) };
}

describe.each([1, 4])("on %i CPU(s), a call fails cleanly at each place that can run out:", (cpus) => {
  it.each(CALLS)("$name", (call) => {
    const counting = freshKernel(call, cpus);
    counting.kernel.faults.failAt(Number.POSITIVE_INFINITY);
    const address = call.make(counting.kernel, counting.frames);
    const points = counting.kernel.faults.seen;
    expect(address).toBeGreaterThan(0);
    expect(points).toBeGreaterThanOrEqual(2);
    call.undo(counting.kernel, address);
    expect(counting.kernel.faults.seen, "freeing allocates nothing, so it cannot fail").toBe(points);

    for (let point = call.allocatesFirst ?? 0; point < points; point++) {
      const { kernel, frames } = freshKernel(call, cpus);
      const before = holdings(kernel);
      const gaps = gapsAfterPurge(kernel);
      kernel.faults.failAt(point);
      const result = call.make(kernel, frames);
      const where = `with allocation ${point} of ${points} failing`;
      expect(kernel.faults.seen, where).toBeGreaterThan(point);
      // What could not be preloaded is allocated under the lock.
      const recovers =
        call.recovers === true ||
        (call.lastRecovers === true && point === points - 1) ||
        kernel.faults.lastFailed === "vmapAreaPreload";
      const splitFailed = kernel.log.lines.some((line) => line.includes("no memory to split"));
      kernel.faults.disarm();
      expect(kernel.verify(), where).toEqual([]);
      expect(kernel.log.warnings, where).toBe(splitFailed ? 1 : 0);
      expect(result > 0, where).toBe(recovers || splitFailed);
      if (result > 0) call.undo(kernel, result);
      else if (call.says === null) expect(kernel.log.lines, where).toEqual([]);
      else if (call.isQuietToo !== true || kernel.log.lines.length > 0) {
        expect(kernel.log.lines.at(-1), where).toMatch(call.says);
      }
      expect(holdings(kernel), where).toEqual(before);

      const again = call.make(kernel, frames);
      expect(again, where).toBeGreaterThan(0);
      expect(kernel.verify(), where).toEqual([]);
      call.undo(kernel, again);
      expect(holdings(kernel), where).toEqual(before);
      expect(gapsAfterPurge(kernel), where).toEqual(gaps);
      expect(kernel.verify(), where).toEqual([]);
    }
  });

  it.each(CALLS)("$name, with that many frames left in the machine", (call) => {
    const { kernel, frames } = freshKernel(call, cpus);
    const before = holdings(kernel);
    let failures = 0;
    for (let left = call.allocatesFirst ?? 0; left < 2000; left = left < 24 ? left + 1 : Math.floor(left * 1.3)) {
      if (left > kernel.pages.freePages) break;
      const taken = kernel.allocFrames(kernel.pages.freePages - left);
      const result = call.make(kernel, frames);
      const findings = kernel.verify();
      if (result > 0) call.undo(kernel, result);
      else failures++;
      kernel.freeFrames(taken);
      expect(findings, `${left} frames left`).toEqual([]);
      expect(holdings(kernel), `${left} frames left`).toEqual(before);
    }
    expect(kernel.verify()).toEqual([]);
    const needsFrames = !["get_vm_area", "get_vm_area in a window", "per-CPU areas"].includes(call.name);
    if (needsFrames) expect(failures).toBeGreaterThan(0);
    const result = call.make(kernel, frames);
    expect(result).toBeGreaterThan(0);
    call.undo(kernel, result);
    expect(gapsAfterPurge(kernel)).toEqual(gapsAfterPurge(freshKernel(call, cpus).kernel));
  });
});

describe("the address space runs out", () => {
  const START = VMALLOC_START + 2 ** 41;

  /** vmalloc in the window [START, START + pages). */
  const inWindow = (kernel: Kernel, sizePages: number, windowPages: number): number => {
    const end = START + windowPages * PAGE;
    return kernel.run(() =>
      __vmallocNodeRange(kernel.vm, sizePages * PAGE, { ...VMALLOC_REQUEST, range: { start: START, end } }),
    );
  };

  it("in a window: NULL, the kernel's two lines, nothing leaked", () => {
    const kernel = bootKernel({ cpus: 2, memoryBytes: 16 * MIB });
    const [first, second] = [inWindow(kernel, 3, 8), inWindow(kernel, 3, 8)];
    expect([first, second]).toEqual([START, START + 4 * PAGE]);
    const before = holdings(kernel);
    expect(inWindow(kernel, 1, 8)).toBe(0);
    expect(kernel.log.lines.slice(-2).join("\n")).toMatch(
      /^vmalloc_node_range for size 8192 failed: Address range restricted to 0xffff\w+ - 0xffff\w+\nsync: vmalloc error: size 4096, vm_struct allocation failed, mode:0xcc0\(GFP_KERNEL\)/,
    );
    expect(holdings(kernel)).toEqual(before);
    expect(kernel.verify()).toEqual([]);
  });

  it("but lazily freed ranges are purged and used before the call fails", () => {
    const kernel = bootKernel({ cpus: 2, memoryBytes: 16 * MIB });
    const first = inWindow(kernel, 3, 8);
    inWindow(kernel, 3, 8);
    kernel.vfree(first);
    const purges = kernel.vm.purges;
    expect(inWindow(kernel, 2, 8)).toBe(first);
    expect(kernel.vm.purges).toBe(purges + 1);
    expect(kernel.vm.lazyNr).toBe(0);
    expect(kernel.verify()).toEqual([]);
  });

  it("and purge notifiers are asked, as long as they free something", () => {
    const kernel = bootKernel({ cpus: 1, memoryBytes: 16 * MIB });
    const held = inWindow(kernel, 7, 8);
    let asked = 0;
    kernel.vm.purgeNotifiers.push(() => {
      asked++;
      return 0;
    });
    expect(inWindow(kernel, 1, 8)).toBe(0);
    expect(asked).toBe(1);
    kernel.vfree(held);
    expect(inWindow(kernel, 7, 8)).toBe(held);
    expect(asked).toBe(1);
    expect(kernel.verify()).toEqual([]);
  });

  it.each([1, 4])("everywhere, on %i CPU(s): every call answers NULL, and works again afterwards", (cpus) => {
    const kernel = bootKernel({ cpus, memoryBytes: 16 * MIB });
    const frames = kernel.allocFrames(600);
    const before = holdings(kernel);
    const gaps = gapsAfterPurge(kernel);
    const reserved: number[] = [];
    for (let sizeBytes = 2 ** 44; sizeBytes >= PAGE; sizeBytes /= 2) {
      for (;;) {
        const address = kernel.getVmArea(sizeBytes, VM_ALLOC);
        if (address === 0) break;
        reserved.push(address);
      }
    }
    expect(kernel.verify()).toEqual([]);
    const full = holdings(kernel);
    const calls = CALLS.filter(({ name }) => !name.includes("window") && !name.includes("huge"));
    for (const call of calls) {
      expect(call.make(kernel, frames), call.name).toBe(0);
      expect(holdings(kernel), call.name).toEqual(full);
    }
    expect(kernel.verify()).toEqual([]);
    for (const address of reserved) kernel.freeVmArea(address);
    expect(holdings(kernel)).toEqual(before);
    for (const call of calls) {
      const address = call.make(kernel, frames);
      expect(address, call.name).toBeGreaterThan(0);
      call.undo(kernel, address);
    }
    expect(gapsAfterPurge(kernel)).toEqual(gaps);
    expect(kernel.verify()).toEqual([]);
    expect(VMALLOC_END - VMALLOC_START).toBeGreaterThan(2 ** 44);
  });
});
