import { describe, expect, it } from "vitest";
import { entryFrame, entryHigh, entryLow, PTE_PRESENT, PTE_XD_HIGH } from "../../../arch/isa/pte.ts";
import {
  FRAME_CALLER,
  FRAME_VMALLOC,
  GFP_KERNEL,
  PAGE_OFFSET,
  PageTables,
  remapVmallocRange,
  verifyVmalloc,
  vmallocUser,
} from "../../../mm/index.ts";
import { caught, readEntry, shown, type VariedKernel, variedKernel, vmAt, writeEntry } from "./verify-state.ts";

const PAGE = 4096;

describe("verify finds what is wrong with page tables", () => {
  caught([
    [
      "a page that is not mapped",
      ({ kernel, small }) => {
        writeEntry(kernel, small + PAGE, 1, 0, 0);
        return `${shown(small + PAGE)} is not mapped`;
      },
    ],
    [
      "a page mapped to another frame than its own",
      ({ kernel, small, other }) => {
        const [low, high] = readEntry(kernel, other, 1);
        writeEntry(kernel, small + 2 * PAGE, 1, low, high);
        return `${shown(small + 2 * PAGE)} maps frame 0x${entryFrame(low, high).toString(16)}, but its page is frame`;
      },
    ],
    [
      "a guard page that is mapped",
      ({ kernel, small, frames }) => {
        writeEntry(kernel, small + 3 * PAGE, 1, entryLow(frames[0], PTE_PRESENT), 0);
        return `${shown(small + 3 * PAGE)} maps frame 0x${frames[0].toString(16)}, but the area ends there`;
      },
    ],
    [
      "a mapping in a lazily freed area",
      ({ kernel, lazy, frames }) => {
        writeEntry(kernel, lazy, 1, entryLow(frames[0], PTE_PRESENT), 0);
        return `${shown(lazy)} maps frame 0x${frames[0].toString(16)}, but lies in the lazily freed area`;
      },
    ],
    [
      "a mapping in a pooled area",
      ({ kernel, pooled, frames }) => {
        writeEntry(kernel, pooled, 1, entryLow(frames[0], PTE_PRESENT), 0);
        return `${shown(pooled)} maps frame 0x${frames[0].toString(16)}, but lies in the pooled area`;
      },
    ],
    [
      "a mapping in free space, in the range of modules",
      ({ kernel, frames }) => {
        writeEntry(kernel, 0xffff_a010_0000, 1, entryLow(frames[0], PTE_PRESENT), 0);
        return "0xffffffffa0100000 maps frame";
      },
    ],
    [
      "a mapping in a reserved area, of part of it",
      ({ kernel, reserved }) => {
        writeEntry(kernel, reserved, 1, entryLow(0xe0000, PTE_PRESENT), 0);
        return `${shown(reserved + PAGE)} is not mapped; 1 of 2 pages are`;
      },
    ],
    [
      "an entry that is neither present nor zero",
      ({ kernel, lazy }) => {
        writeEntry(kernel, lazy, 1, 0x1000, 0);
        return `the entry for ${shown(lazy)} of level 1 is neither present nor zero`;
      },
    ],
    [
      "a table that stands in two places",
      ({ kernel, small }) => {
        const [low, high] = readEntry(kernel, small, 2);
        writeEntry(kernel, small + 2 ** 34, 2, low, high);
        const covered = small - (small % 2 ** 21);
        return `is the table for ${shown(covered + 2 ** 34)} and for ${shown(covered)}`;
      },
    ],
    [
      "a wrong number of tables",
      ({ kernel }) => {
        kernel.tables.tables[1]++;
        return "tables of level 1, but";
      },
    ],
    [
      "a wrong number of leaves",
      ({ kernel }) => {
        kernel.tables.leavesSet++;
        return "leaves were set and not cleared";
      },
    ],
    [
      "a device page mapped elsewhere",
      ({ kernel, device }) => {
        writeEntry(kernel, device + PAGE, 1, entryLow(0xe0007, PTE_PRESENT), 0);
        return `${shown(device + PAGE)} maps frame 0xe0007, but its page is frame 0xe0001`;
      },
    ],
    [
      "a large page that maps other frames than the area's",
      ({ kernel, huge }) => {
        const [low, high] = readEntry(kernel, huge, 2);
        writeEntry(kernel, huge, 2, low + 2 ** 21, high);
        return `${shown(huge)} maps frame`;
      },
    ],
    [
      "a large page that is not aligned",
      ({ kernel, huge }) => {
        const [low, high] = readEntry(kernel, huge, 2);
        writeEntry(kernel, huge, 2, low + 2 ** 14, high);
        return `the leaf for ${shown(huge)} of 2097152 bytes maps`;
      },
    ],
    [
      "a hole in a vm_map_ram area",
      ({ kernel, whole }) => {
        writeEntry(kernel, whole + 50 * PAGE, 1, 0, 0);
        return `${shown(whole + 50 * PAGE)} is not mapped; 99 of 100 pages are`;
      },
    ],
    [
      "a hole in a vmap area",
      ({ kernel, vmapped }) => {
        writeEntry(kernel, vmapped, 1, 0, 0);
        return `${shown(vmapped)} is not mapped; 7 of 8 pages are`;
      },
    ],
    [
      "a direct map that shows another frame",
      ({ kernel, frames }) => {
        const la = PAGE_OFFSET + frames[0] * PAGE;
        const [low, high] = readEntry(kernel, la, 2);
        writeEntry(kernel, la, 2, low + 2 ** 21, high);
        return `the direct map at ${shown(la - (la % 2 ** 21))}`;
      },
    ],
    [
      "a table in a frame beyond memory",
      ({ kernel, small }) => {
        writeEntry(kernel, small + 2 ** 34, 2, entryLow(0xe0000, PTE_PRESENT), 0);
        return "is frame 0xe0000, where no memory is";
      },
    ],
  ]);
});

describe("verify finds what is wrong with frames", () => {
  /** A frame of the area at an address. */
  const frameOf = ({ kernel }: VariedKernel, address: number): number => {
    const { vms, pageArrays } = kernel.vm;
    return pageArrays.frames[vms.pages[2 * vmAt(kernel, address)]];
  };
  caught([
    [
      "a frame that leaked",
      ({ kernel }) => {
        const frame = kernel.pages.allocPages(0, 0, FRAME_VMALLOC, GFP_KERNEL);
        return `frame 0x${frame.toString(16)} leaked: it is marked "vmalloc", but nobody has it`;
      },
    ],
    [
      "a frame of an area that was freed",
      (state) => {
        const frame = frameOf(state, state.small);
        state.kernel.pages.freePagesOf(0, frame, 0);
        return `frame 0x${frame.toString(16)} is a page of the area at ${shown(state.small)} and on the list of free frames of CPU 0`;
      },
    ],
    [
      "a frame freed twice",
      ({ kernel }) => {
        const frame = kernel.pages.allocPages(0, 0, FRAME_CALLER, GFP_KERNEL);
        kernel.pages.freePagesOf(0, frame, 0);
        kernel.pages.freePagesOf(1, frame, 0);
        return `frame 0x${frame.toString(16)} is on the list of free frames of CPU 1 and on the list of free frames of CPU 0`;
      },
    ],
    [
      "a frame of two areas",
      (state) => {
        const { vms, pageArrays } = state.kernel.vm;
        const frame = frameOf(state, state.small);
        pageArrays.frames[vms.pages[2 * vmAt(state.kernel, state.other)] + 1] = frame;
        return `frame 0x${frame.toString(16)} is a page of the area at`;
      },
    ],
    [
      "a frame marked with another use",
      (state) => {
        const frame = frameOf(state, state.small);
        const [zone] = state.kernel.pages.zones;
        zone.use[frame - zone.startFrame] = FRAME_CALLER;
        return `frame 0x${frame.toString(16)} of the area at ${shown(state.small)} is marked "caller's", not "vmalloc"`;
      },
    ],
    [
      "a page table's frame that was freed",
      (state) => {
        state.kernel.tables.cursor.seek(state.small);
        const { table } = state.kernel.tables.cursor;
        state.kernel.pages.freePagesOf(0, table, 0);
        return `frame 0x${table.toString(16)} is a page table for`;
      },
    ],
    [
      "a mapped frame that its caller freed",
      ({ kernel, frames, vmapped }) => {
        kernel.freeFrames(frames.slice(2, 3));
        return `${shown(vmapped + 2 * PAGE)} maps frame 0x${frames[2].toString(16)}, which is free`;
      },
    ],
    [
      "a mapping of a page table",
      (state) => {
        const { kernel, vmapped } = state;
        kernel.tables.cursor.seek(state.small);
        const { table } = kernel.tables.cursor;
        writeEntry(kernel, vmapped, 1, entryLow(table, PTE_PRESENT), entryHigh(table, PTE_XD_HIGH));
        return `${shown(vmapped)} maps frame 0x${table.toString(16)}, which is a page table`;
      },
    ],
    [
      "a wrong count of free frames",
      ({ kernel }) => {
        kernel.pages.freedPages++;
        return `freePages is ${kernel.pages.freePages}, but`;
      },
    ],
    [
      "a wrong count of free blocks",
      ({ kernel }) => {
        kernel.pages.zones[0].freeBlocks[0]++;
        return "free blocks of order 0, but has";
      },
    ],
    [
      "a broken block of frames behind a large page",
      (state) => {
        const { vms, pageArrays } = state.kernel.vm;
        const array = vms.pages[2 * vmAt(state.kernel, state.huge)];
        [pageArrays.frames[array + 5], pageArrays.frames[array + 6]] = [
          pageArrays.frames[array + 6],
          pageArrays.frames[array + 5],
        ];
        return `page 5 of the area at ${shown(state.huge)} breaks its block of 512 frames`;
      },
    ],
  ]);
});

describe("verify counts page tables that a program made by itself", () => {
  it("when it is told of them, and takes their frames for leaked otherwise, and what they map for held by nobody", () => {
    const { kernel } = variedKernel();
    const { machine, pages, faults, log, vm } = kernel;
    const user = new PageTables(machine.memory, pages, faults, log, machine.loop, 4);
    const address = kernel.run(() => vmallocUser(vm, 3 * 4096));
    expect(kernel.run(remapVmallocRange(vm, user, 0x40_0000, address, 0, 3 * 4096))).toBe(0);
    expect(verifyVmalloc(vm, [{ tables: user, userRootFrame: 0 }])).toEqual([]);
    const leaked = kernel.verify();
    // The four tables that map one user page range, and the three pages.
    expect(leaked).toHaveLength(7);
    for (const line of leaked.slice(0, 3)) expect(line).toMatch(/^frame 0x[0-9a-f]+ has 2 references, but 1 holders$/);
    for (const line of leaked.slice(3)) expect(line).toMatch(/^frame 0x[0-9a-f]+ leaked: it is marked "page table"/);
  });
});
