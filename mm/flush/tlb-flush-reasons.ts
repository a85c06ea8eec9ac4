/** What the tracepoint `tlb:tlb_flush` tells (`enum tlb_flush_reason`), and the range that flushes everything. */

/** The end of a flush without bounds (`TLB_FLUSH_ALL`). */
export const TLB_FLUSH_ALL = Number.POSITIVE_INFINITY;

/** Why a TLB was flushed, as the tracepoint numbers it. */
export const TLB_FLUSH_ON_TASK_SWITCH = 0;
export const TLB_REMOTE_SHOOTDOWN = 1;
export const TLB_LOCAL_SHOOTDOWN = 2;
export const TLB_LOCAL_MM_SHOOTDOWN = 3;
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
