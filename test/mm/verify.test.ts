import { describe, expect, it } from "vitest";
import { entryFrame, entryHigh, entryLow, PTE_PRESENT, PTE_RW, PTE_XD_HIGH } from "../../arch/pte.ts";
import {
  FRAME_CALLER,
  FRAME_VMALLOC,
  GFP_KERNEL,
  PAGE_OFFSET,
  VM_ALLOC,
  VMAP_RAM,
  type VmapAreas,
} from "../../mm/index.ts";
import { bootKernel } from "../../src/kernel.ts";
import { busyArea, readEntry, shown, type VariedKernel, variedKernel, vmAt, writeEntry } from "./verify-state.ts";

const PAGE = 4096;
/** A field of areas that only the trees and lists themselves write. */
type Field = "blackOf" | "parentOf" | "previousOf" | "subtreeMaxSizeOf";

/** Makes one area's field read as another value, however areas are stored. */
function misreport(areas: VmapAreas, field: Field, area: number, value: number): void {
  const read = areas[field].bind(areas);
  areas[field] = (asked) => (asked === area ? value : read(asked));
}

type Corruption = [name: string, corrupt: (state: VariedKernel) => string];

/** Breaks one thing in a sound state; `corrupt` returns what a finding must contain. */
function caught(corruptions: Corruption[]): void {
  it.each(corruptions)("%s", (_name, corrupt) => {
    const state = variedKernel();
    expect(state.kernel.verify()).toEqual([]);
    const culprit = corrupt(state);
    const findings = state.kernel.verify();
    expect(findings.filter((line) => line.includes(culprit))).not.toEqual([]);
    expect(findings.length).toBeLessThan(50);
  });
}

/** The block that holds an address. */
function blockAt({ kernel, inBlock }: VariedKernel): number {
  const { blocks } = kernel.vm;
  for (const index of blocks.index) {
    for (const [start, block] of index) if (inBlock >= start && inBlock < start + kernel.vm.blockBytes) return block;
  }
  throw new Error("no block");
}

describe("verify finds what is wrong with trees and lists", () => {
  caught([
    [
      "a node of the wrong colour",
      ({ kernel }) => {
        const { areas, freeTree } = kernel.vm;
        const leaf = areas.nextOf(freeTree.head);
        misreport(areas, "blackOf", leaf, 1 - areas.blackOf(leaf));
        return "free tree: ";
      },
    ],
    [
      "a red root",
      ({ kernel }) => {
        const { areas, freeTree } = kernel.vm;
        misreport(areas, "blackOf", freeTree.root, 0);
        return `the root ${shown(areas.startOf(freeTree.root))}`;
      },
    ],
    [
      "a wrong subtreeMaxSize",
      ({ kernel }) => {
        const { areas, freeTree } = kernel.vm;
        misreport(areas, "subtreeMaxSizeOf", freeTree.root, PAGE);
        return `subtreeMaxSize of ${shown(areas.startOf(freeTree.root))}`;
      },
    ],
    [
      "a wrong parent link",
      ({ kernel, small }) => {
        const { areas } = kernel.vm;
        const area = busyArea(kernel, small);
        misreport(areas, "parentOf", area, area);
        return `${shown(small)}-${shown(small + 4 * PAGE)} does not point to its parent`;
      },
    ],
    [
      "a wrong backward link of a list",
      ({ kernel, small }) => {
        const { areas } = kernel.vm;
        misreport(areas, "previousOf", busyArea(kernel, small), 1);
        return `${shown(small)}-${shown(small + 4 * PAGE)} does not point back`;
      },
    ],
    [
      "an area missing from its tree's list",
      ({ kernel, small }) => {
        kernel.vm.areas.listRemove(busyArea(kernel, small));
        return "in the tree, ";
      },
    ],
    [
      "two gaps that touch",
      ({ kernel }) => {
        const { areas, freeTree } = kernel.vm;
        const gap = areas.nextOf(freeTree.head);
        const middle = areas.startOf(gap) + PAGE;
        const upper = areas.make(middle, areas.endOf(gap));
        areas.setEnd(gap, middle);
        freeTree.propagate(gap);
        freeTree.insert(upper);
        return "touch and were not merged";
      },
    ],
  ]);
});

describe("verify finds what is wrong with the places of areas", () => {
  caught([
    [
      "an area that is nowhere",
      ({ kernel }) => {
        kernel.vm.areas.make(PAGE, 2 * PAGE);
        return "areas are in use, but";
      },
    ],
    [
      "a range that belongs to nobody",
      ({ kernel, small }) => {
        const area = busyArea(kernel, small);
        kernel.vm.nodes[kernel.vm.nodeOf(small).id].busy.unlink(area);
        kernel.vm.areas.release(area);
        return `${shown(small)}-${shown(small + 4 * PAGE)} belongs to nobody`;
      },
    ],
    [
      "areas that overlap",
      ({ kernel, small }) => {
        kernel.vm.areas.setEnd(busyArea(kernel, small), small + 5 * PAGE);
        return `overlaps with busy area ${shown(small)}-${shown(small + 5 * PAGE)}`;
      },
    ],
    [
      "a busy area in another node",
      ({ kernel, small }) => {
        const { nodes, areas } = kernel.vm;
        const area = busyArea(kernel, small);
        const home = kernel.vm.nodeOf(small).id;
        nodes[home].busy.unlink(area);
        nodes[(home + 1) % 4].busy.insert(area);
        return `busy area ${shown(areas.startOf(area))}-${shown(areas.endOf(area))} is in node`;
      },
    ],
    [
      "a lazily freed area in another node",
      ({ kernel, lazy }) => {
        const { nodes } = kernel.vm;
        const from = nodes.findIndex((node) => node.lazy.findContaining(lazy) !== 0);
        const area = nodes[from].lazy.findContaining(lazy);
        nodes[from].lazy.unlink(area);
        nodes[(from + 1) % 4].lazy.insert(area);
        return `lazily freed area ${shown(lazy)}`;
      },
    ],
    [
      "a lazily freed area that still has a vm_struct",
      ({ kernel, lazy }) => {
        for (const node of kernel.vm.nodes) {
          const area = node.lazy.findContaining(lazy);
          if (area !== 0) kernel.vm.areas.setVm(area, 1);
        }
        return `${shown(lazy)}-${shown(lazy + 3 * PAGE)} still has a vm_struct`;
      },
    ],
    [
      "an area with neither a vm_struct nor VMAP_RAM",
      ({ kernel, whole }) => {
        const area = busyArea(kernel, whole);
        kernel.vm.areas.setFlags(area, kernel.vm.areas.flagsOf(area) & ~VMAP_RAM);
        return `${shown(whole)}-${shown(whole + 100 * PAGE)} has neither a vm_struct nor VMAP_RAM`;
      },
    ],
    [
      "vm_map_ram flags on an area with a vm_struct",
      ({ kernel, small }) => {
        const area = busyArea(kernel, small);
        kernel.vm.areas.setFlags(area, kernel.vm.areas.flagsOf(area) | VMAP_RAM);
        return `${shown(small)}-${shown(small + 4 * PAGE)} has a vm_struct and vm_map_ram flags`;
      },
    ],
    [
      "a wrong lazyNr",
      ({ kernel }) => {
        kernel.vm.lazyNr++;
        return `lazyNr is ${kernel.vm.lazyNr} pages`;
      },
    ],
    [
      "a wrong pool length",
      ({ kernel }) => {
        kernel.vm.nodes[0].poolLengths[1]--;
        return "pool 1 of node 0 holds 3 areas, but its length says 2";
      },
    ],
    [
      "an area in the pool of another size",
      ({ kernel, pooled }) => {
        const { areas, nodes } = kernel.vm;
        let area = areas.nextOf(nodes[0].poolHeads[1]);
        while (areas.startOf(area) !== pooled) area = areas.nextOf(area);
        areas.listRemove(area);
        areas.listAddAfter(area, nodes[0].poolHeads[4]);
        nodes[0].poolLengths[1]--;
        nodes[0].poolLengths[4]++;
        return `pool 4 of node 0 holds ${shown(pooled)}`;
      },
    ],
    [
      "an area in the pool of another node",
      ({ kernel, pooled }) => {
        const { areas, nodes } = kernel.vm;
        let area = areas.nextOf(nodes[0].poolHeads[1]);
        while (areas.startOf(area) !== pooled) area = areas.nextOf(area);
        areas.listRemove(area);
        areas.listAddAfter(area, nodes[2].poolHeads[1]);
        nodes[0].poolLengths[1]--;
        nodes[2].poolLengths[1]++;
        return `pool 1 of node 2 holds ${shown(pooled)}-${shown(pooled + 2 * PAGE)}, which carries the id of node 0`;
      },
    ],
    [
      "a lock that was not released",
      ({ kernel }) => {
        kernel.run(kernel.vm.nodes[2].lazyLock.take());
        return "vn->lazy.lock is held";
      },
    ],
  ]);
});

describe("verify finds what is wrong with vm_structs", () => {
  caught([
    [
      "a vm_struct that nobody has",
      ({ kernel }) => {
        kernel.vm.vms.make(VM_ALLOC, PAGE, "");
        return "vm_structs are in use, but";
      },
    ],
    [
      "a vm_struct with two areas",
      ({ kernel, small, other }) => {
        kernel.vm.areas.setVm(busyArea(kernel, other), vmAt(kernel, small));
        return "have the same vm_struct";
      },
    ],
    [
      "a vm_struct with another address than its area",
      ({ kernel, small }) => {
        kernel.vm.vms.addr[vmAt(kernel, small)] += PAGE;
        return `the vm_struct of ${shown(small)}`;
      },
    ],
    [
      "a wrong number of vmalloc pages",
      ({ kernel }) => {
        kernel.vm.nrVmallocPages -= 3;
        return `nrVmallocPages is ${kernel.vm.nrVmallocPages}`;
      },
    ],
    [
      "an array of frames that leaked",
      ({ kernel }) => {
        kernel.vm.pageArrays.take(4);
        return "of the page arrays leaked";
      },
    ],
    [
      "an array of frames given back twice",
      ({ kernel, small }) => {
        kernel.vm.pageArrays.giveBack(kernel.vm.vms.pages[vmAt(kernel, small)], 3);
        return "of the page arrays belongs to";
      },
    ],
    [
      "page pointers where nothing is",
      ({ kernel, large }) => {
        kernel.vm.vms.pagesAddr[vmAt(kernel, large)] += 2 ** 40;
        return "where no vmalloc'ed area is";
      },
    ],
  ]);
});

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

describe("verify finds what is wrong with vmap blocks", () => {
  caught([
    [
      "a page mapped but not in use",
      (state) => {
        const { kernel, inBlock } = state;
        kernel.vm.blocks.markUsed(blockAt(state), 4, 1, false);
        return `page 4 at ${shown(inBlock)} is mapped, but not in use`;
      },
    ],
    [
      "a page in use but not mapped",
      ({ kernel, inBlock }) => {
        writeEntry(kernel, inBlock + PAGE, 1, 0, 0);
        return `page 5 at ${shown(inBlock + PAGE)} is in use, but not mapped`;
      },
    ],
    [
      "a wrong count of free pages",
      (state) => {
        state.kernel.vm.blocks.free[blockAt(state)] += 8;
        return "page 4 is in use, but only 4 were handed out";
      },
    ],
    [
      "a wrong count of dirty pages",
      (state) => {
        state.kernel.vm.blocks.dirty[blockAt(state)] += 4;
        return "5 pages in use and 8 dirty, but 12 were handed out";
      },
    ],
    [
      "a wrong count of pages in use",
      (state) => {
        state.kernel.vm.blocks.usedPages[blockAt(state)]--;
        return "usedPages is 4, but its bitmap has 5 pages in use";
      },
    ],
    [
      "a wrong dirty range",
      (state) => {
        state.kernel.vm.blocks.dirtyMax[blockAt(state)] = 64;
        return "dirty range 0 to 64, but 12 pages were handed out";
      },
    ],
    [
      "a block with room that is on no queue",
      (state) => {
        state.kernel.vm.blocks.dequeue(blockAt(state));
        return "bytes free, but is on no queue";
      },
    ],
    [
      "a block on another CPU's queue",
      (state) => {
        const { blocks } = state.kernel.vm;
        blocks.cpu[blockAt(state)] = 3;
        return "of CPU 3 is on the queue of CPU 1";
      },
    ],
    [
      "a block that is not filed",
      (state) => {
        const { blocks, areas } = state.kernel.vm;
        const block = blockAt(state);
        const start = areas.startOf(blocks.area[block]);
        for (const index of blocks.index) index.delete(start);
        return `busy area ${shown(start)}-${shown(start + state.kernel.vm.blockBytes)} has VMAP_BLOCK, but no vmap block`;
      },
    ],
    [
      "a block filed under another CPU",
      (state) => {
        const { blocks, areas } = state.kernel.vm;
        const block = blockAt(state);
        const start = areas.startOf(blocks.area[block]);
        const hash = blocks.index.findIndex((index) => index.has(start));
        blocks.index[hash].delete(start);
        blocks.index[(hash + 1) % 4].set(start, block);
        return `the vmap block at ${shown(start)} is filed under CPU ${(hash + 1) % 4}, not ${hash}`;
      },
    ],
    [
      "a block that nobody has",
      (state) => {
        state.kernel.vm.blocks.make(busyArea(state.kernel, state.inBlock), 0);
        return "2 vmap blocks are in use, but 1 are filed";
      },
    ],
  ]);
});

describe("verify finds what is wrong with frames", () => {
  /** A frame of the area at an address. */
  const frameOf = ({ kernel }: VariedKernel, address: number): number => {
    const { vms, pageArrays } = kernel.vm;
    return pageArrays.frames[vms.pages[vmAt(kernel, address)]];
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
        pageArrays.frames[vms.pages[vmAt(state.kernel, state.other)] + 1] = frame;
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
        const table = state.kernel.tables.tableAt(state.small, 1);
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
        const table = kernel.tables.tableAt(state.small, 1);
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
        const array = vms.pages[vmAt(state.kernel, state.huge)];
        [pageArrays.frames[array + 5], pageArrays.frames[array + 6]] = [
          pageArrays.frames[array + 6],
          pageArrays.frames[array + 5],
        ];
        return `page 5 of the area at ${shown(state.huge)} breaks its block of 512 frames`;
      },
    ],
  ]);
});

describe("verify finds TLB entries that nobody will flush", () => {
  /** A CPU that ignores every request to flush. */
  const deaf = ({ kernel }: VariedKernel, cpu: number): void => {
    Object.assign(kernel.machine.cpus[cpu], { flushTlbAll: () => {}, invlpg: () => {} });
  };

  it("but accepts stale entries in a lazily freed area and in the dirty range of a block", () => {
    const { kernel, small, inBlock } = variedKernel();
    const cpu = kernel.machine.cpus[2];
    cpu.load(small, 4);
    cpu.load(inBlock + PAGE, 4);
    expect(kernel.verify()).toEqual([]);
    kernel.vfree(small);
    kernel.vmUnmapRam(inBlock, 5);
    expect(() => cpu.load(small, 4)).not.toThrow();
    expect(() => cpu.load(inBlock + PAGE, 4)).not.toThrow();
    expect(kernel.verify()).toEqual([]);
    kernel.vmUnmapAliases();
    expect(() => cpu.load(small, 4)).toThrow();
    expect(() => cpu.load(inBlock + PAGE, 4)).toThrow();
    expect(kernel.verify()).toEqual([]);
  });

  it.each([1, 2, 33, 34, 64])("and finds none after vm_unmap_aliases of %i pages of a block alone", (pages) => {
    const kernel = bootKernel({ cpus: 2, memoryBytes: 32 * 2 ** 20 });
    const frames = kernel.allocFrames(64);
    const kept = kernel.vmMapRam(frames.slice(0, 1));
    const address = kernel.vmMapRam(frames.slice(0, pages));
    const touch = (page: number): number => kernel.machine.cpus[1].load(address + page * PAGE, 4);
    for (let page = 0; page < pages; page++) touch(page);
    kernel.vmUnmapRam(address, pages);
    expect(() => touch(pages - 1)).not.toThrow();
    kernel.vmUnmapAliases();
    expect(kernel.verify()).toEqual([]);
    for (let page = 0; page < pages; page++) expect(() => touch(page)).toThrow();
    kernel.vmUnmapRam(kept, 1);
  });

  caught([
    [
      "of a CPU that missed the flush of a purge",
      (state) => {
        const { kernel, small } = state;
        kernel.machine.cpus[2].load(small + PAGE, 4);
        deaf(state, 2);
        kernel.vfree(small);
        kernel.vmUnmapAliases();
        return `translates ${shown(small + PAGE)} to frame`;
      },
    ],
    [
      "of a CPU that missed the flush of a block's dirty range",
      (state) => {
        const { kernel, inBlock } = state;
        kernel.machine.cpus[3].load(inBlock, 4);
        deaf(state, 3);
        kernel.vmUnmapRam(inBlock, 5);
        kernel.vmUnmapAliases();
        return `translates ${shown(inBlock)} to frame`;
      },
    ],
    [
      "of an entry that was changed without a flush",
      ({ kernel, other, small }) => {
        kernel.machine.cpus[0].load(other, 4);
        const [low, high] = readEntry(kernel, small, 1);
        writeEntry(kernel, other, 1, low, high);
        return `the tables map frame 0x${entryFrame(low, high).toString(16)} there, and no flush is owed`;
      },
    ],
    [
      "of a page that has become read-only",
      ({ kernel, other }) => {
        kernel.machine.cpus[0].load(other, 4);
        const [low, high] = readEntry(kernel, other, 1);
        writeEntry(kernel, other, 1, low & ~PTE_RW, high);
        return "the tables forbid writing there";
      },
    ],
    [
      "of a large page that was split",
      ({ kernel, huge }) => {
        kernel.machine.cpus[1].load(huge + 5 * PAGE, 4);
        writeEntry(kernel, huge, 2, 0, 0);
        writeEntry(kernel, huge + 5 * PAGE, 1, entryLow(300, PTE_PRESENT), 0);
        return `translates ${shown(huge)} to frame`;
      },
    ],
  ]);
});
