import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  VM_ALLOC,
  VM_MAP,
  VM_SPARSE,
  VM_UNINITIALIZED,
  VMALLOC_START,
  vmAreaMapPages,
  vread,
  vreadIter,
} from "../../../mm/index.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

const PAGE = 4096;

/** Frames of which number k is filled with the byte `first + k`. */
function filledFrames(kernel: Kernel, count: number, first: number): Uint32Array {
  const frames = kernel.allocFrames(count);
  frames.forEach((frame, k) => {
    kernel.machine.memory.frameBytes(frame).fill(first + k);
  });
  return frames;
}

/** Fills the pages of a vmalloc'ed area with `first`, `first + 1`, ... */
function fillArea(kernel: Kernel, address: number, first: number): void {
  const { areas, vms, pageArrays } = kernel.vm;
  const area = kernel.vm.addrToNode(address).busy.findStart(address);
  const vm = areas.vmOf(area);
  for (let k = 0; k < vms.nrPages[2 * vm]; k++) {
    kernel.machine.memory.frameBytes(pageArrays.frames[vms.pages[2 * vm] + k]).fill(first + k);
  }
}

/** The bytes of a read; the buffer is filled with 0xee before. */
function read(kernel: Kernel, address: number, sizeBytes: number): Uint8Array {
  const out = new Uint8Array(sizeBytes).fill(0xee);
  expect(kernel.run(vread(kernel.vm, address, out))).toBe(sizeBytes);
  return out;
}

/** The byte that each whole page read consists of; throws when a page is not uniform. */
function pageBytes(kernel: Kernel, address: number, pages: number): number[] {
  const bytes = read(kernel, address, pages * PAGE);
  return Array.from({ length: pages }, (_, k) => {
    const page = bytes.subarray(k * PAGE, (k + 1) * PAGE);
    if (page.some((byte) => byte !== page[0])) throw new Error(`page ${k} is not uniform`);
    return page[0];
  });
}

describe("vread_iter", () => {
  it("reads a vmalloc'ed area, zeros for its guard page and for the hole behind it", () => {
    const kernel = bootKernel();
    const address = kernel.vmalloc(3 * PAGE);
    fillArea(kernel, address, 0x20);
    expect(pageBytes(kernel, address, 6)).toEqual([0x20, 0x21, 0x22, 0, 0, 0]);
  });

  it("reads across areas of several nodes and the holes between them", () => {
    const kernel = bootKernel({ cpus: 4 });
    const addresses = Array.from({ length: 40 }, () => kernel.vmalloc(2 * PAGE));
    addresses.forEach((address, i) => {
      fillArea(kernel, address, 2 * i + 1);
    });
    for (let i = 0; i < addresses.length; i += 3) kernel.vfree(addresses[i]);
    const expected = addresses.flatMap((_, i) => (i % 3 === 0 ? [0, 0, 0] : [2 * i + 1, 2 * i + 2, 0]));
    expect(addresses[0]).toBe(VMALLOC_START);
    expect(pageBytes(kernel, VMALLOC_START, 3 * addresses.length)).toEqual(expected);
  });

  it("starts and ends anywhere in a page", () => {
    const kernel = bootKernel();
    const address = kernel.vmalloc(2 * PAGE);
    fillArea(kernel, address, 1);
    expect([...read(kernel, address + PAGE - 2, 4)]).toEqual([1, 1, 2, 2]);
    expect([...read(kernel, address + 2 * PAGE - 1, 3)]).toEqual([2, 0, 0]);
    expect(read(kernel, address + 5, 0)).toHaveLength(0);
  });

  it("reads large pages", () => {
    const kernel = bootKernel();
    const address = kernel.vmallocHuge(4 * 2 ** 20);
    const { areas, vms, pageArrays } = kernel.vm;
    const vm = areas.vmOf(kernel.vm.addrToNode(address).busy.findStart(address));
    expect(vms.pageOrderOf(vm)).toBe(9);
    kernel.machine.memory.frameBytes(pageArrays.frames[vms.pages[2 * vm] + 700]).fill(7);
    expect(pageBytes(kernel, address + 699 * PAGE, 3)).toEqual([0, 7, 0]);
  });

  it("gives zeros, all that were asked for, where no area is", () => {
    const kernel = bootKernel();
    expect(pageBytes(kernel, VMALLOC_START + 2 ** 40, 2)).toEqual([0, 0]);
  });

  it("gives zeros for device memory, sparse and reserved areas and areas that are not initialized", () => {
    const kernel = bootKernel();
    expect(pageBytes(kernel, kernel.ioremap(0xe000_0000, 2 * PAGE), 2)).toEqual([0, 0]);
    expect(pageBytes(kernel, kernel.getVmArea(2 * PAGE, VM_MAP), 2)).toEqual([0, 0]);
    const address = kernel.vmalloc(2 * PAGE);
    fillArea(kernel, address, 5);
    const { vms, areas } = kernel.vm;
    vms.flags[2 * areas.vmOf(kernel.vm.addrToNode(address).busy.findStart(address))] = VM_ALLOC | VM_UNINITIALIZED;
    expect(pageBytes(kernel, address, 2)).toEqual([0, 0]);
  });

  it("gives zeros for the pages that are mapped in a sparse area", () => {
    const kernel = bootKernel();
    const address = kernel.getVmArea(4 * PAGE, VM_SPARSE);
    const vm = kernel.vm.areas.vmOf(kernel.vm.addrToNode(address).busy.findStart(address));
    const frames = filledFrames(kernel, 2, 0x30);
    expect(vmAreaMapPages(kernel.vm, vm, address + PAGE, address + 3 * PAGE, frames)).toBe(0);
    expect(kernel.machine.cpus[0].load(address + PAGE, 1)).toBe(0x30);
    const behind = kernel.vmalloc(PAGE);
    fillArea(kernel, behind, 0x40);
    expect(pageBytes(kernel, address, 4)).toEqual([0, 0, 0, 0]);
    expect(pageBytes(kernel, behind, 1)).toEqual([0x40]);
  });

  it("stops at the end of the address space", () => {
    const kernel = bootKernel();
    const out = new Uint8Array(2 * PAGE);
    expect(kernel.run(vread(kernel.vm, 2 ** 48 - PAGE, out))).toBe(PAGE);
  });

  it("stops where its receiver does, and says how much it took", () => {
    const kernel = bootKernel();
    const address = kernel.vmalloc(3 * PAGE);
    let room = PAGE + 100;
    const took = kernel.run(
      vreadIter(kernel.vm, address, 3 * PAGE, (_frame, _offset, lengthBytes) => {
        const taken = Math.min(room, lengthBytes);
        room -= taken;
        return taken;
      }),
    );
    expect(took).toBe(PAGE + 100);
  });

  it.each([
    ["in a mapped page", 0, 100],
    ["after whole pages", 2, 0],
    ["in a hole", 3, 7],
  ])("gives nothing more to a receiver that took less once, %s", (_, wholePages, more) => {
    const kernel = bootKernel();
    const address = kernel.vmalloc(3 * PAGE);
    kernel.vmalloc(3 * PAGE);
    const given: number[] = [];
    const took = kernel.run(
      vreadIter(kernel.vm, address, 8 * PAGE, (_frame, _offset, lengthBytes) => {
        given.push(lengthBytes);
        // Less than it was given, and all that it would be given after that.
        return given.length === wholePages + 1 ? more : lengthBytes;
      }),
    );
    expect(given).toHaveLength(wholePages + 1);
    expect(took).toBe(wholePages * PAGE + more);
    expect(kernel.verify()).toEqual([]);
  });

  it("leaves no lock held and touches no memory that was never written", () => {
    const kernel = bootKernel();
    const address = kernel.vmalloc(8 * 2 ** 20);
    const touched = kernel.machine.memory.touchedBytes;
    read(kernel, address, 9 * 2 ** 20);
    expect(kernel.machine.memory.touchedBytes).toBe(touched);
    expect(kernel.verify()).toEqual([]);
  });
});

describe("vread_iter of vm_map_ram areas", () => {
  it("reads an area of its own (VMAP_RAM alone)", () => {
    const kernel = bootKernel();
    const address = kernel.vmMapRam(filledFrames(kernel, 80, 0x10));
    expect(pageBytes(kernel, address, 82)).toEqual([...Array.from({ length: 80 }, (_, k) => 0x10 + k), 0, 0]);
  });

  /** Two mappings of four pages each in a fresh block, page k of them filled with 0x10 + k, as it was measured. */
  function twoMappings(upstreamQuirks: boolean): { kernel: Kernel; first: number; second: number } {
    const kernel = bootKernel({ cpus: 1, vmalloc: { upstreamQuirks } });
    const frames = filledFrames(kernel, 8, 0x10);
    const first = kernel.vmMapRam(frames.slice(0, 4));
    const second = kernel.vmMapRam(frames.slice(4, 8));
    expect(second).toBe(first + 4 * PAGE);
    return { kernel, first, second };
  }

  it("reads from a block what is mapped at the address", () => {
    const { kernel, first, second } = twoMappings(false);
    expect([0, 1, 3].map((k) => pageBytes(kernel, first + k * PAGE, 1)[0])).toEqual([0x10, 0x11, 0x13]);
    expect([0, 2].map((k) => pageBytes(kernel, second + k * PAGE, 1)[0])).toEqual([0x14, 0x16]);
  });

  it("reads from a block what Linux 6.12.117 was measured to read, with upstreamQuirks", () => {
    const { kernel, first, second } = twoMappings(true);
    expect([0, 1, 3].map((k) => pageBytes(kernel, first + k * PAGE, 1)[0])).toEqual([0x10, 0x10, 0x10]);
    expect([0, 2].map((k) => pageBytes(kernel, second + k * PAGE, 1)[0])).toEqual([0x10, 0x10]);
  });

  it("with upstreamQuirks begins at each run of used pages and reads a page beyond it", () => {
    const { kernel, first, second } = twoMappings(true);
    kernel.vmUnmapRam(first, 4);
    // One run, pages 4 to 7: what is before it is zeros, then it is read from its beginning wherever the address is.
    expect(pageBytes(kernel, first, 8)).toEqual([0, 0, 0, 0, 0x14, 0x15, 0x16, 0x17]);
    expect(pageBytes(kernel, second + 2 * PAGE, 4)).toEqual([0x14, 0x15, 0x16, 0x17]);
    // Five pages for a run of four, the fifth not mapped; then the block is over.
    expect(pageBytes(kernel, second + 2 * PAGE, 6)).toEqual([0x14, 0x15, 0x16, 0x17, 0, 0]);
    expect([...read(kernel, second + 3 * PAGE + 5, 1)]).toEqual([0x14]);
  });

  it("with upstreamQuirks a run goes on over the pages that a request was rounded up by", () => {
    const kernel = bootKernel({ cpus: 1, vmalloc: { upstreamQuirks: true } });
    const frames = filledFrames(kernel, 6, 0x10);
    const first = kernel.vmMapRam(frames.slice(0, 3));
    const second = kernel.vmMapRam(frames.slice(3, 6));
    expect(second).toBe(first + 4 * PAGE);
    // One run of eight pages from the block's first one on: the fourth and the eighth page are not mapped.
    expect(pageBytes(kernel, second, 8)).toEqual([0x10, 0x11, 0x12, 0, 0x13, 0x14, 0x15, 0]);
    kernel.vmUnmapRam(first, 3);
    expect(pageBytes(kernel, first, 8)).toEqual([0, 0, 0, 0, 0x13, 0x14, 0x15, 0]);
  });

  it("gives zeros for pages of a block that are not in use, whatever is still in the tables", () => {
    const { kernel, first } = twoMappings(false);
    kernel.vmUnmapRam(first, 4);
    expect(pageBytes(kernel, first, 10)).toEqual([0, 0, 0, 0, 0x14, 0x15, 0x16, 0x17, 0, 0]);
  });

  it("agrees, for any mappings and any read, with a plain record of what was mapped", () => {
    const mapping = fc.record({ pages: fc.integer({ min: 1, max: 70 }), unmap: fc.boolean() });
    const reads = fc.array(fc.record({ from: fc.nat(400 * PAGE), sizeBytes: fc.nat(12 * PAGE) }), { maxLength: 20 });
    fc.assert(
      fc.property(fc.array(mapping, { minLength: 1, maxLength: 12 }), reads, (mappings, wanted) => {
        const kernel = bootKernel({ cpus: 2, memoryBytes: 32 * 2 ** 20 });
        const frames = filledFrames(kernel, 70, 1);
        const mapped = new Map<number, number>();
        let lowest = Number.POSITIVE_INFINITY;
        for (const { pages, unmap } of mappings) {
          const address = kernel.vmMapRam(frames.slice(0, pages));
          lowest = Math.min(lowest, address);
          if (unmap) kernel.vmUnmapRam(address, pages);
          else for (let k = 0; k < pages; k++) mapped.set(address / PAGE + k, 1 + k);
        }
        for (const { from, sizeBytes } of wanted) {
          const bytes = read(kernel, lowest + from, sizeBytes);
          const expected = Uint8Array.from(bytes, (_, i) => mapped.get(Math.floor((lowest + from + i) / PAGE)) ?? 0);
          expect(Buffer.compare(bytes, expected)).toBe(0);
        }
      }),
      { numRuns: 40 },
    );
  });
});
