/**
 * The LRU lists of user pages (`mm/swap.c`), as much of them as their lock costs: a page that is faulted in waits in a batch of its CPU,
 * a full batch is put on the lists under `lru_lock`, and a page that is freed is taken off them under it.
 */
import type { EventLoop, KernelCode } from "../../arch/time/event-loop.ts";
import type { KernelCosts } from "../kernel/kernel-costs.ts";
import { SpinLock } from "../kernel/lock.ts";
import type { KernelVersion } from "../versions/kernel-version.ts";

/** Lines that change with every use of the lists: their heads, their sizes, the statistics of the node (`struct lruvec`). */
const LINES_OF_LISTS = 3;
/** Lines of other pages: an added page goes before the first of its list, a deleted one had one on either side. */
const LINES_ADD = 1;
const LINES_DELETE = 2;

/** The lists of a machine: one node's, one control group's. */
export class Lru {
  /** Pages in each CPU's batch (`cpu_fbatches.lru_add`). */
  readonly batched: Int32Array;
  readonly lock: SpinLock;
  private readonly version: KernelVersion;
  private readonly loop: EventLoop;
  private readonly costs: KernelCosts;

  /** @param version says how many pages are dealt with at a time */
  constructor(loop: EventLoop, costs: KernelCosts, version: KernelVersion) {
    this.version = version;
    this.loop = loop;
    this.costs = costs;
    this.batched = new Int32Array(loop.cpus);
    this.lock = new SpinLock("lruvec->lru_lock", loop, costs.lock);
  }

  /** A page was faulted in on the current CPU (`folio_add_lru`). */
  *folioAddLru(): KernelCode<void> {
    if (++this.batched[this.loop.currentCpu] >= this.version.lruAddPages) yield* this.lruAddDrain();
  }

  /** Puts the current CPU's batch on the lists, if anything is in it (`lru_add_drain`). */
  *lruAddDrain(): KernelCode<void> {
    const pages = this.batched[this.loop.currentCpu];
    if (pages === 0) return;
    this.batched[this.loop.currentCpu] = 0;
    yield* this.change(pages, LINES_ADD);
  }

  /** `pages` pages are freed: those that are on the lists are taken off, a batch under the lock at a time (`folios_put_refs`, `release_pages`). */
  *foliosPutRefs(pages: number): KernelCode<void> {
    const { currentCpu } = this.loop;
    const unlisted = Math.min(pages, this.batched[currentCpu]);
    this.batched[currentCpu] -= unlisted;
    for (let left = pages - unlisted; left > 0; ) {
      const batch = Math.min(left, this.version.lruReleasePages);
      yield* this.change(batch, LINES_DELETE);
      left -= batch;
    }
  }

  /** @param neighbours lines of other pages that each of `pages` pages touches */
  private *change(pages: number, neighbours: number): KernelCode<void> {
    // `folio_lruvec_relock_irqsave`
    this.loop.disableInterrupts();
    const last = this.lock.ownerCpu;
    if (!this.lock.tryTake()) yield* this.lock.take();
    // What the lock guards comes from who changed it last.
    if (last >= 0) this.loop.lines.takeOver(last, LINES_OF_LISTS + pages * neighbours);
    this.loop.spend(pages * this.costs.user.lruCycles);
    this.lock.release();
    this.loop.enableInterrupts();
  }
}
