/** User address spaces, for saved states: all that there are, and the kernel's own. */
import { checkState, restoreArray } from "../../arch/isa/state-error.ts";
import { FRAME_USER } from "../frames/frame-uses.ts";
import { captureLocks, type LocksState, restoreLocks } from "../kernel/locks-state.ts";
import { captureRwSemaphores, type RwSemaphoresState, restoreRwSemaphores } from "../kernel/rw-semaphores-state.ts";
import type { KernelMm } from "../kernel-mm.ts";
import { GFP_KERNEL_ACCOUNT } from "../lib/gfp.ts";
import { PageTables, type PageTablesState } from "../page-tables/page-tables.ts";
import type { GlobalAsidsState } from "./global-asids.ts";
import { mmOf } from "./mmap-lock-use.ts";
import type { TlbStateValues } from "./tlb-state.ts";
import { UserSpaces } from "./user-spaces.ts";
import type { VmasState } from "./vmas.ts";

/** All of {@link UserSpaces}. */
export interface UserSpacesState {
  readonly usesPcids: boolean;
  /** The number that the address space made last is known by. */
  readonly lastCtxId: number;
  readonly globalAsids: GlobalAsidsState;
  /** An element a CPU. */
  readonly tlbStates: readonly TlbStateValues[];
  /** By CPU: which of `mms` is loaded. */
  readonly loaded: Uint32Array;
  /** Shootdown interrupts taken, by CPU. */
  readonly shootdowns: Float64Array;
  /** By CPU, how many pages are in its batch for the LRU lists. */
  readonly lruBatched: Int32Array;
  /** Their frames, CPU by CPU; absent in files of versions before 11, whose batches were only counted: they begin empty. */
  readonly lruFrames?: Uint32Array | undefined;
  /** The lock of the LRU lists. */
  readonly lruLock: LocksState;
  /** The kernel's own first. Older files have only those that a CPU had loaded: frames of the others stay handed out. */
  readonly mms: readonly MmState[];
  /** The `mmap_lock` of each. */
  readonly mmapLocks: RwSemaphoresState;
}

/** One address space; its entries are in memory. */
export interface MmState {
  readonly ctxId: number;
  readonly tables: PageTablesState;
  /** The top table that user mode runs on with page-table isolation, else 0. */
  readonly userRootFrame: number;
  readonly tlbGen: number;
  readonly globalAsid: number;
  readonly inAsidTransition: boolean;
  readonly remoteFlushes: number;
  /** Whether its process is no more; absent where it is not. */
  readonly hasEnded?: boolean | undefined;
  /** Its object of its slab cache; absent in older files, and for the kernel's own. */
  readonly object?: number | undefined;
  /** Its mappings; absent where it has none, and in older files: then nobody shares them. */
  readonly vmas?: VmasState | undefined;
  /** The number of the mapping made last. */
  readonly lastVma?: number | undefined;
  /** CPUs that may have translations of it. */
  readonly cpus: readonly number[];
}

/** Copies all user address spaces; null when there are none. @throws StateError when an `mmap_lock` is held */
export function captureUserSpaces({ userSpaces }: KernelMm): UserSpacesState | null {
  if (!(userSpaces instanceof UserSpaces)) return null;
  const mms = [userSpaces.initMm, ...userSpaces.mms];
  return {
    usesPcids: userSpaces.usesPcids,
    lastCtxId: userSpaces.lastCtxId,
    globalAsids: userSpaces.globalAsids.capture(),
    tlbStates: userSpaces.tlbStates.map((each) => each.capture()),
    loaded: Uint32Array.from(userSpaces.loaded, (mm) => mms.indexOf(mm)),
    shootdowns: userSpaces.shootdowns.slice(),
    lruBatched: Int32Array.from(userSpaces.lru.batches, ({ length }) => length),
    lruFrames: Uint32Array.from(userSpaces.lru.batches.flat()),
    lruLock: captureLocks([userSpaces.lru.lock]),
    mms: mms.map((mm) => {
      const { ctxId, userRootFrame, tlbGen, globalAsid, inAsidTransition, remoteFlushes } = mm;
      const known = { ctxId, userRootFrame, tlbGen, globalAsid, inAsidTransition, remoteFlushes };
      const ended = mm.hasEnded ? { hasEnded: true } : {};
      const object = mm.object === 0 ? {} : { object: mm.object };
      const vmas = mm.vmas.lastId === 0 ? {} : { lastVma: mm.vmas.lastId, vmas: mm.vmas.capture() };
      return { ...known, tables: mm.tables.capture(), cpus: mm.cpus(), ...ended, ...object, ...vmas };
    }),
    mmapLocks: captureRwSemaphores(mms.map(({ mmapLock }) => mmapLock)),
  };
}

/**
 * Makes user address spaces as they were captured. This writes registers of every CPU, so the machine's own state comes later; what
 * follows from the other parts is done by {@link restoreUserSpaces}.
 */
export function makeUserSpaces(kernel: KernelMm, { usesPcids }: UserSpacesState): UserSpaces {
  return new UserSpaces(kernel, usesPcids);
}

/**
 * Brings user address spaces into a captured state. The accounts of flushes have been restored before.
 * @throws StateError when the state is that of another machine
 */
export function restoreUserSpaces(spaces: UserSpaces, state: UserSpacesState): void {
  const { kernel, tlbStates, loaded } = spaces;
  const { loop } = kernel;
  const fits = state.tlbStates.length === loop.cpus && state.loaded.length === loop.cpus;
  checkState("user address spaces", fits && state.mms.length > 0, `are not those of ${loop.cpus} CPUs`);
  const mms = state.mms.map((saved, i) => {
    const mm =
      i === 0 ? spaces.initMm : mmOf(kernel, spaces.mmLines, saved.ctxId, tablesOf(kernel, saved), saved.userRootFrame);
    mm.tlbGen = saved.tlbGen;
    mm.globalAsid = saved.globalAsid;
    mm.inAsidTransition = saved.inAsidTransition;
    mm.remoteFlushes = saved.remoteFlushes;
    mm.hasEnded = saved.hasEnded ?? false;
    mm.object = saved.object ?? 0;
    const isKnown = mm.object === 0 || kernel.slabs.mm.hasObject(mm.object);
    checkState("user address spaces", isKnown, `name the object ${mm.object}`);
    const isInOrder = saved.vmas === undefined || mm.vmas.restore(saved.vmas, saved.lastVma ?? 0);
    checkState("user address spaces", isInOrder, "have mappings that overlap, or whose numbers are no mapping's");
    for (const cpu of saved.cpus) mm.cpumask[cpu] = 1;
    if (i > 0) spaces.mms.add(mm);
    return mm;
  });
  restoreRwSemaphores(
    mms.map(({ mmapLock }) => mmapLock),
    state.mmapLocks,
  );
  const flushes = kernel.flushing.accounts?.records ?? [];
  for (let cpu = 0; cpu < loop.cpus; cpu++) {
    tlbStates[cpu].restore(state.tlbStates[cpu], flushes);
    const mm = mms[state.loaded[cpu]];
    checkState("user address spaces", mm !== undefined, `have no number ${state.loaded[cpu]}`);
    loaded[cpu] = mm;
  }
  spaces.globalAsids.restore(state.globalAsids);
  restoreArray("user address spaces", "counts of shootdowns", spaces.shootdowns, state.shootdowns);
  restoreBatches(spaces, state);
  restoreLocks([spaces.lru.lock], state.lruLock);
  spaces.lastCtxId = state.lastCtxId;
}

/** Fills the batches for the LRU lists. */
function restoreBatches({ lru, kernel }: UserSpaces, { lruBatched: counts, lruFrames: frames }: UserSpacesState): void {
  const { batches } = lru;
  checkState("user address spaces", counts.length === batches.length, `have no ${counts.length} batches for LRU lists`);
  if (frames === undefined) return;
  const total = counts.reduce((sum, count) => sum + count, 0);
  const fits = counts.every((count) => count >= 0) && total === frames.length;
  checkState("user address spaces", fits, `have ${frames.length} frames in batches for LRU lists, not ${total}`);
  const isKnown = frames.every((frame) => kernel.pages.markOf(frame) === FRAME_USER);
  checkState("user address spaces", isKnown, "have a frame in a batch for LRU lists that is no user page's");
  let at = 0;
  batches.forEach((batch, cpu) => {
    batch.splice(0, batch.length, ...frames.subarray(at, at + counts[cpu]));
    at += counts[cpu];
  });
}

function tablesOf({ machine, pages, faults, log, loop, tables }: KernelMm, { tables: saved }: MmState): PageTables {
  const { levels } = tables;
  const restored = new PageTables(
    machine.memory,
    pages,
    faults,
    log,
    loop,
    levels,
    saved.rootFrame,
    GFP_KERNEL_ACCOUNT,
  );
  restored.restore(saved);
  return restored;
}
