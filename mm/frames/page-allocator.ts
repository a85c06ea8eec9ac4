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
  CpuFrameLists,
  drainList,
  type FrameList,
  freePcppagesBulk,
  LIST_CAPACITY,
  markFrames,
  PCP_BATCH,
  PCP_HIGH,
  pushRun,
  rmqueueBulk,
  stealSingle,
} from "./frame-list.ts";
import { FRAME_FREE, FRAME_PAGE_TABLE, FRAME_RESERVED, FRAME_USER, FRAME_VMALLOC } from "./frame-uses.ts";
import type { MemCgroup } from "./mem-cgroup.ts";
import type { PageLines } from "./page-lines.ts";
import { PageReferences } from "./page-references.ts";
import { TableFrames } from "./table-frames.ts";
import { getPageFromFreelist, makeZones, type Zone } from "./zone.ts";

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
  /** Is told before the lock of the zone of this number is taken for a CPU's list: others may come first. */
  beforeZone: ((zone: number) => void) | null = null;
  /** Is told of each run of blocks that was taken from a zone, or given back to it, under its lock, by the zone's number. */
  onZone: ((zone: number, blocks: number) => void) | null = null;
  /** Frames with several holders: giving such a one back lets one of them go. */
  readonly references = new PageReferences();

  /** Free frames on lists of their own, by CPU and zone. */
  readonly perCpu: readonly (readonly FrameList[])[];
  private readonly cpuLists: CpuFrameLists;
  private readonly tables: TableFrames;
  private readonly memory: PhysicalMemory;
  private readonly faults: FaultInjection;
  /** NUMA nodes with memory. */
  readonly numaNodes: number;
  /** Where the lines of pages are; null where that costs nothing. */
  lines: PageLines | null = null;
  /** To whom pages are charged; null without memory cgroups. */
  memcg: MemCgroup | null = null;

  constructor(memory: PhysicalMemory, cpus: number, numaNodes: number, faults: FaultInjection) {
    this.memory = memory;
    this.faults = faults;
    this.numaNodes = numaNodes;
    this.zones = makeZones(memory, numaNodes);
    this.totalPages = this.zones.reduce((sum, zone) => sum + zone.managedPages, 0);
    this.cpuLists = new CpuFrameLists(cpus, this.zones.length);
    this.perCpu = this.cpuLists.lists;
    this.tables = new TableFrames(this.zones, (zone) => this.onZone?.(zone, 1));
  }

  /** From now on pages cost by where their lines are. */
  keepLines(lines: PageLines): void {
    this.lines = lines;
    for (const zone of this.zones) zone.lines = lines;
  }

  /** Single frames of each zone that are kept for page tables. */
  get tableLists(): readonly FrameList[] {
    return this.tables.lists;
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
    let frame =
      use === FRAME_PAGE_TABLE && order === 0
        ? this.tables.take(node === NUMA_NO_NODE ? this.nodeOfCpu(cpu) : node)
        : 0;
    if (frame === 0 && order === 0 && (gfp & GFP_DMA32_ZONE) === 0) frame = this.rmqueuePcplist(cpu, node, gfp);
    const first = frame !== 0 ? frame : this.takeBlock(order, node === NUMA_NO_NODE ? this.nodeOfCpu(cpu) : node, gfp);
    if (first === 0) return 0;
    const zone = this.zoneOf(first);
    for (let i = 0; i < 1 << order; i++) zone.use[first - zone.startFrame + i] = use;
    // The first page is prepared; those of a vmalloc area all are, which is split (`split_page`).
    this.lines?.useBlock(zone, first, use === FRAME_VMALLOC ? 1 << order : 1);
    this.memcg?.chargeBlock(zone, first, order, use === FRAME_USER, gfp);
    if ((gfp & __GFP_ZERO) !== 0) {
      for (let i = 0; i < 1 << order; i++) {
        this.memory.zeroFrame(first + i);
        this.lines?.zero(zone, first + i);
      }
    }
    this.allocatedPages += 1 << order;
    return first;
  }

  /** A CPU is about to take `count` single frames of a node: where its lists have too few, others may come before the zone's lock. */
  aboutToTake(cpu: number, count: number, node: number): void {
    if (this.beforeZone === null) return;
    const preferred = node === NUMA_NO_NODE ? this.nodeOfCpu(cpu) : node;
    for (let i = this.zones.length - 1; i >= 0; i--) {
      if (this.zones[i].node === preferred && this.cpuLists.counts[this.cpuLists.place(cpu, i)] < count)
        this.beforeZone(i);
    }
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
    if (!this.faults.isArmed && (gfp & GFP_DMA32_ZONE) === 0) {
      const preferred = node === NUMA_NO_NODE ? this.nodeOfCpu(cpu) : node;
      for (let i = this.zones.length - 1; i >= 0 && done < count; i--) {
        if (this.zones[i].node !== preferred) continue;
        const got = this.takeRun(cpu, i, count - done, use, out, offset + done);
        if (got === count) this.lastBulkIsOfOneZone = true;
        this.memcg?.charge(this.zones[i], out, offset + done, got, use === FRAME_USER, gfp);
        done += got;
      }
      this.allocatedPages += done;
      if ((gfp & __GFP_ZERO) !== 0) this.zeroRun(out, offset, done);
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
    this.lines?.use(zone, first);
    this.memcg?.unchargeBlock(zone, first, order);
    if (order > 0) {
      zone.__freeOnePage(first, order);
      this.onZone?.(index, 1);
    } else if (isTable) this.tables.put(index, first);
    else this.freeUnrefPage(cpu, index, first);
  }

  /** Gives back `count` single frames; of those with several holders one lets go. */
  freeBulk(cpu: number, frames: Uint32Array, offset: number, count: number): void {
    const last = this.references.putAll(frames, offset, count);
    for (let done = 0; done < last.length; ) done += this.putRun(cpu, last, done, last.length - done);
    this.freedPages += last.length;
  }

  /**
   * Gives back `count` frames of a vmalloc area one by one: blocks of higher order were split when they were allocated
   * (`split_page`).
   * @param isOfOneZone whether all are known to be of one zone
   */
  freeAreaFrames(cpu: number, frames: Uint32Array, offset: number, count: number, isOfOneZone: boolean): void {
    // What a user address space still maps is the user's alone from now on.
    const shared = this.references.sharedOf(frames, offset, count);
    for (let i = 0; i < shared.length; i++) markFrames(this.zoneOf(shared[i]), shared, i, 1, FRAME_USER);
    if (!isOfOneZone || shared.length > 0) {
      this.freeBulk(cpu, frames, offset, count);
      return;
    }
    const zoneIndex = this.zoneIndexOf(frames[offset]);
    this.lines?.useAll(this.zones[zoneIndex], frames, offset, count);
    this.memcg?.uncharge(this.zones[zoneIndex], frames, offset, count);
    const { counts } = this.cpuLists;
    const place = this.cpuLists.place(cpu, zoneIndex);
    for (let done = 0; done < count; ) {
      const step = Math.min(count - done, LIST_CAPACITY - counts[place]);
      this.cpuLists.put(place, frames, offset + done, step);
      done += step;
      while (counts[place] > PCP_HIGH) this.freePcppagesBulk(this.perCpu[cpu][zoneIndex], this.zones[zoneIndex]);
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

  /** Zeroes frames that were taken in bulk. */
  private zeroRun(frames: Uint32Array, offset: number, count: number): void {
    const { lines } = this;
    this.memory.zeroFrames(frames, offset, count);
    for (let i = offset; lines !== null && i < offset + count; i++) lines.zero(this.zoneOf(frames[i]), frames[i]);
  }

  /** The zone that holds a frame. */
  zoneOf(frame: number): Zone {
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
    return this.perCpu.some((_, cpu) => this.perCpuFrames(cpu, zone).includes(frame));
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
    const { counts } = this.cpuLists;
    const place = this.cpuLists.place(cpu, zoneIndex);
    let done = 0;
    while (done < count && (counts[place] > 0 || this.rmqueueBulk(this.perCpu[cpu][zoneIndex], zone))) {
      const step = Math.min(count - done, counts[place]);
      this.cpuLists.take(place, step, out, offset + done);
      this.lines?.useAll(zone, out, offset + done, step);
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
      return list.frames[list.count];
    }
    return (gfp & __GFP_THISNODE) !== 0 ? 0 : this.takeBlock(0, preferred, gfp);
  }

  /**
   * Gives the frames kept for page tables back to their zones, and, where the caller may reclaim, those on the per-CPU lists
   * (`drain_all_pages`); false when there were none.
   */
  private drainAllPages(gfp: number): boolean {
    let drained = false;
    const all = (gfp & __GFP_DIRECT_RECLAIM) !== 0 ? [...this.perCpu, this.tableLists] : [this.tableLists];
    const drain = (list: FrameList, i: number): void => {
      const count = drainList(list, this.zones[i], FRAME_FREE);
      if (count > 0) this.onZone?.(i, count);
      drained ||= count > 0;
    };
    for (const lists of all) lists.forEach(drain);
    return drained;
  }

  private freeUnrefPage(cpu: number, zoneIndex: number, frame: number): void {
    const [list, zone] = [this.perCpu[cpu][zoneIndex], this.zones[zoneIndex]];
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
    this.lines?.useAll(zone, from, offset, done);
    this.memcg?.uncharge(zone, from, offset, done);
    while (list.count > PCP_HIGH) this.freePcppagesBulk(list, zone);
    return done;
  }

  private freePcppagesBulk(list: FrameList, zone: Zone): void {
    const index = this.zones.indexOf(zone);
    this.beforeZone?.(index);
    // Somebody may have drained the list (`drain_all_pages`), which Linux guards by a lock of its own.
    if (list.count <= PCP_HIGH) return;
    freePcppagesBulk(list, zone, FRAME_FREE);
    this.onZone?.(index, PCP_BATCH);
  }

  /** Fills an empty list; false when its zone has nothing left. */
  private rmqueueBulk(list: FrameList, zone: Zone): boolean {
    if (!rmqueueBulk(list, zone, FRAME_VMALLOC)) return false;
    this.onZone?.(this.zones.indexOf(zone), list.count);
    return true;
  }

  private takeBlock(order: number, preferred: number, gfp: number): number {
    const frame = this.getPageFromFreelist(order, preferred, gfp);
    if (frame !== 0) return frame;
    if ((gfp & __GFP_KSWAPD_RECLAIM) !== 0) this.wakeupKswapd?.();
    if (order > 0) return this.drainAllPages(gfp) ? this.getPageFromFreelist(order, preferred, gfp) : 0;
    // The last frames of a machine may sit on lists: the kernel drains those before it gives up.
    const isMeant = ({ node, startFrame }: Zone): boolean =>
      ((gfp & GFP_DMA32_ZONE) === 0 || startFrame < HIGH_MEMORY_START / 4096) &&
      ((gfp & __GFP_THISNODE) === 0 || node === preferred);
    return stealSingle([...this.perCpu, this.tableLists], this.zones, isMeant);
  }

  private getPageFromFreelist(order: number, preferred: number, gfp: number): number {
    const frame = getPageFromFreelist(this.zones, order, preferred, gfp);
    if (frame !== 0) this.onZone?.(this.zoneIndexOf(frame), 1);
    return frame;
  }
}
