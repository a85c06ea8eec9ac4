/**
 * Charging pages to a memory cgroup (`mm/memcontrol.c`), for machines that have one: all that runs is in one cgroup so many levels below
 * the root. User pages are charged one by one as they are faulted in, pages of the kernel's where they are asked for with `__GFP_ACCOUNT`, as
 * user page tables are; of slab caches the objects of those that are made with `SLAB_ACCOUNT`, by their bytes.
 * A CPU charges 64 pages at a time and keeps what is left (`memcg_stock`), so that the counters of the levels, which all CPUs
 * write, move once in 64 pages. User pages are taken off the counters a batch at a time; the kernel's go back into the stock one by one.
 */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { EventLoop } from "../../arch/time/event-loop.ts";
import type { KernelCosts } from "../kernel/kernel-costs.ts";
import { __GFP_ACCOUNT } from "../lib/gfp.ts";

/** Pages that are charged at a time, and that a CPU keeps at most (`MEMCG_CHARGE_BATCH`). */
export const MEMCG_CHARGE_BATCH = 64;
/** Levels at most. */
export const MEMCG_LEVELS_MAX = 16;

/** Bytes that each object is charged beside its own: the pointer to its cgroup in its slab's vector (`obj_full_size`). */
export const OBJ_CGROUP_POINTER_BYTES = 8;

/** What `Zone.memcgData` says of a frame: charged to nobody, a user's page, the kernel's. */
const NOT_CHARGED = 0;
const USER_PAGE = 1;
const KERNEL_PAGE = 2;

/** What a zone remembers of its frames, from `startFrame` on: to whom each is charged. */
export interface ChargedFrames {
  readonly startFrame: number;
  readonly memcgData: Uint8Array;
}

/** The cgroup of all tasks, with those above it. */
export class MemCgroup {
  /** `page_counter`s from the tasks' cgroup up to the root: pages charged to each. */
  readonly usagePages: Float64Array;
  /** By CPU: pages charged in advance. */
  readonly stockPages: Int32Array;
  /** By CPU: bytes charged in advance for objects (`obj_stock`). */
  readonly stockBytes: Int32Array;
  private readonly loop: EventLoop;
  private readonly costs: KernelCosts;
  /** The first of the counters' lines. */
  private readonly firstLine: number;
  /** Pages that leave the counters at a time (`folio_batch`). */
  private readonly batchPages: number;

  /**
   * @param levels page counters, the root's included: 1 to {@link MEMCG_LEVELS_MAX}
   * @param batchPages user pages that are released at a time
   */
  constructor(loop: EventLoop, costs: KernelCosts, levels: number, batchPages: number) {
    this.loop = loop;
    this.costs = costs;
    this.batchPages = batchPages;
    this.usagePages = new Float64Array(levels);
    this.stockPages = new Int32Array(loop.cpus);
    this.stockBytes = new Int32Array(loop.cpus);
    this.firstLine = loop.lines.make(levels);
  }

  /** The current CPU charges a block of 2^order frames that it has taken, if such are charged (`mem_cgroup_charge`, `__memcg_kmem_charge_page`). */
  chargeBlock(zone: ChargedFrames, first: number, order: number, isUser: boolean, gfp: number): void {
    if (!isUser && (gfp & __GFP_ACCOUNT) === 0) return;
    const mark = isUser ? USER_PAGE : KERNEL_PAGE;
    const index = first - zone.startFrame;
    zone.memcgData.fill(mark, index, index + (1 << order));
    this.loop.spend(this.costs.pages.chargeCycles);
    this.tryCharge(1 << order);
  }

  /** As {@link chargeBlock} for single frames, each charged by itself. */
  charge(zone: ChargedFrames, frames: Uint32Array, offset: number, count: number, isUser: boolean, gfp: number): void {
    if (!isUser && (gfp & __GFP_ACCOUNT) === 0) return;
    for (let i = offset; i < offset + count; i++) this.chargeBlock(zone, frames[i], 0, isUser, gfp);
  }

  /** The current CPU gives frames back: those that are charged are not any more. */
  uncharge(zone: ChargedFrames, frames: Uint32Array, offset: number, count: number): void {
    let users = 0;
    for (let i = offset; i < offset + count; i++) {
      const index = frames[i] - zone.startFrame;
      const mark = zone.memcgData[index];
      zone.memcgData[index] = NOT_CHARGED;
      if (mark === USER_PAGE && ++users === this.batchPages) users = this.unchargeUsers(users);
      if (mark === KERNEL_PAGE) this.unchargeKernel(1);
    }
    this.unchargeUsers(users);
  }

  /** As {@link uncharge} for a block of 2^order frames. */
  unchargeBlock(zone: ChargedFrames, first: number, order: number): void {
    const index = first - zone.startFrame;
    const mark = zone.memcgData[index];
    if (mark === NOT_CHARGED) return;
    zone.memcgData.fill(NOT_CHARGED, index, index + (1 << order));
    if (mark === USER_PAGE) this.unchargeUsers(1 << order);
    else this.unchargeKernel(1 << order);
  }

  /**
   * The current CPU charges an object of a slab cache: out of its bytes, else by whole pages, of which the rest is kept (`obj_cgroup_charge`).
   * @param objectBytes the object's own size; `OBJ_CGROUP_POINTER_BYTES` are added
   */
  chargeObject(objectBytes: number): void {
    const { currentCpu } = this.loop;
    const bytes = objectBytes + OBJ_CGROUP_POINTER_BYTES;
    this.loop.spend(this.costs.pages.chargeCycles);
    if (this.stockBytes[currentCpu] < bytes) {
      const pages = Math.ceil(bytes / PAGE_SIZE);
      this.tryCharge(pages);
      this.stockBytes[currentCpu] += pages * PAGE_SIZE;
    }
    this.stockBytes[currentCpu] -= bytes;
  }

  /** The object is charged no more: its bytes are the CPU's, and whole pages of them its stock's (`obj_cgroup_uncharge`, `refill_obj_stock`). */
  unchargeObject(objectBytes: number): void {
    const { currentCpu } = this.loop;
    this.loop.spend(this.costs.pages.chargeCycles);
    this.stockBytes[currentCpu] += objectBytes + OBJ_CGROUP_POINTER_BYTES;
    if (this.stockBytes[currentCpu] <= PAGE_SIZE) return;
    const pages = Math.floor(this.stockBytes[currentCpu] / PAGE_SIZE);
    this.stockBytes[currentCpu] -= pages * PAGE_SIZE;
    this.refillStock(pages);
  }

  /** Charges pages: out of the CPU's stock (`consume_stock`), else to all levels, a batch if that is more, of which the rest is kept (`try_charge`). */
  private tryCharge(pages: number): void {
    const { currentCpu } = this.loop;
    if (this.stockPages[currentCpu] >= pages) {
      this.stockPages[currentCpu] -= pages;
      return;
    }
    const batch = Math.max(MEMCG_CHARGE_BATCH, pages);
    this.addToCounters(batch);
    if (batch > pages) this.refillStock(batch - pages);
  }

  /** Puts pages into the CPU's stock; more than it keeps are taken off the counters, with all that is there (`refill_stock`, `drain_stock`). */
  private refillStock(pages: number): void {
    const { currentCpu } = this.loop;
    this.stockPages[currentCpu] += pages;
    if (this.stockPages[currentCpu] <= MEMCG_CHARGE_BATCH) return;
    this.addToCounters(-this.stockPages[currentCpu]);
    this.stockPages[currentCpu] = 0;
  }

  /** User pages of one batch (`mem_cgroup_uncharge_folios`); returns how many are left to be dealt with, none. */
  private unchargeUsers(pages: number): 0 {
    if (pages === 0) return 0;
    this.loop.spend(pages * this.costs.pages.unchargeCycles);
    this.addToCounters(-pages);
    return 0;
  }

  /** `__memcg_kmem_uncharge_page`. */
  private unchargeKernel(pages: number): void {
    this.loop.spend(this.costs.pages.chargeCycles);
    this.refillStock(pages);
  }

  /** One atomic operation on each level's counter (`page_counter_try_charge`, `page_counter_uncharge`). */
  private addToCounters(pages: number): void {
    const { usagePages, loop, firstLine } = this;
    for (let level = 0; level < usagePages.length; level++) {
      usagePages[level] += pages;
      loop.lines.write(firstLine + level);
      loop.spend(this.costs.lock.uncontendedCycles);
    }
  }
}
