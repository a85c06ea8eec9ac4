import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type KernelCode, PAGE_SIZE, PAUSE_TURN } from "../../../arch/index.ts";
import { vmMapRam, vmUnmapRam, vreadIter, wait } from "../../../mm/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";

describe("vread racing vm_unmap_ram", () => {
  it("reads each page either as it was mapped or as zeros, and all zeros once it is unmapped", () => {
    const outcomes = new Set<string>();
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.nat(6000), fc.nat(60_000), (pages, readerWait, unmapperWait) => {
        const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 28 });
        const { loop } = kernel.machine;
        const frames = kernel.allocFrames(pages);
        const address = kernel.run(() => vmMapRam(kernel.vm, frames));
        const read: number[] = [];
        let unmappedAt = 0;
        let readAt = 0;
        function* reader(): KernelCode<void> {
          loop.spend(readerWait);
          while (loop.mustYield()) yield PAUSE_TURN;
          readAt = loop.nowCycles();
          yield* vreadIter(kernel.vm, address, pages * PAGE_SIZE, (frame, _offset, bytes) => {
            for (let done = 0; done < bytes; done += PAGE_SIZE) read.push(frame === 0 ? 0 : frame + done / PAGE_SIZE);
            loop.spend(1500);
            return bytes;
          });
        }
        function* unmapper(): KernelCode<void> {
          loop.spend(unmapperWait);
          yield* wait(vmUnmapRam(kernel.vm, address, pages));
          unmappedAt = loop.nowCycles();
        }
        kernel.spawn("reader", 0, reader());
        kernel.spawn("unmapper", 1, unmapper());
        kernel.runUntilIdle();
        expect(read).toHaveLength(pages);
        read.forEach((frame, page) => {
          expect([0, frames[page]]).toContain(frame);
        });
        if (readAt > unmappedAt) expect(read).toEqual(new Array(pages).fill(0));
        outcomes.add(read.every((frame) => frame === 0) ? "zeros" : "mapped");
        expect(kernel.verify()).toEqual([]);
      }),
      { numRuns: 200 },
    );
    expect([...outcomes].sort()).toEqual(["mapped", "zeros"]);
  });
});
