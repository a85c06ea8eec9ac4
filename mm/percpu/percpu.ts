/**
 * Per-CPU memory (`mm/percpu.c`, `mm/percpu-vm.c`): chunks in vmalloc space with one unit a CPU, populated page by page.
 * What is modelled: sizes of units and chunks, the lists of chunks by longest free run, population on demand, destruction
 * of all wholly free chunks but one by the balance work. What is not: the first chunk (boot fills it), the reserve of
 * populated pages for atomic allocations, giving pages of partly used chunks back.
 */

import { ACCESS_STORE } from "../../arch/isa/access.ts";
import { formatLinearAddress16, PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { isPowerOfTwo } from "../../arch/isa/power-of-two.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { flushOwed } from "../flush/tlb-flush.ts";
import { FRAME_CALLER } from "../frames/frame-uses.ts";
import { afterLock, type Blocking, DONE, ready, wait } from "../kernel/blocking.ts";
import type { SpinLock } from "../kernel/lock.ts";
import { Mutex } from "../kernel/mutex.ts";
import { newSpinLock } from "../kernel/spinlocks.ts";
import { Work } from "../kernel/work.ts";
import { alignUp } from "../lib/align.ts";
import { GFP_KERNEL, NUMA_NO_NODE } from "../lib/gfp.ts";
import { VMALLOC_START } from "../lib/memory-layout.ts";
import { PAGE_KERNEL } from "../page-tables/protection.ts";
import type { Vmalloc } from "../vmalloc/vmalloc-state.ts";
import { vmapPagesRangeNoflush } from "../vmalloc/vmap-pages.ts";
import { pcpuFreeVmAreas, pcpuGetVmAreas } from "./pcpu-areas.ts";
import { PCPU_MIN_ALLOC_BYTES, PercpuChunk } from "./percpu-chunk.ts";

/** Units are laid out in steps of this size on x86-64 (`PMD_SIZE`, `setup_per_cpu_areas`). */
const ATOM_BYTES = 2 ** 21;
/** Static, reserved and dynamic bytes that a unit holds at least: 57 pages, as a 6.12 x86-64 kernel prints at boot. */
const UNIT_BYTES_MIN = 57 * PAGE_SIZE;
/** Largest allocation (`PCPU_MIN_UNIT_SIZE`). */
const ALLOC_BYTES_MAX = 32 * 1024;
/** Chunks whose longest run is below 32 bytes share list 1 (`PCPU_SLOT_BASE_SHIFT`). */
const SLOT_BASE_SHIFT = 5;
/** Below this list a chunk that failed to serve is not asked again (`PCPU_SLOT_FAIL_THRESHOLD`). */
const SLOT_FAIL_THRESHOLD = 3;
/** Bytes zeroed in a cycle. */
const ZERO_BYTES_PER_CYCLE = 32;

/** Bytes of one CPU's unit (`pcpu_build_alloc_info` for one NUMA node). */
export function percpuUnitBytes(cpus: number): number {
  let bestUnits = 1;
  let fewest = Number.POSITIVE_INFINITY;
  for (let units = Math.floor(ATOM_BYTES / UNIT_BYTES_MIN); units > 0; units--) {
    if (ATOM_BYTES % units !== 0) continue;
    const atoms = Math.ceil(cpus / units);
    if (atoms * units - cpus > Math.floor(cpus / 3)) continue;
    if (atoms > fewest) break;
    fewest = atoms;
    bestUnits = units;
  }
  return ATOM_BYTES / bestUnits;
}

/** The per-CPU allocator of a kernel. */
export class PercpuAllocator {
  /** Bytes of one CPU's unit. */
  readonly unitBytes: number;
  /** Bytes of address space of a chunk. */
  readonly chunkBytes: number;
  /** Chunks made and destroyed so far. */
  chunksMade = 0;
  chunksDestroyed = 0;

  private readonly state: Vmalloc;
  private readonly cpus: number;
  private readonly slots: PercpuChunk[][];
  private readonly freeSlot: number;
  /** Chunks by the number of the atom that they begin with. */
  private readonly byAtom = new Map<number, PercpuChunk>();
  private readonly mutex: Mutex;
  private readonly lock: SpinLock;
  private readonly balance: Work;

  constructor(state: Vmalloc) {
    this.state = state;
    this.cpus = state.loop.cpus;
    this.unitBytes = percpuUnitBytes(this.cpus);
    this.chunkBytes = alignUp(this.cpus * this.unitBytes, ATOM_BYTES);
    this.freeSlot = slotOfSize(this.unitBytes) + 1;
    this.slots = Array.from({ length: this.freeSlot + 1 }, () => []);
    this.mutex = new Mutex("pcpu_alloc_mutex", state.loop, state.costs.lock);
    this.lock = newSpinLock("pcpu_lock", state.loop, state.costs.lock);
    this.balance = new Work("pcpu_balance", state.loop, () => this.destroyFreeChunks());
  }

  /**
   * `__alloc_percpu`: zeroed memory for every CPU.
   * @returns its address in the first CPU's unit (CPU c has it `c * unitBytes` higher), or 0
   */
  alloc(sizeBytes: number, align: number): Blocking<number> {
    const { state } = this;
    state.loop.spend(state.costs.callCycles);
    const size = alignUp(sizeBytes, PCPU_MIN_ALLOC_BYTES);
    const alignment = Math.max(align, PCPU_MIN_ALLOC_BYTES);
    if (!(size > 0) || size > ALLOC_BYTES_MAX || alignment > PAGE_SIZE || !isPowerOfTwo(alignment)) {
      state.log.warn(`illegal size (${sizeBytes}) or align (${align}) for percpu allocation`);
      return ready(0);
    }
    return afterLock(this.mutex, this.allocWithMutex, size, alignment);
  }

  /** `free_percpu`. An address that was not allocated is warned of. */
  free(address: number): Blocking<void> {
    const { state } = this;
    if (address === 0) return DONE;
    state.loop.spend(state.costs.callCycles);
    return afterLock(this.lock, this.freeWithLock, address);
  }

  /** Chunks that exist. */
  get chunks(): number {
    return this.byAtom.size;
  }

  /** Frees with the lock held, and releases it. */
  private readonly freeWithLock = (address: number): Blocking<void> => {
    const { state } = this;
    const chunk = this.byAtom.get(atomOf(address));
    state.mm.lockdep?.assertHeld(this.lock, "pcpu_chunk_lists");
    const freed = chunk === undefined ? 0 : chunk.free(address - chunk.base);
    let isBalanceDue = false;
    if (chunk === undefined || freed === 0) {
      state.log.warn(`free_percpu of ${formatLinearAddress16(address)}: not allocated`);
    } else {
      this.relocate(chunk);
      isBalanceDue = chunk.slot === this.freeSlot && this.slots[this.freeSlot].length > 1;
    }
    this.lock.release();
    if (isBalanceDue) this.balance.schedule();
    return DONE;
  };

  /** Allocates with the mutex held, and releases it. */
  private readonly allocWithMutex = (size: number, align: number): Blocking<number> =>
    afterLock(this.lock, this.allocWithLock, size, align);

  /** Allocates with mutex and lock held, and releases both. */
  private readonly allocWithLock = (size: number, align: number): Blocking<number> => {
    const chunk = this.findChunk(size, align);
    this.lock.release();
    return chunk === null ? this.allocInNewChunk(size, align) : this.populateAndZero(chunk, size);
  };
  private *allocInNewChunk(size: number, align: number): KernelCode<number> {
    const made = yield* this.makeChunk();
    if (made !== null) {
      if (!this.lock.tryTake()) yield* this.lock.take();
      this.relocate(made);
      const chunk = this.findChunk(size, align);
      this.lock.release();
      if (chunk !== null) return yield* wait(this.populateAndZero(chunk, size));
    }
    this.mutex.release();
    return 0;
  }

  /** Populates and zeroes what `findChunk` found; the mutex is held, and released. */
  private populateAndZero(chunk: PercpuChunk, size: number): Blocking<number> {
    const offset = this.foundOffset;
    const firstPage = Math.floor(offset / PAGE_SIZE);
    const endPage = Math.ceil((offset + size) / PAGE_SIZE);
    for (let page = firstPage; page < endPage; page++) {
      if (!chunk.isPopulated(page) && !this.populate(chunk, page)) return this.rollBack(chunk.base + offset);
    }
    this.zero(chunk, offset, size);
    this.mutex.release();
    return ready(chunk.base + offset);
  }

  private *rollBack(address: number): KernelCode<number> {
    yield* wait(this.free(address));
    this.mutex.release();
    return 0;
  }

  private foundOffset = 0;

  /** Allocates in the fullest chunk that has room; the chunk, with the offset in `foundOffset`, or null. */
  private findChunk(size: number, align: number): PercpuChunk | null {
    this.state.mm.lockdep?.assertHeld(this.lock, "pcpu_chunk_lists");
    for (let slot = slotOfSize(size); slot <= this.freeSlot; slot++) {
      const chunks = this.slots[slot];
      for (let i = 0; i < chunks.length; i++) {
        const chunk = chunks[i];
        const offset = chunk.alloc(size, align);
        if (offset < 0) {
          if (slot >= SLOT_FAIL_THRESHOLD) continue;
          this.move(chunk, 0, true);
          i--;
          continue;
        }
        this.relocate(chunk);
        this.foundOffset = offset;
        return chunk;
      }
    }
    return null;
  }

  private *makeChunk(): KernelCode<PercpuChunk | null> {
    const { state } = this;
    const vms = yield* pcpuGetVmAreas(state, [0], [this.chunkBytes], ATOM_BYTES);
    if (vms === null) return null;
    const chunk = new PercpuChunk(state.vms.addr[vms[0]], vms, this.unitBytes, this.cpus);
    this.byAtom.set(atomOf(chunk.base), chunk);
    this.chunksMade++;
    return chunk;
  }

  /** Gives every CPU its page (`pcpu_populate_chunk`); false, with nothing changed, when memory ran out. */
  private populate(chunk: PercpuChunk, page: number): boolean {
    const { state, cpus } = this;
    const { pages, loop, costs } = state;
    state.mm.lockdep?.assertHeld(this.mutex, "chunk->populated");
    for (let cpu = 0; cpu < cpus; cpu++) {
      const at = cpu * chunk.pages + page;
      const frame = pages.allocPages(loop.currentCpu, 0, FRAME_CALLER, GFP_KERNEL, NUMA_NO_NODE);
      if (frame !== 0) chunk.frames[at] = frame;
      const la = this.addressOf(chunk, cpu, page);
      if (frame !== 0 && vmapPagesRangeNoflush(state.mm, la, la + PAGE_SIZE, PAGE_KERNEL, chunk.frames, at) === 0)
        continue;
      for (let undo = 0; undo <= cpu; undo++) this.dropPage(chunk, undo, page);
      return false;
    }
    loop.spend(cpus * costs.pages.listCycles);
    return true;
  }

  private zero(chunk: PercpuChunk, offset: number, size: number): void {
    const { state, cpus } = this;
    const { machine, loop } = state;
    const executing = machine.cpus[loop.currentCpu];
    for (let cpu = 0; cpu < cpus; cpu++) {
      for (let at = offset; at < offset + size; ) {
        const page = Math.floor(at / PAGE_SIZE);
        const stop = Math.min(offset + size, (page + 1) * PAGE_SIZE);
        const physical = executing.touchAs(ACCESS_STORE, chunk.base + cpu * this.unitBytes + at);
        const inPage = physical % PAGE_SIZE;
        machine.systemMemory.zeroWords((physical - inPage) / PAGE_SIZE, inPage / 4, (stop - at) / 4);
        at = stop;
      }
    }
    loop.spend((cpus * size) / ZERO_BYTES_PER_CYCLE);
  }

  /** The balance work: destroys all wholly free chunks but the first (`pcpu_balance_free`). */
  private *destroyFreeChunks(): KernelCode<void> {
    if (!this.mutex.tryTake()) yield* this.mutex.take();
    if (!this.lock.tryTake()) yield* this.lock.take();
    const doomed = this.slots[this.freeSlot].slice(1);
    for (const chunk of doomed) {
      this.move(chunk, -1, false);
      this.byAtom.delete(atomOf(chunk.base));
    }
    this.lock.release();
    for (const chunk of doomed) {
      yield* this.depopulate(chunk);
      yield* pcpuFreeVmAreas(this.state, chunk.vms);
      this.chunksDestroyed++;
    }
    this.mutex.release();
  }

  /** Unmaps all pages, flushes once, and frees the frames (`pcpu_depopulate_chunk`). */
  private *depopulate(chunk: PercpuChunk): KernelCode<void> {
    const { state, cpus } = this;
    const populated = Array.from({ length: chunk.pages }, (_, page) => page).filter((page) => chunk.isPopulated(page));
    if (populated.length === 0) return;
    const first = populated[0];
    const end = populated[populated.length - 1] + 1;
    const { tables } = state;
    const owed = tables.owed.owe(this.addressOf(chunk, 0, first), this.addressOf(chunk, cpus - 1, end));
    for (const page of populated) {
      for (let cpu = 0; cpu < cpus; cpu++) {
        const la = this.addressOf(chunk, cpu, page);
        tables.owed.include(tables.vunmapRangeNoflush(la, la + PAGE_SIZE), owed);
      }
    }
    yield* flushOwed(state.flushing, tables.owed, owed);
    for (let page = first; page < end; page++) {
      for (let cpu = 0; cpu < cpus; cpu++) this.freeFrame(chunk, cpu, page);
    }
  }

  private dropPage(chunk: PercpuChunk, cpu: number, page: number): void {
    const la = this.addressOf(chunk, cpu, page);
    const { tables } = this.state;
    // Nothing ran since the page was mapped: no CPU can have used it.
    tables.owed.waive(tables.vunmapRangeNoflush(la, la + PAGE_SIZE));
    this.freeFrame(chunk, cpu, page);
  }

  private freeFrame(chunk: PercpuChunk, cpu: number, page: number): void {
    const at = cpu * chunk.pages + page;
    if (chunk.frames[at] === 0) return;
    this.state.pages.freePagesOf(this.state.loop.currentCpu, chunk.frames[at], 0);
    chunk.frames[at] = 0;
  }

  private addressOf(chunk: PercpuChunk, cpu: number, page: number): number {
    return chunk.base + cpu * this.unitBytes + page * PAGE_SIZE;
  }

  /** Puts a chunk on the list that its longest free run says: in front when it rises (`pcpu_chunk_relocate`). */
  private relocate(chunk: PercpuChunk): void {
    const slot = this.slotOf(chunk);
    if (slot !== chunk.slot) this.move(chunk, slot, slot > chunk.slot);
  }

  private move(chunk: PercpuChunk, slot: number, inFront: boolean): void {
    this.state.mm.lockdep?.assertHeld(this.lock, "pcpu_chunk_lists");
    if (chunk.slot >= 0) {
      const from = this.slots[chunk.slot];
      from.splice(from.indexOf(chunk), 1);
    }
    chunk.slot = slot;
    if (slot < 0) return;
    if (inFront) this.slots[slot].unshift(chunk);
    else this.slots[slot].push(chunk);
  }

  private slotOf(chunk: PercpuChunk): number {
    if (chunk.freeBytes === this.unitBytes) return this.freeSlot;
    return chunk.contigBytes === 0 ? 0 : slotOfSize(chunk.contigBytes);
  }
}

/** Chunks begin at whole atoms: the number of the one that an address lies in. */
function atomOf(address: number): number {
  return Math.floor((address - VMALLOC_START) / ATOM_BYTES);
}

/** The list of chunks whose longest free run has `sizeBytes` bytes (`__pcpu_size_to_slot`). */
function slotOfSize(sizeBytes: number): number {
  return Math.max(32 - Math.clz32(sizeBytes) - SLOT_BASE_SHIFT + 2, 1);
}
