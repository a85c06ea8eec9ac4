/**
 * Reading kernel virtual memory safely (`vread_iter`, behind `/proc/kcore`): what is not mapped reads as zeros, device
 * memory is not touched.
 */

import { LINEAR_SPACE_BYTES, PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { CHUNK_FRAME_MASK, type PhysicalMemory } from "../../arch/memory/physical-memory.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import type { PageTables } from "../page-tables/page-tables.ts";
import { VM_IOREMAP, VM_SPARSE, VM_UNINITIALIZED } from "./areas/vm-structs.ts";
import { VMAP_BLOCK, VMAP_FLAGS_MASK, VMAP_RAM } from "./areas/vmap-areas.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/**
 * Takes the next `lengthBytes` bytes of a read: those at byte `offset` of `frame`, or, when `frame` is 0, zeros.
 * @returns how many it took; fewer end the read
 */
export type VreadCopy = (frame: number, offset: number, lengthBytes: number) => number;

/**
 * Reads `sizeBytes` bytes at `address` into `copy`, in address order. Holes, guard pages, pages that are not mapped, `ioremap`
 * and sparse areas and areas that are not initialized read as zeros. A `vm_map_ram` area is recognized by its flags; of a
 * vmap block only the pages that its bitmap says are in use are read.
 *
 * With `config.upstreamQuirks` a read of a vmap block gives the bytes that Linux 6.3 and later give, which start at the
 * first page of a run of used pages and not at the address (measured with 6.12.117).
 * @returns the bytes that `copy` took: `sizeBytes`, also where nothing is there, unless `copy` refused some or the read
 *   goes beyond the address space
 */
export function* vreadIter(state: Vmalloc, address: number, sizeBytes: number, copy: VreadCopy): KernelCode<number> {
  const { areas, vms } = state;
  const read = new Read(state.tables, address, Math.min(sizeBytes, LINEAR_SPACE_BYTES - address), copy);
  let from = address;
  while (!read.isOver) {
    const area = yield* findVmapAreaExceedAddrLock(state, from);
    if (area === 0) break;
    const lock = state.addrToNode(areas.startOf(area)).busyLock;
    from = areas.endOf(area);
    const vm = areas.vmOf(area);
    const kind = areas.flagsOf(area) & VMAP_FLAGS_MASK & state.version.areaFlagsMask;
    if (kind === VMAP_BLOCK) state.log.warn("vread_iter: VMAP_BLOCK without VMAP_RAM");
    const isReady = vm !== 0 ? (vms.flags[2 * vm] & VM_UNINITIALIZED) === 0 : kind !== 0;
    if (isReady) {
      read.zeroIter(areas.startOf(area));
      const end = vm !== 0 ? areas.startOf(area) + vms.usableSizeBytes(vm) : areas.endOf(area);
      if (read.address < end && !read.isOver) {
        if ((kind & VMAP_RAM) !== 0 && (kind & VMAP_BLOCK) !== 0) yield* vmapRamVreadIter(state, read, end);
        else if (vm !== 0 && (vms.flags[2 * vm] & (VM_IOREMAP | VM_SPARSE)) !== 0) read.zeroIter(end);
        else read.mappedUpTo(end);
      }
    }
    lock.release();
  }
  read.zeroIter(Number.POSITIVE_INFINITY);
  return read.doneBytes;
}

/** Reads as `vreadIter` does, into a buffer, whose length is the number of bytes to read. */
export function vread(state: Vmalloc, address: number, out: Uint8Array): KernelCode<number> {
  let at = 0;
  return vreadIter(state, address, out.length, (frame, offset, lengthBytes) => {
    if (frame === 0) out.fill(0, at, at + lengthBytes);
    else out.set(bytesOf(state.machine.memory, frame, offset, lengthBytes), at);
    at += lengthBytes;
    return lengthBytes;
  });
}

/**
 * The lowest busy area that ends above `address`, over all nodes, or 0; its node's lock is held then
 * (`find_vmap_area_exceed_addr_lock`).
 */
function* findVmapAreaExceedAddrLock(state: Vmalloc, address: number): KernelCode<number> {
  const { areas, nodes } = state;
  while (true) {
    let lowest = Number.POSITIVE_INFINITY;
    for (const node of nodes) {
      if (!node.busyLock.tryTake()) yield* node.busyLock.take();
      const area = node.busy.__findVmapAreaExceedAddr(address);
      if (area !== 0) lowest = Math.min(lowest, areas.startOf(area));
      node.busyLock.release();
    }
    if (lowest === Number.POSITIVE_INFINITY) return 0;
    const node = state.addrToNode(lowest);
    if (!node.busyLock.tryTake()) yield* node.busyLock.take();
    const area = node.busy.__findVmapArea(lowest);
    if (area !== 0) return area;
    // It went away between the two holds of the lock: look again.
    node.busyLock.release();
  }
}

/** Reads a vmap block up to `end`, the end of its area. */
function* vmapRamVreadIter(state: Vmalloc, read: Read, end: number): KernelCode<void> {
  const { blocks, config, areas } = state;
  const start = Math.floor(read.address / state.blockBytes) * state.blockBytes;
  const block = blocks.index[state.addrToVbXa(start)].get(start);
  if (block === undefined || areas.startOf(blocks.area[block]) !== start) {
    read.zeroIter(end);
    return;
  }
  const lock = blocks.locks[block];
  if (!lock.tryTake()) yield* lock.take();
  blocks.assertBlockHeld(block);
  if (config.upstreamQuirks) readRunsAsUpstream(state, read, block, start, end);
  else readUsedPages(state, read, block, start, end);
  lock.release();
  read.zeroIter(end);
}

function readUsedPages(state: Vmalloc, read: Read, block: number, start: number, end: number): void {
  while (read.address < end && !read.isOver) {
    const page = Math.floor((read.address - start) / PAGE_SIZE);
    const pageEnd = start + (page + 1) * PAGE_SIZE;
    if (state.blocks.isUsed(block, page)) read.mappedUpTo(pageEnd);
    else read.zeroIter(pageEnd);
  }
}

/**
 * What the kernel does instead: for each run of used pages, from the block's first one on, it reads from the beginning of
 * the run (only the offset within the page is the address's own), and one page more than the run is long. Its bitmap has the
 * rounded sizes of requests, so that a run may go on where nothing is mapped.
 */
function readRunsAsUpstream(state: Vmalloc, read: Read, block: number, start: number, end: number): void {
  const { blocks, config } = state;
  let page = 0;
  while (page < config.blockPages && read.address < end && !read.isOver) {
    if (!blocks.isUsedRounded(block, page)) {
      page++;
      continue;
    }
    const first = page;
    while (page < config.blockPages && blocks.isUsedRounded(block, page)) page++;
    const runStart = start + first * PAGE_SIZE;
    read.zeroIter(Math.min(runStart, end));
    const offset = read.address % PAGE_SIZE;
    const lengthBytes = (page - first + 1) * PAGE_SIZE - offset;
    read.alignedVreadIter(runStart + offset, Math.min(lengthBytes, end - read.address));
  }
}

/** A read under way. */
class Read {
  /** Where it has come to. */
  address: number;
  doneBytes = 0;
  private leftBytes: number;
  private readonly tables: PageTables;
  private readonly copy: VreadCopy;

  constructor(tables: PageTables, address: number, sizeBytes: number, copy: VreadCopy) {
    this.tables = tables;
    this.address = address;
    this.leftBytes = Math.max(0, sizeBytes);
    this.copy = copy;
  }

  /** Whether all has been read, or the receiver took less than it was given. */
  get isOver(): boolean {
    return this.leftBytes === 0;
  }

  /** Zeros up to `end`, or as far as the read goes. */
  zeroIter(end: number): void {
    if (end > this.address) this.give(0, 0, end - this.address);
  }

  /** What is mapped up to `end`. */
  mappedUpTo(end: number): void {
    if (end > this.address) this.alignedVreadIter(this.address, end - this.address);
  }

  /** `lengthBytes` bytes of what is mapped at `source` and behind it, whatever the read's own address. */
  alignedVreadIter(source: number, lengthBytes: number): void {
    let at = source;
    const end = source + lengthBytes;
    while (at < end && !this.isOver) {
      const offset = at % PAGE_SIZE;
      const step = Math.min(PAGE_SIZE - offset, end - at);
      this.give(frameAt(this.tables, at), offset, step);
      at += step;
    }
  }

  private give(frame: number, offset: number, lengthBytes: number): void {
    const wanted = Math.min(lengthBytes, this.leftBytes);
    if (wanted === 0) return;
    const took = this.copy(frame, offset, wanted);
    this.address += took;
    this.doneBytes += took;
    this.leftBytes = took < wanted ? 0 : this.leftBytes - took;
  }
}

/** The frame of memory that a kernel address maps to; 0 when there is none (`vmalloc_to_page`). */
function frameAt({ cursor, memory }: PageTables, la: number): number {
  const frame = cursor.frameAt(la);
  return frame > 0 && memory.has(frame) ? frame : 0;
}

/** A view of bytes of a frame that does not bring untouched memory into being. */
function bytesOf(memory: PhysicalMemory, frame: number, offset: number, lengthBytes: number): Uint8Array {
  const words = memory.chunkForRead(frame);
  const first = words.byteOffset + (frame & CHUNK_FRAME_MASK) * PAGE_SIZE + offset;
  return new Uint8Array(words.buffer, first, lengthBytes);
}
