/**
 * The LRU lists of user pages (`mm/swap.c`), as much of them as their references and their lock do: a page that is faulted in waits in a batch
 * of its CPU, which holds a reference to it; a full batch is put on the lists under `lru_lock`, and its references are dropped. A page
 * is freed where its last reference goes, which takes it off the lists under their lock. So a page that is unmapped while it waits is not
 * freed by who unmaps it but by who drains the batch: with the page on the list for no longer than that.
 */

import type { KernelCode } from "../../arch/time/event-loop.ts";
import { isOnLru, setOnLru, usePage } from "../frames/struct-pages.ts";
import type { SpinLock } from "../kernel/lock.ts";
import { POINT_FREES_FRAMES } from "../kernel/points.ts";
import { newSpinLock } from "../kernel/spinlocks.ts";
import { Work } from "../kernel/work.ts";
import type { KernelMm } from "../kernel-mm.ts";

/** Lines that change with every use of the lists: their heads, their sizes, the statistics of the node (`struct lruvec`). */
const LINES_OF_LISTS = 3;
/** Lines of other pages: an added page goes before the first of its list, a deleted one had one on either side. */
const LINES_ADD = 1;
const LINES_DELETE = 2;

/** The lists of a machine: one node's, one control group's. */
export class Lru {
  /** By CPU: the frames of its batch (`cpu_fbatches.lru_add`), each with a reference. */
  readonly batches: number[][];
  readonly lock: SpinLock;
  private readonly kernel: KernelMm;

  /** @param kernel whose version says how many pages are dealt with at a time */
  constructor(kernel: KernelMm) {
    this.kernel = kernel;
    this.batches = Array.from({ length: kernel.loop.cpus }, () => []);
    this.lock = newSpinLock("lruvec->lru_lock", kernel.loop, kernel.costs.lock);
  }

  /** A page was faulted in on the current CPU (`folio_add_lru`): its batch takes a reference before anything else happens. */
  *folioAddLru(frame: number): KernelCode<void> {
    this.kernel.pages.references.get(frame);
    yield* this.batchAdd(frame);
  }

  /** Pages were faulted in one after the other: as {@link folioAddLru} for each, with all references taken before anything else happens. */
  *foliosAddLru(frames: Uint32Array): KernelCode<void> {
    for (const frame of frames) this.kernel.pages.references.get(frame);
    for (const frame of frames) yield* this.batchAdd(frame);
  }

  /** Puts the current CPU's batch on the lists, if anything is in it (`lru_add_drain`), and frees what nobody but the batch held. */
  *lruAddDrain(): KernelCode<void> {
    const { kernel } = this;
    const frames = this.batches[kernel.loop.currentCpu].splice(0);
    if (frames.length === 0) return;
    kernel.usePath?.("lru add");
    yield* this.change(frames, true);
    yield* this.foliosPutRefs(frames);
  }

  /** Has every CPU that has a batch drain it, and waits until that is done (`lru_add_drain_all`). Only for threads of the kernel. */
  *lruAddDrainAll(): KernelCode<void> {
    const { loop } = this.kernel;
    const works: Work[] = [];
    this.batches.forEach((batch, cpu) => {
      if (batch.length === 0) return;
      const work = new Work("lru_add_drain_per_cpu", loop, () => this.lruAddDrain());
      work.scheduleOn(cpu);
      works.push(work);
    });
    for (const work of works) yield* work.flush();
  }

  /** Drops a reference to each page, and frees those of which it was the last, a batch at a time (`folios_put_refs`, `release_pages`). */
  *foliosPutRefs(frames: readonly number[]): KernelCode<void> {
    const { lruReleasePages } = this.kernel.version;
    for (let first = 0; first < frames.length; first += lruReleasePages) {
      yield* this.putBatch(frames.slice(first, first + lruReleasePages));
    }
  }

  private *batchAdd(frame: number): KernelCode<void> {
    const { loop, version } = this.kernel;
    if (this.batches[loop.currentCpu].push(frame) >= version.lruAddPages) yield* this.lruAddDrain();
  }

  private *putBatch(frames: readonly number[]): KernelCode<void> {
    const { kernel } = this;
    const { loop, pages, costs } = kernel;
    for (const frame of frames) usePage(pages, frame);
    const freed = frames.filter((frame) => !pages.references.put(frame));
    loop.spend((frames.length - freed.length) * costs.lock.uncontendedCycles);
    if (freed.length === 0) return;
    kernel.usePath?.("pages freed");
    if (pages.memcg !== null) kernel.usePath?.("memcg");
    const listed = freed.filter((frame) => isOnLru(pages, frame));
    if (listed.length > 0) yield* this.change(listed, false);
    loop.point(POINT_FREES_FRAMES, freed);
    pages.freeBulk(loop.currentCpu, Uint32Array.from(freed), 0, freed.length);
    kernel.spendOnFreedBatch(freed.length);
  }

  /** Puts pages on the lists, or takes them off, under their lock. */
  private *change(frames: readonly number[], isAdded: boolean): KernelCode<void> {
    const { loop, pages, costs } = this.kernel;
    // `folio_lruvec_relock_irqsave`
    loop.disableInterrupts();
    const last = this.lock.ownerCpu;
    if (!this.lock.tryTake()) yield* this.lock.take();
    // What the lock guards comes from who changed it last.
    const linesOfOthers = frames.length * (isAdded ? LINES_ADD : LINES_DELETE);
    if (last >= 0) loop.lines.takeOver(last, LINES_OF_LISTS + linesOfOthers);
    for (const frame of frames) {
      usePage(pages, frame);
      setOnLru(pages, frame, isAdded);
    }
    loop.spend(frames.length * costs.user.lruCycles);
    this.lock.release();
    loop.enableInterrupts();
  }
}
