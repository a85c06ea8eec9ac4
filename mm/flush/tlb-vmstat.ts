/**
 * The TLB lines of `/proc/vmstat` (`CONFIG_DEBUG_TLBFLUSH`). Kernel-range flushes count as received on every CPU when they
 * take the whole TLB, and page by page otherwise; only `flush_tlb_all` and user flushes count as sent. Recordings of
 * 6.12.117 agree: each whole kernel-range flush adds one `nr_tlb_remote_flush_received` a CPU.
 */
export class TlbVmstat {
  /** Flushes sent to other CPUs (`nr_tlb_remote_flush`). */
  remoteFlush = 0;
  /** Flushes received (`nr_tlb_remote_flush_received`). */
  remoteFlushReceived = 0;
  /** Flushes of a whole TLB by `flush_tlb_func` (`nr_tlb_local_flush_all`). */
  localFlushAll = 0;
  /** Single pages flushed (`nr_tlb_local_flush_one`). */
  localFlushOne = 0;

  /** The lines as `/proc/vmstat` prints them. */
  lines(): string[] {
    return [
      `nr_tlb_remote_flush ${this.remoteFlush}`,
      `nr_tlb_remote_flush_received ${this.remoteFlushReceived}`,
      `nr_tlb_local_flush_all ${this.localFlushAll}`,
      `nr_tlb_local_flush_one ${this.localFlushOne}`,
    ];
  }
}
