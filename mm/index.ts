/** Linux's memory management on the emulated machine: the public names. */
export { allocVmapArea } from "./alloc-vmap-area.ts";
export { directMapAddress, makeDirectMap, PAGE_OFFSET } from "./direct-map.ts";
export * from "./errno.ts";
export { type AllocationKind, FaultInjection } from "./fault-injection.ts";
export {
  FlushAccounts,
  type FlushAccountsOptions,
  type FlushCause,
  type FlushCost,
  FlushRecord,
} from "./flush-accounts.ts";
export {
  DEFERRED_POLICY,
  EAGER_POLICY,
  FLUSH_POLICIES,
  type FlushContext,
  type FlushPolicy,
  type FlushRequest,
  flushPolicyByName,
  INVLPGB_POLICY,
  IPI_POLICY,
  type UserFlushRequest,
} from "./flush-policy.ts";
export { Flushing, type FlushingConfig } from "./flushing.ts";
export { FreeLedger } from "./free-ledger.ts";
export { findUnlinkVmapArea, findVmapArea, freeUnmapVmapArea, freeVmapAreaNoflush } from "./free-vmap-area.ts";
export { type FtraceOptions, ftraceText } from "./ftrace-text.ts";
export * from "./gfp.ts";
export { GlobalAsids, isGlobalAsid } from "./global-asids.ts";
export { type KernelRangeFlush, mapPhysicalRange } from "./huge-map.ts";
export { ioremap, iounmap } from "./ioremap.ts";
export {
  DEFAULT_KERNEL_COSTS,
  DESTINATION_MODES,
  type DestinationMode,
  type IpiCosts,
  type KernelCosts,
} from "./kernel-costs.ts";
export { KernelLog } from "./kernel-log.ts";
export { type LockCosts, Mutex, SpinLock } from "./lock.ts";
export { LockClass, type LockStatistics, lockClass, lockStatistics } from "./lock-stat.ts";
export { MmStruct } from "./mm-struct.ts";
export {
  FRAME_CALLER,
  FRAME_FREE,
  FRAME_PAGE_TABLE,
  FRAME_RESERVED,
  FRAME_USER,
  FRAME_VMALLOC,
  PageAllocator,
} from "./page-allocator.ts";
export { ADDRESS_MARKERS, dumpPageTables, pageTableRuns, VMALLOC_DUMP_END } from "./page-table-dump.ts";
export {
  formatAddressMarker,
  formatPageTableRun,
  type PageTableLevel,
  type PageTableRun,
} from "./page-table-run.ts";
export { PageTables } from "./page-tables.ts";
export { pcpuFreeVmAreas, pcpuGetVmAreas } from "./pcpu-areas.ts";
export {
  type CacheMode,
  ioProtection,
  PAGE_KERNEL,
  PAGE_KERNEL_EXEC,
  PAGE_KERNEL_RO,
  type Protection,
} from "./protection.ts";
export { drainVmapAreaWork, purgeVmapAreaLazy, reclaimAndPurgeVmapAreas } from "./purge.ts";
export { remapVmallocRange } from "./remap-vmalloc.ts";
export { allCpus, type CallBill, type IpiObserver, Smp } from "./smp.ts";
export { vmAreaMapPages, vmAreaUnmapPages } from "./sparse-area.ts";
export { flushTlbAll, flushTlbKernelRange } from "./tlb-flush.ts";
export * from "./tlb-flush-reasons.ts";
export { DYNAMIC_ASIDS, TlbState } from "./tlb-state.ts";
export { TlbVmstat } from "./tlb-vmstat.ts";
export { ACTIVE_CPUS_FOR_GLOBAL_ASID, CHECK_EVERY_FLUSHES } from "./user-flush.ts";
export { exitMm, mmapPopulate, mprotect, munmap } from "./user-map.ts";
export { type OwedFlush, UserMode } from "./user-mode.ts";
export { INIT_CTX_ID, kernelPcid, userPcid } from "./user-pcids.ts";
export { UserSpaces } from "./user-spaces.ts";
export { type UserSpaceTables, verifyVmalloc } from "./verify.ts";
export { vfree, vfreeAtomic, vfreeSoon, vunmap } from "./vfree.ts";
export { findVmArea, freeVmArea, getVmArea, getVmAreaCaller, removeVmArea } from "./vm-area.ts";
export { vmMapRam, vmMapRamSoon, vmUnmapRam, vmUnmapRamSoon } from "./vm-map-ram.ts";
export * from "./vm-structs.ts";
export { vmUnmapAliases } from "./vm-unmap-aliases.ts";
export {
  __vmalloc,
  __vmallocNode,
  __vmallocNodeRange,
  __vmallocNodeSoon,
  vmalloc,
  vmalloc32,
  vmalloc32User,
  vmallocHuge,
  vmallocNode,
  vmallocSoon,
  vmallocUser,
  vzalloc,
  vzallocNode,
} from "./vmalloc.ts";
export {
  ADDRESS_MAX,
  ConfigError,
  MAX_VA_SIZE_PAGES,
  MODULES_END,
  MODULES_VADDR,
  VMALLOC_END,
  VMALLOC_START,
  VMAP_MAX_ALLOC,
  type VmallocConfig,
  vmallocConfig,
} from "./vmalloc-config.ts";
export { NO_EVENTS, type VmallocEvents } from "./vmalloc-events.ts";
export { vmallocInit } from "./vmalloc-init.ts";
export { isVmallocAddr, vmallocDumpObj, vmallocNrPages, vmallocToPage, vmallocToPfn } from "./vmalloc-lookup.ts";
export { type RestoredArea, RestoreError, restoreVmalloc } from "./vmalloc-restore.ts";
export * from "./vmalloc-snapshot.ts";
export { type PurgeNotifier, registerVmapPurgeNotifier, Vmalloc, type VmallocParts } from "./vmalloc-state.ts";
export { meminfoLine, vmallocinfo, vmallocMeminfo } from "./vmallocinfo.ts";
export { vmap } from "./vmap.ts";
export { VMAP_BLOCK, VMAP_FLAGS_MASK, VMAP_RAM, VmapAreas } from "./vmap-areas.ts";
export { mapLargeFrames, mapPhysical, mapSmallFrames } from "./vmap-pages.ts";
export { vmapPfn } from "./vmap-pfn.ts";
export { type VreadCopy, vread, vreadIter } from "./vread.ts";
export { vrealloc } from "./vrealloc.ts";
export { Work } from "./work.ts";
