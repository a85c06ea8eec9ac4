/** Linux before 6.4 forgets used-up vmap blocks in `vm_unmap_aliases`; `verify` names what is stale then. */
import { describe, expect, it } from "vitest";
import { ACCESS_LOAD, PageFault } from "../../../arch/index.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

const PAGE = 4096;

/** A block of 1024 pages that is used up, whose first 64 pages were touched by CPU 1 and then unmapped. */
function usedUpBlock(kernelVersion: string): { readonly kernel: Kernel; readonly first: number } {
  const kernel = bootKernel({ cpus: 2, kernel: kernelVersion });
  const frames = kernel.allocFrames(64);
  const mapped = Array.from({ length: 16 }, () => kernel.vmMapRam(frames));
  kernel.machine.cpus[1].touchAs(ACCESS_LOAD, mapped[0]);
  kernel.vmUnmapRam(mapped[0], 64);
  return { kernel, first: mapped[0] };
}

/** Whether CPU 1 still reads the page through its TLB. */
function isStale(kernel: Kernel, address: number): boolean {
  try {
    kernel.machine.cpus[1].touchAs(ACCESS_LOAD, address);
    return true;
  } catch (error) {
    if (error instanceof PageFault) return false;
    throw error;
  }
}

describe("vm_unmap_aliases and a vmap block that is used up", () => {
  it("leaves stale translations in 6.1, which verify names until a flush covers them", () => {
    const { kernel, first } = usedUpBlock("6.1");
    expect(kernel.verify()).toEqual([]);
    kernel.vmUnmapAliases();
    expect(isStale(kernel, first)).toBe(true);
    expect(kernel.verify()).toEqual([expect.stringContaining("0xffffc90000000000-0xffffc90000040000 was unmapped")]);
    // A flush of more pages than the ceiling flushes whole TLBs.
    kernel.vfree(kernel.vmalloc(64 * PAGE));
    kernel.vmUnmapAliases();
    expect(isStale(kernel, first)).toBe(false);
    expect(kernel.verify()).toEqual([]);
  });

  it.each(["6.6", "6.12", "7.3"])("leaves none in %s", (version) => {
    const { kernel, first } = usedUpBlock(version);
    kernel.vmUnmapAliases();
    expect(isStale(kernel, first)).toBe(false);
    expect(kernel.verify()).toEqual([]);
  });
});
