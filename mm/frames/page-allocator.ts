/**
 * Frames: a buddy allocator per NUMA node (`mm/page_alloc.c`) with per-CPU lists of single frames in front. Memory that
 * was never handed out costs no bookkeeping: each zone keeps a mark above which everything is free.
 */
import { HIGH_MEMORY_START, type PhysicalMemory } from "../../arch/memory/physical-memory.ts";
import type { FaultInjection } from "../kernel/fault-injection.ts";
import {
  __GFP_DIRECT_RECLAIM,
  __GFP_KSWAPD_RECLAIM,
  __GFP_NOFAIL,
  __GFP_THISNODE,
  __GFP_ZERO,
  GFP_DMA32_ZONE,
  NUMA_NO_NODE,
} from "../lib/gfp.ts";
import {
  copyFrames,
  type FrameList,
  fillForTables,
  LIST_CAPACITY,
  markFrames,
  PCP_BATCH,
  PCP_HIGH,
  pushRun,
  takenOff,
} from "./frame-list.ts";
import { PageReferences } from "./page-references.ts";
import { getPageFromFreelist, MAX_PAGE_ORDER, makeZones, type Zone } from "./zone.ts";

/** What a frame is used for. */
export const FRAME_FREE = 0;
/** Kept for firmware, or memory that does not exist. */
export const FRAME_RESERVED = 1;
export const FRAME_PAGE_TABLE = 2;
/**
 * Belongs to a vmalloc area. Frames on the per-CPU lists carry this mark too, as most of them come from such areas and go to
 * such areas: moving them is then a copy of their numbers (`useOf` tells the two apart).
 */
export const FRAME_VMALLOC = 3;
/** Belongs to a caller: `vmap` and `vm_map_ram` pages, workloads. */
export const FRAME_CALLER = 4;
/** Belongs to a user address space. */
export const FRAME_USER = 5;

/** All frames of a machine. Frame 0 is never handed out and stands for "none". */
export class PageAllocator {
  readonly zones: readonly Zone[] = [];
  /** Frames that can be allocated at all (`totalram_pages`). */
  readonly totalPages: number;
  /** Allocations and frees of frames so far, counted in 4 KiB pages. */
  allocatedPages = 0;
  freedPages = 0;
  /** Whether all frames of the last `allocBulk` came from the lists of one zone. */
  lastBulkIsOfOneZone = false;
  /** Called when no block of the size that is asked for is free, and the caller lets `kswapd` be woken; `KernelMm` sets it. */
  wakeupKswapd: (() => void) | null = null;
  /** Of the frames that the last allocation took from a CPU's list, those that were in no cache. */
  coldPages = 0;
  /** Is told of each run of pages that moves between a CPU's list and its zone, by the zone's number. */
  onZone: ((zone: number, pages: number) => void) | null = null;
  /** Frames with several holders: giving such a one back lets one of them go. */
  readonly references = new PageReferences();

  /** Free frames on lists of their own: by CPU and zone; and by zone those that stand together, kept for page tables. */
  readonly perCpu: FrameList[][];
  readonly tableLists: FrameList[];
  private readonly memory: PhysicalMemory;
  private readonly faults: FaultInjection;
  /** NUMA nodes with memory. */
  readonly numaNodes: number;

  constructor(memory: PhysicalMemory, cpus: number, numaNodes: number, faults: FaultInjection) {
    this.memory = memory;
    this.faults = faults;
    this.numaNodes = numaNodes;
    this.zones = makeZones(memory, numaNodes);
    this.totalPages = this.zones.reduce((sum, zone) => sum + zone.managedPages, 0);
    this.perCpu = Array.from({ length: cpus }, () =>
      this.zones.map(() => ({ frames: new Uint32Array(LIST_CAPACITY), count: 0, cold: 0 })),
    );
    this.tableLists = this.zones.map(() => ({ frames: new Uint32Array(2 << MAX_PAGE_ORDER), count: 0, cold: 0 }));
  }

  /** Pages not allocated, those on per-CPU lists included. */
  get freePages(): number {
    return this.totalPages - (this.allocatedPages - this.freedPages);
  }

  /**
   * One block of 2^order frames for `use`, aligned to its size.
   * @param order 0 to 10
   * @param node the NUMA node to prefer, or {@link NUMA_NO_NODE} for that of `cpu`
   * @returns the first frame, or 0 when there is none
   */
  allocPages(cpu: number, order: number, use: number, gfp: number, node: number = NUMA_NO_NODE): number {
    if ((gfp & __GFP_NOFAIL) === 0 && this.faults.fails("frame")) return 0;
    this.coldPages = 0;
    let frame = use === FRAME_PAGE_TABLE && order === 0 ? this.takeForTable(cpu, node) : 0;
    if (frame === 0 && order === 0 && (gfp & GFP_DMA32_ZONE) === 0) frame = this.rmqueuePcplist(cpu, node, gfp);
    const first = frame !== 0 ? frame : this.takeBlock(order, node === NUMA_NO_NODE ? this.nodeOfCpu(cpu) : node, gfp);
    if (first === 0) return 0;
    const zone = this.zoneOf(first);
    for (let i = 0; i < 1 << order; i++) zone.use[first - zone.startFrame + i] = use;
    if ((gfp & __GFP_ZERO) !== 0) for (let i = 0; i < 1 << order; i++) this.memory.zeroFrame(first + i);
    this.allocatedPages += 1 << order;
    return first;
  }

  /**
   * Up to `count` single frames into `out` from `offset` on (`alloc_pages_bulk_array_node`).
   * @returns how many there were
   */
  allocBulk(
    cpu: number,
    count: number,
    use: number,
    gfp: number,
    node: number,
    out: Uint32Array,
    offset: number,
  ): number {
    let done = 0;
    this.lastBulkIsOfOneZone = false;
    this.coldPages = 0;
    if (!this.faults.isArmed && (gfp & GFP_DMA32_ZONE) === 0) {
      const preferred = node === NUMA_NO_NODE ? this.nodeOfCpu(cpu) : node;
      for (let i = this.zones.length - 1; i >= 0 && done < count; i--) {
        if (this.zones[i].node !== preferred) continue;
        const got = this.takeRun(cpu, i, count - done, use, out, offset + done);
        if (got === count) this.lastBulkIsOfOneZone = true;
        done += got;
      }
      this.allocatedPages += done;
      if ((gfp & __GFP_ZERO) !== 0) this.memory.zeroFrames(out, offset, done);
    }
    for (; done < count; done++) {
      const frame = this.allocPages(cpu, 0, use, gfp, node);
      if (frame === 0) break;
      out[offset + done] = frame;
    }
    return done;
  }

  /** Gives back a block that `allocPages` returned. */
  freePagesOf(cpu: number, first: number, order: number): void {
    const index = this.zoneIndexOf(first);
    const zone = this.zones[index];
    const isTable = order === 0 && zone.use[first - zone.startFrame] === FRAME_PAGE_TABLE;
    this.freedPages += 1 << order;
    for (let i = 0; i < 1 << order; i++) zone.use[first - zone.startFrame + i] = FRAME_FREE;
    if (order > 0) zone.__freeOnePage(first, order);
    else if (isTable) this.putForTable(index, first);
    else this.freeUnrefPage(cpu, index, first);
  }

  /** Gives back `count` single frames. */
  freeBulk(cpu: number, frames: Uint32Array, offset: number, count: number): void {
    if (!this.references.isEmpty) {
      for (let i = offset; i < offset + count; i++) {
        if (!this.references.put(frames[i])) this.freePagesOf(cpu, frames[i], 0);
      }
      return;
    }
    for (let done = 0; done < count; ) done += this.putRun(cpu, frames, offset + done, count - done);
    this.freedPages += count;
  }

  /**
   * Gives back `count` frames of a vmalloc area one by one: blocks of higher order were split when they were allocated
   * (`split_page`).
   * @param isOfOneZone whether all are known to be of one zone
   */
  freeAreaFrames(cpu: number, frames: Uint32Array, offset: number, count: number, isOfOneZone: boolean): void {
    if (!isOfOneZone || !this.references.isEmpty) {
      // What a user address space still maps is the user's alone from now on.
      for (let i = offset; i < offset + count; i++) {
        if (this.references.furtherOf(frames[i]) > 0) markFrames(this.zoneOf(frames[i]), frames, i, 1, FRAME_USER);
      }
      this.freeBulk(cpu, frames, offset, count);
      return;
    }
    const zoneIndex = this.zoneIndexOf(frames[offset]);
    const list = this.perCpu[cpu][zoneIndex];
    for (let done = 0; done < count; ) {
      const step = Math.min(count - done, LIST_CAPACITY - list.count);
      copyFrames(frames, offset + done, list.frames, list.count, step);
      list.count += step;
      done += step;
      while (list.count > PCP_HIGH) this.freePcppagesBulk(list, this.zones[zoneIndex]);
    }
    this.freedPages += count;
  }

  /** What a frame is used for: one of the `FRAME_` values. */
  useOf(frame: number): number {
    const mark = this.markOf(frame);
    return mark === FRAME_VMALLOC && this.isOnCpuList(frame) ? FRAME_FREE : mark;
  }

  /** The frame's mark: its use, or {@link FRAME_VMALLOC} on a per-CPU list. */
  markOf(frame: number): number {
    const index = this.zoneIndexOf(frame);
    if (index < 0) return FRAME_RESERVED;
    const zone = this.zones[index];
    return frame < zone.touchedEnd ? zone.use[frame - zone.startFrame] : FRAME_FREE;
  }

  /** The NUMA node that holds a frame. */
  nodeOfFrame(frame: number): number {
    return this.zones[Math.max(0, this.zoneIndexOf(frame))].node;
  }

  /** The free frames on a CPU's list of the zone number `zone`: a view, for checks. */
  perCpuFrames(cpu: number, zone: number): Uint32Array {
    const list = this.perCpu[cpu][zone];
    return list.frames.subarray(0, list.count);
  }

  /** The free frames of the zone number `zone` that are kept for page tables: a view, for checks. */
  tableFrames(zone: number): Uint32Array {
    const list = this.tableLists[zone];
    return list.frames.subarray(0, list.count);
  }

  /** CPUs that have lists of their own. */
  get cpus(): number {
    return this.perCpu.length;
  }

  /** Bytes of host memory held for bookkeeping. */
  get hostBytes(): number {
    return this.zones.reduce((sum, zone) => sum + zone.hostBytes, 0);
  }

  /** The NUMA node that `cpu` belongs to: CPUs are dealt out in turn. */
  nodeOfCpu(cpu: number): number {
    return cpu % this.numaNodes;
  }

  private zoneOf(frame: number): Zone {
    return this.zones[this.zoneIndexOf(frame)];
  }

  private zoneIndexOf(frame: number): number {
    const { zones } = this;
    for (let i = 0; i < zones.length; i++) {
      if (frame >= zones[i].startFrame && frame < zones[i].endFrame) return i;
    }
    return -1;
  }

  private isOnCpuList(frame: number): boolean {
    const zone = this.zoneIndexOf(frame);
    for (let cpu = 0; cpu < this.cpus; cpu++) if (this.perCpuFrames(cpu, zone).includes(frame)) return true;
    return false;
  }

  /** Up to `count` frames of one zone through the CPU's list. */
  private takeRun(
    cpu: number,
    zoneIndex: number,
    count: number,
    use: number,
    out: Uint32Array,
    offset: number,
  ): number {
    const zone = this.zones[zoneIndex];
    const list = this.perCpu[cpu][zoneIndex];
    let done = 0;
    while (done < count && (list.count > 0 || this.rmqueueBulk(list, zone))) {
      const step = Math.min(count - done, list.count);
      list.count -= step;
      this.coldPages += takenOff(list);
      copyFrames(list.frames, list.count, out, offset + done, step);
      if (use !== FRAME_VMALLOC) markFrames(zone, out, offset + done, step, use);
      done += step;
    }
    return done;
  }

  private rmqueuePcplist(cpu: number, node: number, gfp: number): number {
    const preferred = node === NUMA_NO_NODE ? this.nodeOfCpu(cpu) : node;
    const { zones } = this;
    // Zones are in address order; the kernel's zone lists put the highest zone of a node first.
    for (let i = zones.length - 1; i >= 0; i--) {
      if (zones[i].node !== preferred) continue;
      const list = this.perCpu[cpu][i];
      if (list.count === 0 && !this.rmqueueBulk(list, zones[i])) continue;
      list.count--;
      this.coldPages += takenOff(list);
      return list.frames[list.count];
    }
    return (gfp & __GFP_THISNODE) !== 0 ? 0 : this.takeBlock(0, preferred, gfp);
  }

  /**
   * A frame for a page table, from a block of such frames: they stay together, as in pageblocks of unmovable memory, and
   * the host commits few chunks of memory for them. 0 when no block is left: then any frame will do.
   */
  private takeForTable(cpu: number, node: number): number {
    const preferred = node === NUMA_NO_NODE ? this.nodeOfCpu(cpu) : node;
    const { zones } = this;
    for (let i = zones.length - 1; i >= 0; i--) {
      if (zones[i].node !== preferred) continue;
      const list = this.tableLists[i];
      if (list.count > 0 || fillForTables(list, zones[i])) return list.frames[--list.count];
    }
    return 0;
  }

  private putForTable(zoneIndex: number, frame: number): void {
    const list = this.tableLists[zoneIndex];
    if (list.count < list.frames.length) list.frames[list.count++] = frame;
    else this.zones[zoneIndex].__freeOnePage(frame, 0);
  }

  /**
   * Gives the frames kept for page tables back to their zones, and, where the caller may reclaim, those on the per-CPU lists
   * (`drain_all_pages`); false when there were none.
   */
  private drainAllPages(gfp: number): boolean {
    let drained = false;
    const all = (gfp & __GFP_DIRECT_RECLAIM) !== 0 ? [...this.perCpu, this.tableLists] : [this.tableLists];
    for (const lists of all) {
      lists.forEach((list, i) => {
        if (list.count > 0) drained = true;
        markFrames(this.zones[i], list.frames, 0, list.count, FRAME_FREE);
        while (list.count > 0) this.zones[i].__freeOnePage(list.frames[--list.count], 0);
        list.cold = 0;
      });
    }
    return drained;
  }

  private freeUnrefPage(cpu: number, zoneIndex: number, frame: number): void {
    const list = this.perCpu[cpu][zoneIndex];
    const zone = this.zones[zoneIndex];
    zone.use[frame - zone.startFrame] = FRAME_VMALLOC;
    list.frames[list.count++] = frame;
    if (list.count > PCP_HIGH) this.freePcppagesBulk(list, zone);
  }

  /** Puts frames that lie in the zone of the first of them on the CPU's list; returns how many that were. */
  private putRun(cpu: number, from: Uint32Array, offset: number, count: number): number {
    const zoneIndex = this.zoneIndexOf(from[offset]);
    const zone = this.zones[zoneIndex];
    const list = this.perCpu[cpu][zoneIndex];
    const done = pushRun(zone, list, from, offset, count, FRAME_VMALLOC);
    while (list.count > PCP_HIGH) this.freePcppagesBulk(list, zone);
    return done;
  }

  /** Gives a batch of the oldest frames of a list back to its zone. */
  private freePcppagesBulk(list: FrameList, zone: Zone): void {
    markFrames(zone, list.frames, 0, PCP_BATCH, FRAME_FREE);
    for (let i = 0; i < PCP_BATCH; i++) zone.__freeOnePage(list.frames[i], 0);
    list.frames.copyWithin(0, PCP_BATCH, list.count);
    list.count -= PCP_BATCH;
    list.cold = Math.max(0, list.cold - PCP_BATCH);
    this.onZone?.(this.zones.indexOf(zone), PCP_BATCH);
  }

  private rmqueueBulk(list: FrameList, zone: Zone): boolean {
    let taken = 0;
    while (taken < PCP_BATCH) {
      const frame = zone.__rmqueueSmallest(0);
      if (frame === 0) break;
      list.frames[taken++] = frame;
    }
    markFrames(zone, list.frames, 0, taken, FRAME_VMALLOC);
    list.count = taken;
    list.cold = taken;
    if (taken > 0) this.onZone?.(this.zones.indexOf(zone), taken);
    return taken > 0;
  }

  private takeBlock(order: number, preferred: number, gfp: number): number {
    const frame = getPageFromFreelist(this.zones, order, preferred, gfp);
    if (frame !== 0) return frame;
    if ((gfp & __GFP_KSWAPD_RECLAIM) !== 0) this.wakeupKswapd?.();
    if (order > 0) return this.drainAllPages(gfp) ? getPageFromFreelist(this.zones, order, preferred, gfp) : 0;
    const node = (gfp & __GFP_THISNODE) !== 0 ? preferred : NUMA_NO_NODE;
    return this.stealSingle((gfp & GFP_DMA32_ZONE) !== 0, node);
  }

  /** The last frames of a machine may sit on lists: the kernel drains those before it gives up. */
  private stealSingle(low: boolean, node: number): number {
    for (const lists of [...this.perCpu, this.tableLists]) {
      for (let i = 0; i < lists.length; i++) {
        if (low && this.zones[i].startFrame >= HIGH_MEMORY_START / 4096) continue;
        if (node !== NUMA_NO_NODE && this.zones[i].node !== node) continue;
        if (lists[i].count > 0) return lists[i].frames[--lists[i].count];
      }
    }
    return 0;
  }
}
