/** vm_structs, their frames and what is mapped for them, wrong by exactly one. */
import { describe, expect, it } from "vitest";
import { VM_ALLOC, VM_IOREMAP, VM_NO_GUARD, VM_UNINITIALIZED } from "../../../mm/vmalloc/areas/vm-structs.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { caught, readEntry, shown, variedKernel, vmAt, writeEntry } from "./verify-state.ts";

const PAGE = 4096;
const LARGE = 2 ** 21;

describe("verify finds what is wrong with vm_structs", () => {
  caught([
    [
      "one page more than there is room for",
      ({ kernel, small }) => {
        kernel.vm.vms.nrPages[2 * vmAt(kernel, small)]++;
        return "has 4 pages, but room for 3";
      },
    ],
    [
      "one page less than is mapped",
      ({ kernel, small }) => {
        kernel.vm.vms.nrPages[2 * vmAt(kernel, small)]--;
        return "it has 2 pages, but room for 3";
      },
    ],
    [
      "pages without an array of them",
      ({ kernel, small }) => {
        kernel.vm.vms.pages[2 * vmAt(kernel, small)] = 0;
        return "has 3 pages but no array of them";
      },
    ],
    [
      "pages that are no whole number of large ones",
      ({ kernel, small }) => {
        kernel.vm.vms.setPageOrder(vmAt(kernel, small), 1);
        return "has 3 pages in blocks of 2^1";
      },
    ],
    [
      "page pointers of a large area in no area of their own",
      ({ kernel, large }) => {
        kernel.vm.vms.setPagesAddr(vmAt(kernel, large), 0);
        return "has 1024 page pointers outside vmalloc space";
      },
    ],
    [
      "page pointers of two areas in one place",
      ({ kernel, large, huge }) => {
        kernel.vm.vms.setPagesAddr(vmAt(kernel, huge), kernel.vm.vms.pagesAddrOf(vmAt(kernel, large)));
        return "keep their page pointers at the same address";
      },
    ],
    [
      "page pointers in an area that is not vmalloc'ed",
      ({ kernel, large, device }) => {
        kernel.vm.vms.setPagesAddr(vmAt(kernel, large), device);
        return `keeps its page pointers at ${shown(device)}, where no vmalloc'ed area is`;
      },
    ],
    [
      "one vmalloc'ed page more than areas have",
      ({ kernel }) => {
        kernel.vm.nrVmallocPages++;
        return `nrVmallocPages is ${kernel.vm.nrVmallocPages}, but areas hold ${kernel.vm.nrVmallocPages - 1} pages`;
      },
    ],
    [
      "an array of frames that begins one place further",
      ({ kernel, small }) => {
        kernel.vm.vms.pages[2 * vmAt(kernel, small)]++;
        return "of the page arrays leaked, between";
      },
    ],
  ]);
});

describe("verify finds what is wrong with what is mapped", () => {
  caught([
    [
      "two pages that have changed places",
      ({ kernel, small }) => {
        const first = readEntry(kernel, small, 1);
        writeEntry(kernel, small, 1, ...readEntry(kernel, small + PAGE, 1));
        writeEntry(kernel, small + PAGE, 1, ...first);
        return `${shown(small)} maps frame`;
      },
    ],
    [
      "the last page of an area, not mapped",
      ({ kernel, small }) => {
        writeEntry(kernel, small + 2 * PAGE, 1, 0, 0);
        return `${shown(small + 2 * PAGE)} is not mapped`;
      },
    ],
    [
      "the last page of a device, one further",
      ({ kernel, device }) => {
        const [low, high] = readEntry(kernel, device + 15 * PAGE, 1);
        writeEntry(kernel, device + 15 * PAGE, 1, low + PAGE, high);
        return `${shown(device + 15 * PAGE)} maps frame 0xe0010, but its page is frame 0xe000f`;
      },
    ],
    [
      "the guard page of a vmap area, which maps its first page again",
      ({ kernel, vmapped }) => {
        writeEntry(kernel, vmapped + 8 * PAGE, 1, ...readEntry(kernel, vmapped, 1));
        return "the guard page is mapped";
      },
    ],
    [
      "a page of an area that is not initialized yet",
      ({ kernel, small }) => {
        kernel.vm.vms.flags[2 * vmAt(kernel, small)] |= VM_UNINITIALIZED;
        return "is not initialized";
      },
    ],
    [
      "memory in a reservation for devices",
      ({ kernel, reserved, small }) => {
        for (const at of [0, PAGE]) writeEntry(kernel, reserved + at, 1, ...readEntry(kernel, small + at, 1));
        return `${shown(reserved)} maps frame`;
      },
    ],
    [
      "one page of a reservation for devices",
      ({ kernel, reserved, device }) => {
        writeEntry(kernel, reserved, 1, ...readEntry(kernel, device, 1));
        return `${shown(reserved + PAGE)} is not mapped; 1 of 2 pages are`;
      },
    ],
    [
      "one page of a vmap area, not mapped",
      ({ kernel, vmapped }) => {
        writeEntry(kernel, vmapped + 7 * PAGE, 1, 0, 0);
        return `${shown(vmapped + 7 * PAGE)} is not mapped; 7 of 8 pages are`;
      },
    ],
    [
      "a page of a vm_map_ram area that its owner gave back",
      ({ kernel, whole, frames }) => {
        kernel.freeFrames(frames.slice(99));
        return `${shown(whole + 99 * PAGE)} maps`;
      },
    ],
    [
      "a large page in an area of small ones",
      ({ kernel, large, huge }) => {
        const start = Math.ceil(large / LARGE) * LARGE;
        const entry = readEntry(kernel, huge, 2);
        writeEntry(kernel, start, 2, ...entry);
        return `${shown(start)} is mapped by a page of ${LARGE} bytes`;
      },
    ],
  ]);
});

describe("verify accepts", () => {
  it("a reservation for devices that is mapped whole", () => {
    const { kernel, reserved, device } = variedKernel();
    for (const at of [0, PAGE]) writeEntry(kernel, reserved + at, 1, ...readEntry(kernel, device + at, 1));
    kernel.tables.leavesSet += 2;
    expect(kernel.verify()).toEqual([]);
  });

  it("an area without a guard page that is mapped to its end", () => {
    const { kernel, reserved, device } = variedKernel();
    const vm = vmAt(kernel, reserved);
    kernel.vm.vms.flags[2 * vm] = VM_IOREMAP | VM_NO_GUARD;
    for (const at of [0, PAGE, 2 * PAGE]) writeEntry(kernel, reserved + at, 1, ...readEntry(kernel, device + at, 1));
    kernel.tables.leavesSet += 3;
    expect(kernel.verify()).toEqual([]);
  });

  it("in Linux 7.3 an area that vrealloc has shrunk, with nothing mapped behind what is left", () => {
    const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 26, kernel: "7.3" });
    const address = kernel.vmalloc(8 * PAGE);
    expect(kernel.vrealloc(address, 5 * PAGE)).toBe(address);
    expect(kernel.vm.vms.nrPages[2 * vmAt(kernel, address)]).toBe(5);
    expect(kernel.vm.vms.flags[2 * vmAt(kernel, address)] & VM_ALLOC).toBe(VM_ALLOC);
    expect(kernel.verify()).toEqual([]);
    writeEntry(kernel, address + 5 * PAGE, 1, ...readEntry(kernel, address, 1));
    expect(kernel.verify()).toContainEqual(expect.stringContaining("was shrunk"));
  });
});
