/** Bringing vmalloc into a recorded state: trees of exactly the recorded shape, lists in the recorded order. */

import { LEVEL_BYTES, PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import {
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_GLOBAL,
  PTE_PAGE_SIZE,
  PTE_PAT,
  PTE_PAT_LARGE,
  PTE_PCD,
  PTE_PRESENT,
  PTE_PWT,
  PTE_RW,
  PTE_USER,
  PTE_XD_HIGH,
} from "../../arch/isa/pte.ts";
import { FRAME_CALLER, FRAME_VMALLOC } from "../frames/frame-uses.ts";
import { alignUp } from "../lib/align.ts";
import { GFP_KERNEL, NUMA_NO_NODE } from "../lib/gfp.ts";
import { NotEnoughMemory } from "../lib/not-enough-memory.ts";
import { cacheModeOf, PAGE_KERNEL } from "../page-tables/protection.ts";
import type { PageTableRun } from "../views/page-table-run.ts";
import { VM_ALLOC, VM_IOREMAP, VM_MAP } from "../vmalloc/areas/vm-structs.ts";
import { VMAP_BLOCK, VMAP_RAM } from "../vmalloc/areas/vmap-areas.ts";
import type { Vmalloc } from "../vmalloc/vmalloc-state.ts";
import { checkSnapshot, LEVEL_NUMBERS, RestoreError } from "./check-snapshot.ts";
import type { RestoredArea, VmallocSnapshot } from "./vmalloc-snapshot.ts";

/** Bytes of a pointer in an array of page pointers. */
const POINTER_BYTES = 8;

/**
 * Replaces the state of a freshly booted vmalloc.
 * @param details one entry a busy area that has a vm_struct
 * @param runs the page tables of the vmalloc range; areas that they do not cover are mapped as `vmalloc` would
 * @throws RestoreError when the records contradict each other, NotEnoughMemory when memory runs out
 */
export function restoreVmalloc(
  state: Vmalloc,
  snapshot: VmallocSnapshot,
  details: readonly RestoredArea[],
  runs: readonly PageTableRun[],
): void {
  checkSnapshot(state, snapshot, details, runs);
  restoreFreeTree(state, snapshot);
  restoreBusy(state, snapshot, details);
  restoreArrayAreas(state, snapshot, details);
  const { areas } = state;
  for (const record of snapshot.lazy) {
    const area = areas.make(record.start, record.end);
    areas.setFlags(area, record.vaFlags);
    if (!state.nodes[record.node].lazy.insertIntoTree(area)) throw overlap("lazily freed", record.start);
  }
  for (const record of snapshot.pool) {
    const area = areas.make(record.start, record.end);
    areas.setFlags(area, record.vaFlags);
    const node = state.nodes[record.node];
    areas.listAddBefore(area, node.poolHead(record.index));
    node.addToPoolLength(record.index, 1);
  }
  state.lazyNr = snapshot.lazyNr;
  for (const run of runs) restoreRun(state, run);
  mapUncovered(state, snapshot, runs);
  restoreMemoryTypes(state, snapshot, runs);
  restoreBlocks(state, snapshot);
}

function overlap(kind: string, start: number): RestoreError {
  return new RestoreError(`the ${kind} area at 0x${start.toString(16)} overlaps another of its node`);
}

function restoreFreeTree(state: Vmalloc, snapshot: VmallocSnapshot): void {
  const { areas, freeTree } = state;
  while (!areas.listIsEmpty(freeTree.head)) {
    const area = areas.nextOf(freeTree.head);
    areas.listRemove(area);
    areas.release(area);
  }
  freeTree.root = 0;
  const records = snapshot.free;
  let at = 0;
  const build = (above: number): number => {
    const record = records[at++];
    const node = areas.make(record.start, record.end);
    const left = record.hasLeft ? build(node) : 0;
    areas.listAddBefore(node, freeTree.head);
    const right = record.hasRight ? build(node) : 0;
    freeTree.adopt(node, above, left, right, record.black);
    return node;
  };
  if (records.length > 0) freeTree.root = build(0);
}

function restoreBusy(state: Vmalloc, snapshot: VmallocSnapshot, details: readonly RestoredArea[]): void {
  const { areas, vms } = state;
  const detailsOf = new Map(details.map((detail) => [detail.start, detail]));
  const blockStarts = new Set(snapshot.blocks.map(({ start }) => start));
  for (const record of snapshot.busy) {
    const area = areas.make(record.start, record.end);
    const isOfMapRam = state.version.areaFlagsMask === 0 && record.vm === null;
    const mapRamFlags = blockStarts.has(record.start) ? VMAP_RAM | VMAP_BLOCK : VMAP_RAM;
    areas.setFlags(area, isOfMapRam ? mapRamFlags : record.vaFlags);
    if (!state.nodes[record.node].busy.insertIntoTree(area)) throw overlap("busy", record.start);
    if (record.vm === null) continue;
    const detail = detailsOf.get(record.start);
    const vm = vms.make(record.vm.flags, record.vm.requestedSizeBytes, detail?.caller ?? "");
    vms.addr[vm] = record.start;
    vms.sizeBytes[vm] = record.end - record.start;
    vms.setPageOrder(vm, record.vm.pageOrder);
    vms.physAddr[vm] = detail?.physAddr ?? 0;
    areas.setVm(area, vm);
    const pages = detail?.pages ?? 0;
    if (pages > 0) takeFrames(state, vm, pages);
  }
}

/**
 * Finds the areas that are others' arrays of page pointers. What is recorded does not say whose: an array has its owner's caller
 * and 8 bytes for each page. Among several such it is the first behind the owner, as first fit mostly places it; owners high up
 * choose first, as what lies below all of them was put into a hole.
 */
function restoreArrayAreas(state: Vmalloc, snapshot: VmallocSnapshot, details: readonly RestoredArea[]): void {
  const { areas, vms } = state;
  const owners = new Set(details.filter((detail) => detail.hasArrayArea).map((detail) => detail.start));
  const vmOf = new Map(
    snapshot.busy.map(({ start, node }) => [start, areas.vmOf(state.nodes[node].busy.findStart(start))]),
  );
  const arrays = new Set([...vmOf.keys()].filter((start) => !owners.has(start)).sort((a, b) => a - b));
  for (const owner of [...owners].sort((a, b) => b - a)) {
    const vm = vmOf.get(owner) ?? 0;
    const bytes = vms.arrayLength(vm) * POINTER_BYTES;
    // Where the kernel does not keep what was asked for, the record has whole pages.
    const arrayBytes = state.version.hasRequestedSize ? bytes : alignUp(bytes, PAGE_SIZE);
    const fitting = [...arrays].filter((start) => {
      const other = vmOf.get(start) ?? 0;
      return (
        (vms.flags[2 * other] & VM_ALLOC) !== 0 &&
        vms.requestedSizeBytes[other] === arrayBytes &&
        vms.callerOf(other) === vms.callerOf(vm)
      );
    });
    const array = fitting.find((start) => start > owner) ?? fitting[0];
    if (vm === 0 || array === undefined) continue;
    arrays.delete(array);
    vms.setPagesAddr(vm, array);
  }
}

/** Frames for a restored area, in blocks of its page order. */
function takeFrames(state: Vmalloc, vm: number, pages: number): void {
  const { vms, pageArrays } = state;
  const array = pageArrays.take(Math.max(pages, vms.arrayLength(vm)));
  const order = vms.pageOrderOf(vm);
  for (let i = 0; i < pages; i += 1 << order) {
    const first = state.pages.allocPages(0, order, FRAME_VMALLOC, GFP_KERNEL, NUMA_NO_NODE);
    if (first === 0) throw new NotEnoughMemory("memory is too small for the recorded state");
    for (let k = 0; k < 1 << order; k++) pageArrays.frames[array + i + k] = first + k;
  }
  vms.pages[2 * vm] = array;
  vms.nrPages[2 * vm] = pages;
  state.nrVmallocPages += pages;
}

/** Makes the tables in which a run's entries stand, and its leaves. */
function restoreRun(state: Vmalloc, run: PageTableRun): void {
  const { tables } = state;
  const level = run.level === "pgd" ? tables.levels : LEVEL_NUMBERS[run.level];
  const bytes = LEVEL_BYTES[level];
  const tableBytes = bytes * 512;
  for (let la = run.start; la < run.end; la = (Math.floor(la / tableBytes) + 1) * tableBytes) {
    if (level < tables.levels && !tables.cursor.make(la, level)) {
      throw new NotEnoughMemory("memory is too small for the recorded page tables");
    }
  }
  if (!run.present) return;
  const high = run.nx ? PTE_XD_HIGH : 0;
  const low = attributesOf(run);
  for (let la = run.start; la < run.end; la += bytes) {
    tables.cursor.seek(la, level);
    tables.cursor.writeLeaf(frameBehind(state, la), low, high);
  }
}

function attributesOf(run: PageTableRun): number {
  const large = run.level !== "pte";
  return (
    PTE_PRESENT |
    PTE_ACCESSED |
    PTE_DIRTY |
    (run.rw ? PTE_RW : 0) |
    (run.user ? PTE_USER : 0) |
    (run.pwt ? PTE_PWT : 0) |
    (run.pcd ? PTE_PCD : 0) |
    (run.pse ? PTE_PAGE_SIZE : 0) |
    (run.pat ? (large ? PTE_PAT_LARGE : PTE_PAT) : 0) |
    (run.global ? PTE_GLOBAL : 0)
  );
}

/** The frame that a restored leaf at `la` maps: the area's own, or what it says it maps. */
function frameBehind(state: Vmalloc, la: number): number {
  const { areas, vms, pageArrays } = state;
  for (const node of state.nodes) {
    const area = node.busy.__findVmapArea(la);
    if (area === 0) continue;
    const vm = areas.vmOf(area);
    const page = (la - areas.startOf(area)) / PAGE_SIZE;
    if (vm !== 0 && vms.physAddr[vm] !== 0) return vms.physAddr[vm] / PAGE_SIZE + page;
    if (vm !== 0 && page < vms.nrPages[2 * vm]) return pageArrays.frames[vms.pages[2 * vm] + page];
    break;
  }
  // Mapped by vmap or vm_map_ram: the frame is not the area's.
  const frame = state.pages.allocPages(0, 0, FRAME_CALLER, GFP_KERNEL, NUMA_NO_NODE);
  if (frame === 0) throw new NotEnoughMemory("memory is too small for the recorded page tables");
  return frame;
}

/** Maps areas with pages outside the range that the dump covers (modules). */
function mapUncovered(state: Vmalloc, snapshot: VmallocSnapshot, runs: readonly PageTableRun[]): void {
  const { areas, vms, tables, pageArrays } = state;
  const covered = (la: number): boolean => runs.some((run) => la >= run.start && la < run.end);
  for (const record of snapshot.busy) {
    if (record.vm === null || covered(record.start)) continue;
    const vm = areas.vmOf(state.nodes[record.node].busy.findStart(record.start));
    const pages = vms.nrPages[2 * vm];
    if (pages === 0 || (record.vm.flags & VM_MAP) !== 0) continue;
    const { low, high } = PAGE_KERNEL;
    tables.vmapSmallPagesRangeNoflush(
      record.start,
      record.start + pages * PAGE_SIZE,
      low,
      high,
      pageArrays.frames,
      vms.pages[2 * vm],
    );
  }
}

/** What is mapped of devices was reserved as it is cached. */
function restoreMemoryTypes(state: Vmalloc, snapshot: VmallocSnapshot, runs: readonly PageTableRun[]): void {
  const { areas, vms } = state;
  for (const { start, node, vm: recorded } of snapshot.busy) {
    if (recorded === null || (recorded.flags & VM_IOREMAP) === 0) continue;
    const vm = areas.vmOf(state.nodes[node].busy.findStart(start));
    const run = runs.find((each) => each.present && start >= each.start && start < each.end);
    if (vms.physAddr[vm] === 0 || run === undefined) continue;
    const end = vms.physAddr[vm] + vms.usableSizeBytes(vm);
    state.mm.memoryTypes.add(vms.physAddr[vm], end, cacheModeOf(run.pwt, run.pcd, run.pat));
  }
}

function restoreBlocks(state: Vmalloc, snapshot: VmallocSnapshot): void {
  const { blocks, areas, tables, config } = state;
  for (const record of snapshot.blocks) {
    const area = state.addrToNode(record.start).busy.findStart(record.start);
    if (area === 0) throw new RestoreError(`the vmap block at 0x${record.start.toString(16)} has no busy area`);
    const block = blocks.make(area, record.cpu);
    blocks.free[block] = record.free;
    blocks.dirty[block] = record.dirty;
    blocks.dirtyMin[block] = record.dirtyMin;
    blocks.dirtyMax[block] = record.dirtyMax;
    blocks.index[record.hash].set(record.start, block);
    for (let page = 0; page < config.blockPages; page++) {
      const la = areas.startOf(area) + page * PAGE_SIZE;
      if (tables.cursor.seek(la) === 1 && tables.cursor.isPresent) blocks.markUsed(block, page, 1, true);
    }
  }
  for (const record of snapshot.freeBlocks) {
    const block = blocks.index[state.addrToVbXa(record.start)].get(record.start);
    if (block !== undefined) blocks.enqueue(block);
  }
}
