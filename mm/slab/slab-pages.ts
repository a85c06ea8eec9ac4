/**
 * Where slabs have their pages from: blocks of unmovable memory on each CPU's lists by order, in front of the zones (`rmqueue_pcplist`).
 * Only their time is emulated. The blocks are no frames of `PageAllocator`: what a run maps lies where it would without slabs.
 */
import type { EventLoop } from "../../arch/time/event-loop.ts";
import { PCP_BATCH, PCP_HIGH } from "../frames/frame-list.ts";
import type { PageAllocator } from "../frames/page-allocator.ts";
import type { KernelCosts } from "../kernel/kernel-costs.ts";

/** Orders that a CPU has lists of (`PAGE_ALLOC_COSTLY_ORDER` and below). */
const PCP_ORDERS = 4;
/** A list takes at least so many blocks from its zone at once. */
const BATCH_MIN = 2;

/** What caches stand on. */
export interface SlabParts {
  readonly loop: EventLoop;
  readonly costs: KernelCosts;
  readonly slabPages: SlabPages;
  readonly numaNodes: number;
  /** The NUMA node of a CPU. */
  nodeOfCpu(cpu: number): number;
}

/** Blocks of pages for slabs. */
export class SlabPages {
  /** Blocks on the lists: by CPU, then by order. */
  readonly blocks: Uint16Array;
  private readonly pages: PageAllocator;
  private readonly loop: EventLoop;
  private readonly costs: KernelCosts;

  constructor(pages: PageAllocator, loop: EventLoop, costs: KernelCosts) {
    this.pages = pages;
    this.loop = loop;
    this.costs = costs;
    this.blocks = new Uint16Array(PCP_ORDERS * loop.cpus);
  }

  /** The current CPU takes 2^order pages off its list, which is filled from the zone of its node when it is empty. */
  allocSlabPages(order: number): void {
    const list = PCP_ORDERS * this.loop.currentCpu + order;
    this.loop.spend(this.costs.pages.listCycles);
    if (this.blocks[list] === 0) {
      this.blocks[list] = batchOf(order);
      this.moveBlocks(batchOf(order));
    }
    this.blocks[list]--;
  }

  /** The current CPU puts 2^order pages on its list, and a batch back into their zone when it has too many. */
  freeSlabPages(order: number): void {
    const list = PCP_ORDERS * this.loop.currentCpu + order;
    this.loop.spend(this.costs.pages.listCycles);
    this.blocks[list]++;
    if (this.blocks[list] << order <= PCP_HIGH) return;
    this.blocks[list] -= batchOf(order);
    this.moveBlocks(batchOf(order));
  }

  /** Blocks move between a list and the zone, under the zone's lock: one `struct page` of each is looked at. */
  private moveBlocks(blocks: number): void {
    const { pages, loop } = this;
    const node = pages.nodeOfCpu(loop.currentCpu);
    const zone = pages.zones.findLastIndex((each) => each.node === node);
    if (zone >= 0) pages.onZone?.(zone, blocks);
  }
}

/** Blocks that move at once, as many pages as of single ones. */
function batchOf(order: number): number {
  return Math.max(BATCH_MIN, PCP_BATCH >> order);
}
