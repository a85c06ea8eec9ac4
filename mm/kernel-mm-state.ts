/** What the kernel's memory management below its allocators is in, for saved states. */
import { checkState, restoreArray } from "../arch/isa/state-error.ts";
import { captureFlushAccounts, type FlushAccountsState, restoreFlushAccounts } from "./flush/flush-accounts-state.ts";
import type { Flushing } from "./flush/flushing.ts";
import type { UserModeState } from "./flush/user-mode.ts";
import { captureFrames, type FramesState, restoreFrames } from "./frames/frames-state.ts";
import type { FaultInjectionState } from "./kernel/fault-injection.ts";
import { captureIrqLocks, restoreIrqLocks } from "./kernel/irq-locks-state.ts";
import { captureLockStatistics, type LockStatisticsState, restoreLockStatistics } from "./kernel/lock-stat.ts";
import type { LockdepState } from "./kernel/lockdep.ts";
import { captureLocks, type LocksState, restoreLocks } from "./kernel/locks-state.ts";
import type { KernelMm } from "./kernel-mm.ts";
import type { KernelLogState } from "./lib/kernel-log.ts";
import type { PageTablesState } from "./page-tables/page-tables.ts";
import type { CacheMode } from "./page-tables/protection.ts";
import { captureSlabs, restoreSlabs, type SlabsState } from "./slab/slab-state.ts";

/** Typed arrays and plain objects only. */
export interface KernelMmState {
  readonly log: KernelLogState;
  readonly faults: FaultInjectionState;
  readonly frames: FramesState;
  /** The kernel's own page tables. */
  readonly tables: PageTablesState;
  /** Physical ranges of devices and how they are cached, in order of their starts. */
  readonly memoryTypes: readonly { readonly start: number; readonly end: number; readonly mode: CacheMode }[];
  readonly flushing: FlushingState;
  readonly locks: LockStatisticsState;
  /** `cpa_lock`; absent where attributes of kernel pages have never been changed. */
  readonly cpaLock?: LocksState | undefined;
  /** By zone: the CPU that had `zone->lock` last, -1 for none; absent in files of versions before 9, and where none has ever been taken. */
  readonly zoneLocks?: { readonly cpu: Int32Array } | undefined;
  /** Caches of small objects; absent in older files, and where none has ever been used. */
  readonly slabs?: SlabsState | undefined;
  /** What the checks of locking have seen; absent where locking is not checked. */
  readonly lockdep?: LockdepState | undefined;
}

/** Flushes: counters, user mode, interrupts between CPUs, accounts. */
export interface FlushingState {
  /** Flushes of kernel addresses so far: whole TLBs, and page by page. */
  readonly fullFlushes: number;
  readonly rangeFlushes: number;
  /** The TLB lines of `/proc/vmstat`. */
  readonly vmstat: {
    readonly remoteFlush: number;
    readonly remoteFlushReceived: number;
    readonly localFlushAll: number;
    readonly localFlushOne: number;
  };
  /** Interrupts for calls on other CPUs: sent so far, and taken by each CPU. */
  readonly ipisSent: number;
  readonly ipisTaken: Float64Array;
  /** `vmlist_lock`, which the policy `eager` flushes in. */
  readonly vmlistLock: LocksState;
  /** Those of the payloads of remote actions (`Rar`); absent where the policy uses none. */
  readonly rarLocks?: LocksState | undefined;
  readonly userMode: UserModeState;
  /** null while nobody keeps accounts. */
  readonly accounts: FlushAccountsState | null;
}

/**
 * Copies the state. Observers are no part of it.
 * @throws StateError when a CPU has put a flush off, or pages were taken out of page tables and not flushed yet
 */
export function captureKernelMm(mm: KernelMm): KernelMmState {
  checkState("page tables", mm.tables.owed.count === 0, "are owed a flush");
  return {
    log: mm.log.capture(),
    faults: mm.faults.capture(),
    frames: captureFrames(mm.pages),
    tables: mm.tables.capture(),
    memoryTypes: mm.memoryTypes
      .overlapping(0, Number.POSITIVE_INFINITY)
      .map(({ start, end, mode }) => ({ start, end, mode })),
    flushing: captureFlushing(mm.flushing),
    locks: captureLockStatistics(mm.loop),
    ...(mm.zoneLocks.every(({ lastCpu }) => lastCpu < 0) ? {} : { zoneLocks: { cpu: captureIrqLocks(mm.zoneLocks) } }),
    ...(mm.hasCpaLock ? { cpaLock: captureLocks([mm.cpaLock]) } : {}),
    ...(mm.slabs.all.every(({ slabsUsed }) => slabsUsed === 1) ? {} : { slabs: captureSlabs(mm.slabs) }),
    ...(mm.lockdep === null ? {} : { lockdep: mm.lockdep.capture() }),
  };
}

/**
 * Brings the memory management of a kernel that was booted with the same configuration into a captured state. The machine's own
 * state comes first.
 * @throws StateError when it is that of another kernel
 */
export function restoreKernelMm(mm: KernelMm, state: KernelMmState): void {
  mm.log.restore(state.log);
  mm.faults.restore(state.faults);
  restoreFrames(mm.pages, state.frames);
  mm.tables.restore(state.tables);
  const { memoryTypes } = mm;
  for (const { start, end } of memoryTypes.overlapping(0, Number.POSITIVE_INFINITY)) memoryTypes.remove(start, end);
  for (const { start, end, mode } of state.memoryTypes) memoryTypes.add(start, end, mode);
  restoreFlushing(mm.flushing, state.flushing);
  restoreLockStatistics(mm.loop, state.locks);
  if (state.zoneLocks !== undefined) {
    restoreIrqLocks("page allocator", mm.zoneLocks, mm.loop.cpus, state.zoneLocks.cpu);
  }
  if (state.cpaLock !== undefined) restoreLocks([mm.cpaLock], state.cpaLock);
  if (state.lockdep !== undefined) mm.lockdep?.restore(state.lockdep);
  if (state.slabs !== undefined) restoreSlabs(mm.slabs, state.slabs);
}

function captureFlushing(flushing: Flushing): FlushingState {
  const { fullFlushes, rangeFlushes, vmstat, smp, userMode, accounts } = flushing;
  const { remoteFlush, remoteFlushReceived, localFlushAll, localFlushOne } = vmstat;
  return {
    fullFlushes,
    rangeFlushes,
    vmstat: { remoteFlush, remoteFlushReceived, localFlushAll, localFlushOne },
    ipisSent: smp.sent,
    ipisTaken: smp.taken.slice(),
    vmlistLock: captureLocks([flushing.vmlistLock]),
    ...(flushing.rar === null ? {} : { rarLocks: captureLocks(flushing.rar.locks) }),
    userMode: userMode.capture(),
    accounts: accounts === null ? null : captureFlushAccounts(accounts),
  };
}

function restoreFlushing(flushing: Flushing, state: FlushingState): void {
  const { smp, vmstat } = flushing;
  flushing.fullFlushes = state.fullFlushes;
  flushing.rangeFlushes = state.rangeFlushes;
  Object.assign(vmstat, state.vmstat);
  smp.sent = state.ipisSent;
  restoreArray("calls between CPUs", "counts of calls taken", smp.taken, state.ipisTaken);
  restoreLocks([flushing.vmlistLock], state.vmlistLock);
  if (flushing.rar !== null && state.rarLocks !== undefined) restoreLocks(flushing.rar.locks, state.rarLocks);
  flushing.userMode.restore(state.userMode);
  if (state.accounts === null) return;
  const { refills, perCpu } = state.accounts;
  restoreFlushAccounts(flushing.keepAccounts({ refills, perCpu }), state.accounts, flushing.machine.loop.cpus);
}
