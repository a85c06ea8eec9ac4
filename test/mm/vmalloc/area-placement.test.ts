/** Areas that get the place that somebody else has chosen for them: how a replay puts areas where a trace had them. */
import { describe, expect, it } from "vitest";
import { VMALLOC_END, VMALLOC_START } from "../../../mm/index.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

const PAGE = 4096;
const SPARE = VMALLOC_END + 1 - 2 ** 30;

/** A kernel whose next areas are wanted at these addresses, whatever their sizes. */
function wanting(...addresses: number[]): Kernel {
  const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 28 });
  kernel.vm.placement = {
    spareStart: SPARE,
    wantedPlace: () => addresses[0] ?? -1,
    placed: () => {
      addresses.shift();
    },
    *turn() {
      // Each area's turn is when it comes.
    },
  };
  return kernel;
}

describe("a place that an area is wanted at", () => {
  const place = VMALLOC_START + 100 * PAGE;

  it("is where it comes to be, and those for which none is wanted come where the kernel puts them", () => {
    const kernel = wanting(place);
    expect(kernel.vmalloc(PAGE)).toBe(place);
    expect(kernel.vmalloc(PAGE)).toBe(VMALLOC_START);
    expect(kernel.verify()).toEqual([]);
  });

  it("may lie between two others, without a byte to spare", () => {
    const [size, guard] = [3 * PAGE, PAGE];
    const kernel = wanting(place, place + 2 * (size + guard), place + size + guard);
    const starts = [0, 1, 2].map(() => kernel.vmalloc(size));
    expect(starts).toEqual([place, place + 2 * (size + guard), place + size + guard]);
    expect(kernel.verify()).toEqual([]);
  });

  it("is replaced by room at the end of the range when it is taken, so that no other wanted place is", () => {
    const kernel = wanting(place, place + PAGE, place + 100 * PAGE);
    expect(kernel.vmalloc(PAGE)).toBe(place);
    expect(kernel.vmalloc(PAGE)).toBe(SPARE);
    expect(kernel.vmalloc(PAGE)).toBe(place + 100 * PAGE);
    expect(kernel.verify()).toEqual([]);
  });
});
