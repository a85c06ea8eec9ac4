/** Address spaces (`struct mm_struct`): the kernel's own and those of processes. */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { ENTRIES_PER_TABLE } from "../../arch/isa/pte.ts";
import { CHUNK_FRAME_MASK, FRAME_WORDS_SHIFT, type PhysicalMemory } from "../../arch/memory/physical-memory.ts";
import type { EventLoop, Thread } from "../../arch/time/event-loop.ts";
import type { LockCosts, SpinLock } from "../kernel/lock.ts";
import { RwSemaphore } from "../kernel/rw-semaphore.ts";
import type { RwSemaphoreUse } from "../kernel/rw-semaphore-use.ts";
import { newSpinLock } from "../kernel/spinlocks.ts";
import type { KernelMm } from "../kernel-mm.ts";
import { PAGE_OFFSET } from "../lib/memory-layout.ts";
import type { PageTables } from "../page-tables/page-tables.ts";
import { Vmas } from "./vmas.ts";

/** Top-level entries of the user half; the kernel half follows. */
const USER_ENTRIES = ENTRIES_PER_TABLE / 2;

/** Lines of an address space that its CPUs share, and which is which. */
export const MM_LINES = 4;
/** `mm->context`: the generation. */
export const MM_LINE_CONTEXT = 0;
/** `mm_cpumask`. */
export const MM_LINE_CPUMASK = 1;
/** The count of `mmap_lock`, which readers write too. */
export const MM_LINE_MMAP_LOCK = 2;
/** `mm->tlb_flush_pending`. */
export const MM_LINE_TLB_FLUSH_PENDING = 3;

/** Addresses: the first, and the first behind the last. */
export type AddressRange = readonly [start: number, end: number];

/** One address space. */
export class MmStruct {
  /** Never reused (`mm->context.ctx_id`). */
  readonly ctxId: number;
  /** The kernel's view: the user half of its own, the kernel half shared. */
  readonly tables: PageTables;
  /** With page-table isolation, the top table that user mode runs on: the user half only; else 0. */
  readonly userRootFrame: number;
  /** Grows by one with each change that TLBs must learn of (`mm->context.tlb_gen`). */
  tlbGen = 1;
  /** Its ASID on every CPU (`mm->context.global_asid`); 0 while each CPU has one of its own for it. */
  globalAsid = 0;
  /** Whether a CPU may still run on it under an ASID of its own (`mm->context.asid_transition`). */
  inAsidTransition = false;
  /** Flushes of it that interrupted other CPUs. */
  remoteFlushes = 0;
  /**
   * Who has cleared entries, or is about to, and has not flushed yet (`mm->tlb_flush_pending`).
   */
  tlbFlushPending = 0;
  /** Its process is no more (`mm_users` is 0): it stays until no CPU has it loaded. */
  hasEnded = false;
  /** Its object of its slab cache; 0 for the kernel's own, which has none. */
  object = 0;
  /** Its mappings (`mm->mm_mt`). */
  readonly vmas = new Vmas();
  /** CPUs that may have translations of it (`mm_cpumask`). */
  readonly cpumask: Uint8Array;

  /** Held to write while mappings change (`mmap_lock`). */
  readonly mmapLock: RwSemaphore;
  /** The addresses whose mappings the writer that has {@link mmapLock} changes, and so has locked as well (`vma_start_write`). */
  private readonly changing: AddressRange[] = [];
  /** What calls of `munmap` that go on as readers of {@link mmapLock} have taken out of the mappings and not out of the page tables yet. */
  private readonly unmapping: AddressRange[] = [];
  /** By the number of a mapping: readers of its lock; mappings without any are left out. */
  readonly vmaReaders = new Map<number, number>();
  /** Who has {@link mmapLock} to write and waits for readers of mappings to go. */
  waitingWriter: Thread | null = null;
  /** The CPU that woke it last; -1 for none yet. */
  writerWokenBy = -1;
  private readonly loop: EventLoop;
  private readonly lockCosts: LockCosts;
  private ptl: SpinLock | null = null;

  constructor(ctxId: number, tables: PageTables, userRootFrame: number, kernel: KernelMm, mmapLockUse: RwSemaphoreUse) {
    const { loop, costs } = kernel;
    this.mmapLock = new RwSemaphore("mmap_lock", loop, mmapLockUse);
    this.loop = loop;
    this.lockCosts = costs.lock;
    this.ctxId = ctxId;
    this.tables = tables;
    this.userRootFrame = userRootFrame;
    this.cpumask = new Uint8Array(loop.cpus);
  }

  /** Says which mappings the holder of {@link mmapLock} changes, until it gives that lock back ({@link endChange}). */
  beginChange(...ranges: readonly AddressRange[]): void {
    this.changing.push(...ranges);
  }

  /** The mappings are no longer locked (`vma_end_write_all`), and neither is the address space. */
  endChange(): void {
    this.changing.length = 0;
    this.mmapLock.upWrite();
  }

  /** The mappings are no longer locked, and whoever holds the lock to write goes on as a reader: `range` is on its way out of the page tables. */
  downgrade(range: AddressRange): void {
    this.unmapping.push(range);
    this.changing.length = 0;
    this.mmapLock.downgradeWrite();
  }

  /** A range that {@link downgrade} named is out of the page tables. */
  endUnmap(range: AddressRange): void {
    this.unmapping.splice(this.unmapping.indexOf(range), 1);
  }

  /** Whether anything of [start, end) is no mapping any more, and still on its way out of the page tables. */
  isUnmapping(start: number, end: number): boolean {
    return overlaps(this.unmapping, start, end);
  }

  /** Whether the lock of a mapping of [start, end) is held to write: who wants to read falls back to `mmap_lock` then (`lock_vma_under_rcu`). */
  isChanging(start: number, end: number): boolean {
    return overlaps(this.changing, start, end);
  }

  /**
   * Held while entries are moved, and while pages are taken away without `mmap_lock` (`mm->page_table_lock`; the kernel has one for each
   * table). Code that holds `mmap_lock` to write or clears what it finds at once does without it here. Made when it is first asked for.
   */
  get pageTableLock(): SpinLock {
    this.ptl ??= newSpinLock("mm->page_table_lock", this.loop, this.lockCosts);
    return this.ptl;
  }

  /**
   * Whether another CPU may have cleared entries which it has not flushed yet (`mm_tlb_flush_nested`): what finds nothing to clear must flush
   * all the same, before its caller counts on that.
   */
  get mmTlbFlushNested(): boolean {
    return this.tlbFlushPending > 1;
  }

  /** Takes its object (`allocate_mm`); returns itself. */
  allocObject({ loop, costs, slabs, pages }: KernelMm): this {
    loop.spend(costs.pages.slabCycles);
    this.object = slabs.mm.kmemCacheAlloc();
    pages.memcg?.chargeObject(slabs.mm.objectBytes);
    return this;
  }

  /** Gives its object back (`free_mm`). */
  freeObject({ loop, costs, slabs, pages }: KernelMm): void {
    pages.memcg?.unchargeObject(slabs.mm.objectBytes);
    loop.spend(costs.pages.slabCycles);
    slabs.mm.kmemCacheFree(this.object);
    this.object = 0;
  }

  /** The CPUs in its mask, ascending. */
  cpus(): number[] {
    const cpus: number[] = [];
    for (let cpu = 0; cpu < this.cpumask.length; cpu++) if (this.cpumask[cpu] !== 0) cpus.push(cpu);
    return cpus;
  }

  /** Brings the shared top-level entries up to date: the kernel half from `kernelRoot`, the user half into user mode's view. */
  syncTopTables(memory: PhysicalMemory, kernelRoot: number): void {
    const { rootFrame } = this.tables;
    if (rootFrame === kernelRoot) return;
    copyEntries(memory, kernelRoot, rootFrame, USER_ENTRIES, ENTRIES_PER_TABLE);
    if (this.userRootFrame !== 0) copyEntries(memory, rootFrame, this.userRootFrame, 0, USER_ENTRIES);
  }
}

function overlaps(ranges: readonly AddressRange[], start: number, end: number): boolean {
  for (const [from, to] of ranges) if (from < end && start < to) return true;
  return false;
}

/** Copies entries [first, last) of a table. */
function copyEntries(memory: PhysicalMemory, from: number, to: number, first: number, last: number): void {
  const source = memory.chunkForRead(from);
  const target = memory.chunkForWrite(to);
  const sourceBase = (from & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT;
  const targetBase = (to & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT;
  for (let word = 2 * first; word < 2 * last; word++) target[targetBase + word] = source[sourceBase + word];
}

/** An address in the direct map that stands for the `mm_struct` in traces, where nothing else tells address spaces apart. */
export function mmAddress({ ctxId }: MmStruct): number {
  return PAGE_OFFSET + ctxId * PAGE_SIZE;
}
