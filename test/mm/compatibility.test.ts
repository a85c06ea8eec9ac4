/** Public calls in the forms of 0.1.0 do what they did. */
import { describe, expect, it } from "vitest";
import type { KernelCode } from "../../arch/index.ts";
import {
  __vmallocNodeRange,
  GFP_KERNEL,
  isReady,
  MODULES_END,
  MODULES_VADDR,
  NUMA_NO_NODE,
  PAGE_KERNEL_EXEC,
  UserSpaces,
  VMALLOC_REQUEST,
  vfree,
  vmalloc,
  vmMapRam,
  vmUnmapRam,
  wait,
} from "../../mm/index.ts";
import { bootKernel } from "../../src/index.ts";

function boot() {
  return bootKernel({ cpus: 2, memoryBytes: 2 ** 26 });
}

describe("calls in the forms of 0.1.0", () => {
  it("are code that begins when it is run", () => {
    const kernel = boot();
    const call = vmalloc(kernel.vm, 8192);
    expect(kernel.vm.vms.liveCount).toBe(0);
    const address = kernel.run(call);
    expect(address).toBeGreaterThan(0);
    kernel.run(vfree(kernel.vm, address), 1);
    expect(kernel.vm.lazyNr).toBe(3);
    const frames = kernel.allocFrames(2);
    kernel.run(vmUnmapRam(kernel.vm, kernel.run(vmMapRam(kernel.vm, frames)), 2));
    expect(kernel.log.warnings).toBe(0);
    expect(kernel.verify()).toEqual([]);
  });

  it("are made at once from inside the kernel, where their value is there or is waited for", () => {
    const kernel = boot();
    const address = kernel.run(() => vmalloc(kernel.vm, 8192));
    kernel.spawn(
      "thread",
      1,
      (function* (): KernelCode<void> {
        yield* wait(vfree(kernel.vm, address));
      })(),
    );
    kernel.runUntilIdle();
    expect(kernel.vm.lazyNr).toBe(3);
    kernel.machine.loop.postInterrupt(0, 10, () => {
      expect(isReady(vfree(kernel.vm, kernel.vm.vms.addr[0]))).toBe(true);
    });
    kernel.runUntilIdle();
    expect(kernel.verify()).toEqual([]);
  });

  it("take Linux's own arguments of __vmalloc_node_range", () => {
    const kernel = boot();
    const range = [MODULES_VADDR, MODULES_END] as const;
    const call = __vmallocNodeRange(
      kernel.vm,
      100,
      4096,
      ...range,
      GFP_KERNEL,
      PAGE_KERNEL_EXEC,
      0,
      NUMA_NO_NODE,
      "f+0x1/0x2",
    );
    const address = kernel.run(call);
    expect(address).toBe(MODULES_VADDR);
    const again = kernel.run(
      __vmallocNodeRange(
        kernel.vm,
        100,
        { ...VMALLOC_REQUEST, range: { start: MODULES_VADDR, end: MODULES_END }, protection: PAGE_KERNEL_EXEC },
        "f+0x1/0x2",
      ),
    );
    expect(again).toBe(MODULES_VADDR + 8192);
    const { vm } = kernel;
    const callers = [address, again].map((start) => {
      const node = vm.addrToNode(start);
      return vm.vms.callerOf(vm.areas.vmOf(node.busy.findStart(start)));
    });
    expect(callers).toEqual(["f+0x1/0x2", "f+0x1/0x2"]);
  });

  it("make user address spaces out of vmalloc's state", () => {
    const kernel = boot();
    const spaces = new UserSpaces(kernel.vm);
    expect(spaces.kernel).toBe(kernel.mm);
    expect(spaces.mms).toEqual(new Set([spaces.makeMm()]));
    expect(kernel.verify()).toEqual([]);
  });
});
