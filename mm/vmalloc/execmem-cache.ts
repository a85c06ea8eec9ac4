/**
 * The cache of executable memory (`mm/execmem.c` with `ARCH_HAS_EXECMEM_ROX`): regions of 2 MiB, mapped by one entry where there are large
 * pages, filled with instructions that trap, read-only and executable in the modules' range and read-only in the direct map. The lowest
 * free piece that is large enough serves; its lower end is taken. A piece that is freed is filled again and merges with its free
 * neighbours; regions that are wholly free go back to vmalloc.
 *
 * Linux keeps the pieces in maple trees, whose nodes may run out; here a free is put off only when a large page could not be split.
 */
import { PAGE_SIZE, PMD_SIZE } from "../../arch/isa/linear-address.ts";
import { CHUNK_FRAME_MASK, FRAME_WORDS_SHIFT } from "../../arch/memory/physical-memory.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { wait } from "../kernel/blocking.ts";
import { sleepUntil } from "../kernel/jiffies.ts";
import { LockGuard } from "../kernel/lockdep.ts";
import { Mutex } from "../kernel/mutex.ts";
import { Work } from "../kernel/work.ts";
import { alignUp, isAligned, pagesIn } from "../lib/align.ts";
import { __GFP_NOWARN, GFP_KERNEL } from "../lib/gfp.ts";
import { type AddressRange, MODULES_RANGE } from "../lib/memory-layout.ts";
import { VM_ALLOW_HUGE_VMAP } from "./areas/vm-structs.ts";
import { ExecmemAreas } from "./execmem-areas.ts";
import { setDirectMapValidNoflush, setMemoryNx, setMemoryRox, setMemoryRw } from "./set-memory.ts";
import { vfree } from "./vfree.ts";
import { findVmArea } from "./vm-area.ts";
import { __vmallocNodeRange, VMALLOC_REQUEST } from "./vmalloc.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/** Four INT3 instructions. */
export const TRAPPING_WORD = 0xcccc_cccc | 0;
/** What a free that was put off waits (`FREE_DELAY`), in seconds. */
const FREE_DELAY_SECONDS = 0.01;
/** What is asked of vmalloc, for executable memory and for what goes with it (`execmem_vmalloc`). */
export const EXECMEM_REQUEST = {
  ...VMALLOC_REQUEST,
  align: PAGE_SIZE,
  range: MODULES_RANGE,
  gfp: GFP_KERNEL | __GFP_NOWARN,
};

/** The cache of a kernel; made when it is first used. */
export function execmemCacheOf(state: Vmalloc): ExecmemAreas {
  if (state.execmem !== null) return state.execmem;
  const { loop, costs } = state;
  const { lockdep } = state.mm;
  const mutex = new Mutex("execmem_cache.mutex", loop, costs.lock);
  state.execmem = new ExecmemAreas({
    mutex,
    guard: lockdep === null ? null : new LockGuard(lockdep, mutex, "execmem_cache"),
    cleanWork: new Work("execmem_cache_clean", loop, () => execmemCacheClean(state)),
    freeWork: new Work("execmem_cache_free", loop, () => execmemCacheFreeSlow(state)),
  });
  return state.execmem;
}

/** A piece of the cache, from a new region when none has room; its address, or 0. Read-only and executable. */
export function* execmemCacheAlloc(state: Vmalloc, sizeBytes: number, caller: string): KernelCode<number> {
  const cache = execmemCacheOf(state);
  if (!cache.mutex.tryTake()) yield* cache.mutex.take();
  const address = execmemCacheAllocLocked(state, cache, MODULES_RANGE, sizeBytes);
  cache.mutex.release();
  return address !== 0 ? address : yield* execmemCachePopulateAlloc(state, cache, sizeBytes, caller);
}

/** Takes the lower end of the lowest free piece that is large enough; its address, or 0. */
function execmemCacheAllocLocked(
  state: Vmalloc,
  { busy, free }: ExecmemAreas,
  range: AddressRange,
  sizeBytes: number,
): number {
  for (let i = 0; i < free.count; i++) {
    state.loop.spend(state.costs.treeStepCycles);
    const start = free.startOf(i);
    if (free.endOf(i) - start < sizeBytes || start < range.start || start + sizeBytes >= range.end) continue;
    busy.insert(start, start + sizeBytes);
    free.takeLowest(i, sizeBytes);
    return start;
  }
  return 0;
}

/**
 * Makes a region, or, where there is no room for one, an area of just the size, and takes a piece of it.
 * @returns its address, or 0
 */
function* execmemCachePopulateAlloc(
  state: Vmalloc,
  cache: ExecmemAreas,
  sizeBytes: number,
  caller: string,
): KernelCode<number> {
  const request = { ...EXECMEM_REQUEST, flags: VM_ALLOW_HUGE_VMAP };
  let regionBytes = alignUp(sizeBytes, PMD_SIZE);
  let region = yield* wait(__vmallocNodeRange(state, regionBytes, request, caller));
  if (region === 0) {
    regionBytes = sizeBytes;
    region = yield* wait(__vmallocNodeRange(state, regionBytes, request, caller));
  }
  if (region === 0) {
    state.log.warn("execmem: unable to allocate memory");
    return 0;
  }
  execmemFillTrappingInsns(state, region, regionBytes);
  if ((yield* setMemoryRox(state, region, pagesIn(regionBytes))) < 0) {
    yield* wait(vfree(state, region));
    return 0;
  }
  // Added and taken in one critical section, or others might take all of it first.
  if (!cache.mutex.tryTake()) yield* cache.mutex.take();
  cache.free.insertMerged(region, region + regionBytes);
  const address = execmemCacheAllocLocked(state, cache, MODULES_RANGE, sizeBytes);
  cache.mutex.release();
  return address;
}

/** Makes a piece writable, and not executable meanwhile (`execmem_force_rw`); 0 or a negative errno. */
export function* execmemForceRw(state: Vmalloc, address: number, sizeBytes: number): KernelCode<number> {
  const pages = pagesIn(alignUp(sizeBytes, PAGE_SIZE));
  const result = yield* setMemoryNx(state, address, pages);
  return result < 0 ? result : yield* setMemoryRw(state, address, pages);
}

/** Makes a piece read-only and executable again (`execmem_restore_rox`); 0 or a negative errno. */
export function execmemRestoreRox(state: Vmalloc, address: number, sizeBytes: number): KernelCode<number> {
  return setMemoryRox(state, address, pagesIn(alignUp(sizeBytes, PAGE_SIZE)));
}

/** Gives a piece back. @returns false for an address that is in none */
export function* execmemCacheFree(state: Vmalloc, address: number): KernelCode<boolean> {
  const cache = state.execmem;
  if (cache === null) return false;
  const { mutex } = cache;
  if (!mutex.tryTake()) yield* mutex.take();
  const { busy } = cache;
  const index = busy.indexOf(address);
  if (index >= 0) {
    const start = busy.startOf(index);
    if ((yield* freePiece(state, cache, start)) < 0) {
      cache.pendingFree.add(start);
      cache.freeWork.schedule();
    } else cache.cleanWork.schedule();
  }
  mutex.release();
  return index >= 0;
}

/** Fills the piece at `start` and puts it among the free ones, with the mutex held (`__execmem_cache_free`); 0 or a negative errno. */
function* freePiece(state: Vmalloc, cache: ExecmemAreas, start: number): KernelCode<number> {
  const { busy, free } = cache;
  const end = busy.endOf(busy.indexOf(start));
  const result = yield* execmemForceRw(state, start, end - start);
  if (result < 0) return result;
  execmemFillTrappingInsns(state, start, end - start);
  // As in Linux, nobody asks whether it could be made read-only again.
  yield* execmemRestoreRox(state, start, end - start);
  busy.remove(busy.indexOf(start));
  free.insertMerged(start, end);
  return 0;
}

/** Frees the pieces whose free was put off; what still cannot be freed waits again. */
function* execmemCacheFreeSlow(state: Vmalloc): KernelCode<void> {
  const cache = execmemCacheOf(state);
  const { mutex, pendingFree } = cache;
  const { frequencyGhz } = state.machine.preset;
  yield* sleepUntil(state.loop, state.loop.nowCycles() + FREE_DELAY_SECONDS * frequencyGhz.value * 1e9);
  if (!mutex.tryTake()) yield* mutex.take();
  for (const start of [...pendingFree].sort((a, b) => a - b)) {
    if ((yield* freePiece(state, cache, start)) >= 0) pendingFree.delete(start);
  }
  if (pendingFree.size > 0) cache.freeWork.schedule();
  else cache.cleanWork.schedule();
  mutex.release();
}

/** Gives regions that are wholly free back to vmalloc, their frames writable in the direct map again. */
function* execmemCacheClean(state: Vmalloc): KernelCode<void> {
  const cache = execmemCacheOf(state);
  const { mutex } = cache;
  if (!mutex.tryTake()) yield* mutex.take();
  const { free } = cache;
  for (let i = free.count - 1; i >= 0; i--) {
    const [start, end] = [free.startOf(i), free.endOf(i)];
    if (!isAligned(start, PMD_SIZE) || !isAligned(end - start, PMD_SIZE)) continue;
    yield* execmemSetDirectMapValid(state, yield* findVmArea(state, start));
    free.remove(i);
    yield* wait(vfree(state, start));
  }
  mutex.release();
}

/** Makes the frames of an area (a vm_struct) writable in the direct map, by the pages that it was allocated in. */
export function* execmemSetDirectMapValid(state: Vmalloc, vm: number): KernelCode<void> {
  const { vms, pageArrays } = state;
  const pages = 1 << vms.pageOrderOf(vm);
  for (let i = 0; i < vms.nrPages[2 * vm]; i += pages) {
    yield* setDirectMapValidNoflush(state, pageArrays.frames[vms.pages[2 * vm] + i], pages, true);
  }
}

/** Fills [address, address + sizeBytes) with instructions that trap (`execmem_fill_trapping_insns`). */
function execmemFillTrappingInsns(state: Vmalloc, address: number, sizeBytes: number): void {
  const { tables, loop, machine } = state;
  const { memory } = tables;
  const cpu = machine.cpus[loop.currentCpu];
  for (let la = address; la < address + sizeBytes; la += PAGE_SIZE) {
    // One store for the translation; the others go where it went.
    cpu.store(la, 4, TRAPPING_WORD);
    const frame = tables.cursor.frameAt(la);
    const first = (frame & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT;
    memory.chunkForWrite(frame).fill(TRAPPING_WORD, first, first + (1 << FRAME_WORDS_SHIFT));
  }
  // Filled as `clear_page` fills: REP STOSB, of another byte.
  loop.spend(pagesIn(sizeBytes) * machine.preset.costs.zeroPage.value);
}
