/** What the tracepoint `tlb:tlb_flush` tells (`enum tlb_flush_reason`), and the range that flushes everything. */

/** The end of a flush without bounds (`TLB_FLUSH_ALL`). */
export const TLB_FLUSH_ALL = Number.POSITIVE_INFINITY;

/** Reason of a flush, as the tracepoint numbers it: another address space was loaded. */
export const TLB_FLUSH_ON_TASK_SWITCH = 0;
/** Reason of a flush: another CPU asked for it. */
export const TLB_REMOTE_SHOOTDOWN = 1;
/** Reason of a flush: the CPU itself, of everything (`flush_tlb_all`). */
export const TLB_LOCAL_SHOOTDOWN = 2;
/** Reason of a flush: the CPU itself, of the address space that it runs. */
export const TLB_LOCAL_MM_SHOOTDOWN = 3;
/** Not a flush, but that CPUs are asked for one. */
export const TLB_REMOTE_SEND_IPI = 4;

/** Sees flushes of user translations. Only looks. */
export interface TlbFlushObserver {
  /** `tlb:tlb_flush`: `pages` is -1 for a whole TLB (of one address space). */
  tlbFlush(cpu: number, reason: number, pages: number): void;
  /** TLBs have been flushed for what a gather has collected (`tlb_flush_mmu`): so many pages and page tables are freed next. */
  tlbFlushMmu?(cpu: number, pages: number, tables: number): void;
}

/** The reasons in words, by number, as the tracepoint prints them. */
export const TLB_FLUSH_REASONS = [
  "flush on task switch",
  "remote shootdown",
  "local shootdown",
  "local mm shootdown",
  "remote ipi send",
] as const;
