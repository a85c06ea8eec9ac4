/** The count of those who have cleared entries, or are about to, and have not flushed yet (`mm->tlb_flush_pending`). */
import { MM_LINE_TLB_FLUSH_PENDING, MM_LINES, type MmStruct } from "./mm-struct.ts";
import type { UserSpaces } from "./user-spaces.ts";

/** The current CPU is one more of them (`inc_tlb_flush_pending`). */
export function incTlbFlushPending({ mmLines }: UserSpaces, mm: MmStruct): void {
  mmLines.write(mm.ctxId * MM_LINES + MM_LINE_TLB_FLUSH_PENDING);
  mm.tlbFlushPending++;
}

/** It has flushed (`dec_tlb_flush_pending`). */
export function decTlbFlushPending({ mmLines }: UserSpaces, mm: MmStruct): void {
  mmLines.write(mm.ctxId * MM_LINES + MM_LINE_TLB_FLUSH_PENDING);
  mm.tlbFlushPending--;
}
