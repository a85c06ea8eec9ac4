/** Linux's memory management on the emulated machine: the public names. */

export { ERROR_CODES, type ErrorCode, type ErrorDetails, MmulabError, TextFormatError } from "../arch/isa/errors.ts";
export {
  __vmalloc,
  __vmallocNode,
  __vmallocNodeRange,
  getVmArea,
  removeVmArea,
  vfree,
  vmalloc,
  vmalloc32,
  vmalloc32User,
  vmallocHuge,
  vmallocNode,
  vmallocUser,
  vmMapRam,
  vmUnmapRam,
  vzalloc,
  vzallocNode,
} from "./compatibility.ts";
export { bookWork } from "./flush/booked-work.ts";
export {
  FlushAccounts,
  type FlushAccountsOptions,
  type FlushCause,
  type FlushCost,
  FlushRecord,
} from "./flush/flush-accounts.ts";
export { ALL_FLUSH_POLICIES, FLUSH_POLICIES, flushPolicyByName } from "./flush/flush-policies.ts";
export {
  DEFERRED_POLICY,
  EAGER_POLICY,
  type FlushContext,
  type FlushPolicy,
  type FlushRequest,
  INVLPGB_POLICY,
  IPI_POLICY,
  RAR_POLICY,
  type UserFlushRequest,
} from "./flush/flush-policy.ts";
export { Flushing, type FlushingConfig } from "./flush/flushing.ts";
export { FreeLedger } from "./flush/free-ledger.ts";
export { flushAtEntryOf, HYPERV_POLICY, KVM_POLICY } from "./flush/guest-flush-policies.ts";
export { type OwedFlush, OwedFlushes } from "./flush/owed-flush.ts";
export { Rar, type RarFlush } from "./flush/rar.ts";
export { flushOwed, flushTlbAll, flushTlbKernelRange } from "./flush/tlb-flush.ts";
export * from "./flush/tlb-flush-reasons.ts";
export { TlbVmstat } from "./flush/tlb-vmstat.ts";
export { type DeferredFlush, UserMode } from "./flush/user-mode.ts";
export {
  FRAME_CALLER,
  FRAME_FREE,
  FRAME_PAGE_TABLE,
  FRAME_RESERVED,
  FRAME_USER,
  FRAME_VMALLOC,
} from "./frames/frame-uses.ts";
export { MEMCG_CHARGE_BATCH, MEMCG_LEVELS_MAX, MemCgroup } from "./frames/mem-cgroup.ts";
export { PageAllocator } from "./frames/page-allocator.ts";
export { Reclaim, SHRINK_STOP, type Shrinker } from "./frames/reclaim.ts";
export {
  afterCall,
  asCode,
  type Blocking,
  type Call,
  DONE,
  isReady,
  make,
  ready,
  resultOf,
  type Waiting,
  wait,
} from "./kernel/blocking.ts";
export type { CallArgument, CallName, CallProbes, SetMemoryCall } from "./kernel/call-probes.ts";
export { CallsInTurn } from "./kernel/calls-in-turn.ts";
export { type AllocationKind, FaultInjection } from "./kernel/fault-injection.ts";
export {
  BUG_NAMES,
  type BugName,
  type Bugs,
  HISTORICAL_BUGS,
  type HistoricalBug,
} from "./kernel/historical-bugs.ts";
export { idleStateCycles } from "./kernel/idle-states.ts";
export { kernelFiguresOf, withKernelCost } from "./kernel/kernel-cost-origins.ts";
export {
  checkKernelCosts,
  DEFAULT_KERNEL_COSTS,
  DESTINATION_MODES,
  type DestinationMode,
  type IpiCosts,
  type KernelCosts,
} from "./kernel/kernel-costs.ts";
export { type LockCosts, SpinLock } from "./kernel/lock.ts";
export { LockClass, type LockStatistics, lockClass, lockStatistics } from "./kernel/lock-stat.ts";
export type { LockWatcher, WatchedLock } from "./kernel/lock-watcher.ts";
export type {
  Lockdep,
  LockFault,
  LockGuard,
  LockReport,
} from "./kernel/lockdep.ts";
export {
  describeMitigations,
  isolatesPageTables,
  MITIGATION_MODES,
  type MitigationMode,
  mitigationCosts,
  mitigationCycles,
} from "./kernel/mitigations.ts";
export { Mutex } from "./kernel/mutex.ts";
export type { FlushAtEntry, HypercallFlush, ParavirtHost } from "./kernel/paravirt-host.ts";
export { POINT_FREES_FRAMES, POINT_FREES_HOST_PAGES, POINT_FREES_TABLES, POINT_UNLOCKED } from "./kernel/points.ts";
export { withReturnThunks } from "./kernel/return-thunks.ts";
export { allCpus, type CallBill, type IpiObserver, Smp } from "./kernel/smp.ts";
export { newSpinLock, SPINLOCK_KINDS, type SpinlockKind } from "./kernel/spinlocks.ts";
export type { FlushEvents, PageTableEvents, VmallocEvents } from "./kernel/vmalloc-events.ts";
export { Work } from "./kernel/work.ts";
export { KernelMm, type KernelMmParts } from "./kernel-mm.ts";
export { captureKernelMm, type KernelMmState, restoreKernelMm } from "./kernel-mm-state.ts";
export { ConfigError } from "./lib/config-error.ts";
export * from "./lib/errno.ts";
export * from "./lib/gfp.ts";
export { KernelLog } from "./lib/kernel-log.ts";
export * from "./lib/memory-layout.ts";
export { NotEnoughMemory } from "./lib/not-enough-memory.ts";
export { directMapAddress, makeDirectMap } from "./page-tables/direct-map.ts";
export { vmapRangeNoflush } from "./page-tables/huge-map.ts";
export { PageTableCursor } from "./page-tables/page-table-cursor.ts";
export { PageTables } from "./page-tables/page-tables.ts";
export {
  CACHE_MODES,
  type CacheMode,
  ioProtection,
  PAGE_KERNEL,
  PAGE_KERNEL_EXEC,
  PAGE_KERNEL_RO,
  type Protection,
} from "./page-tables/protection.ts";
export { type TableFlush, TakenTables } from "./page-tables/taken-tables.ts";
export { pcpuFreeVmAreas, pcpuGetVmAreas } from "./percpu/pcpu-areas.ts";
export { RestoreError } from "./snapshot/check-snapshot.ts";
export { restoreVmalloc } from "./snapshot/vmalloc-restore.ts";
export * from "./snapshot/vmalloc-snapshot.ts";
export { doWpPage, dupMm } from "./user/fork.ts";
export { GlobalAsids, isGlobalAsid } from "./user/global-asids.ts";
export { leaveMm } from "./user/lazy-tlb.ts";
export { MmStruct } from "./user/mm-struct.ts";
export { mremap, unmapMappingRange } from "./user/mremap.ts";
export { doAnonymousPage, handlePteFault } from "./user/page-fault.ts";
export { DYNAMIC_ASIDS, TlbState } from "./user/tlb-state.ts";
export { ACTIVE_CPUS_FOR_GLOBAL_ASID, CHECK_EVERY_FLUSHES } from "./user/user-flush.ts";
export { exitMmap, madviseDontneed, mmap, mmapPopulate, mprotect, munmap } from "./user/user-map.ts";
export { INIT_CTX_ID, kernPcid, userPcid } from "./user/user-pcids.ts";
export { UserSpaces } from "./user/user-spaces.ts";
export {
  captureUserSpaces,
  makeUserSpaces,
  restoreUserSpaces,
  type UserSpacesState,
} from "./user/user-spaces-state.ts";
export { WorkingSet } from "./user/working-set.ts";
export { type UserSpaceTables, verifyVmalloc } from "./verify/verify.ts";
export { Contexts } from "./verify/verify-contexts.ts";
export type { BlockRules, KernelVersion, PoolDecay } from "./versions/kernel-version.ts";
export {
  DEFAULT_KERNEL_VERSION,
  KERNEL_VERSIONS,
  kernelVersionByName,
  kernelVersionNear,
  kernelVersionOfRelease,
} from "./versions/kernel-versions.ts";
export {
  describeEntry,
  differingEntries,
  VERSION_ENTRIES,
  type VersionEntry,
  withEntries,
} from "./versions/version-entries.ts";
export {
  CALL_DEFINITIONS,
  type CallArgumentDefinition,
  type CallArgumentKind,
  type CallDefinition,
  type ProbedFunction,
} from "./views/call-definitions.ts";
export {
  EVENT_DEFINITIONS,
  type EventDefinition,
  type EventField,
  type FieldKind,
  NO_EVENTS,
  observeEach,
  type Tracepoint,
} from "./views/event-definitions.ts";
export { addFields, type FieldValue, isHex } from "./views/event-fields.ts";
export {
  ftraceCalls,
  SECOND_LEVEL_HIT_EVENTS,
  WALK_EVENTS,
  watchIdle,
  watchMisses,
  watchTlbFlushes,
  watchUserMode,
} from "./views/ftrace-calls.ts";
export { type FtraceOptions, ftraceText, IDLE_COMM } from "./views/ftrace-text.ts";
export { ADDRESS_MARKERS, dumpPageTables, pageTableRuns, VMALLOC_DUMP_END } from "./views/page-table-dump.ts";
export {
  formatAddressMarker,
  formatPageTableRun,
  isKernelLogLine,
  type PageTableLevel,
  type PageTableRun,
  parseAddressMarker,
  parsePageTableRun,
} from "./views/page-table-run.ts";
export { PAYLOAD_READERS, type TracepointFields } from "./views/tracepoint-text.ts";
export { busyLine, hasBusyLine, meminfoLine, vmallocinfo, vmallocMeminfo } from "./views/vmallocinfo.ts";
export { formatVmallocinfoLine, parseVmallocinfoLine, type VmallocinfoLine } from "./views/vmallocinfo-line.ts";
export { type AreaRequest, allocVmapArea } from "./vmalloc/alloc-vmap-area.ts";
export * from "./vmalloc/areas/vm-structs.ts";
export { VMAP_BLOCK, VMAP_FLAGS_MASK, VMAP_RAM, VmapAreas } from "./vmalloc/areas/vmap-areas.ts";
export { MAX_VA_SIZE_PAGES } from "./vmalloc/areas/vmap-node.ts";
export {
  captureVmalloc,
  queueVmallocWork,
  restoreVmallocState,
  type VmallocState,
  vmallocWorkOf,
} from "./vmalloc/capture-vmalloc.ts";
export { type ExecmemType, execmemAlloc, execmemAllocRw, execmemFree, execmemIsRox } from "./vmalloc/execmem.ts";
export { execmemForceRw, execmemRestoreRox, execmemSetDirectMapValid } from "./vmalloc/execmem-cache.ts";
export { findUnlinkVmapArea, findVmapArea, freeUnmapVmapArea, freeVmapAreaNoflush } from "./vmalloc/free-vmap-area.ts";
export { ioremap, iounmap } from "./vmalloc/ioremap.ts";
export { __purgeVmapAreaLazy, drainVmapAreaWork, reclaimAndPurgeVmapAreas } from "./vmalloc/purge.ts";
export { remapVmallocRange } from "./vmalloc/remap-vmalloc.ts";
export {
  setDirectMapValidNoflush,
  setMemoryNx,
  setMemoryRo,
  setMemoryRox,
  setMemoryRw,
  setMemoryX,
} from "./vmalloc/set-memory.ts";
export { vmAreaMapPages, vmAreaUnmapPages } from "./vmalloc/sparse-area.ts";
export { vfreeAtomic, vunmap } from "./vmalloc/vfree.ts";
export { __getVmAreaCaller, findVmArea, freeVmArea } from "./vmalloc/vm-area.ts";
export { _vmUnmapAliases, vmUnmapAliases } from "./vmalloc/vm-unmap-aliases.ts";
export { VMALLOC_REQUEST, type VmallocRequest } from "./vmalloc/vmalloc.ts";
export {
  lazyMaxPages,
  VMAP_MAX_ALLOC,
  type VmallocConfig,
  vmallocConfig,
} from "./vmalloc/vmalloc-config.ts";
export { vmallocInit } from "./vmalloc/vmalloc-init.ts";
export {
  isVmallocAddr,
  vmallocDumpObj,
  vmallocNrPages,
  vmallocToPage,
  vmallocToPfn,
} from "./vmalloc/vmalloc-lookup.ts";
export {
  type AreaPlacement,
  type LazyOrder,
  type PurgeNotifier,
  registerVmapPurgeNotifier,
  Vmalloc,
  type VmallocParts,
} from "./vmalloc/vmalloc-state.ts";
export { vmap } from "./vmalloc/vmap.ts";
export { vmapNodeShrinkCount } from "./vmalloc/vmap-node-shrinker.ts";
export { vmapLargePagesRangeNoflush, vmapPageRange, vmapPagesRangeNoflush, vunmapRange } from "./vmalloc/vmap-pages.ts";
export { vmapPfn } from "./vmalloc/vmap-pfn.ts";
export { type VreadCopy, vread, vreadIter } from "./vmalloc/vread.ts";
export { vrealloc } from "./vmalloc/vrealloc.ts";
