/**
 * Flushing kernel translations on every CPU (`arch/x86/mm/tlb.c`: `flush_tlb_kernel_range`, `flush_tlb_all`; `kernel/smp.c`:
 * `on_each_cpu`). A CPU's TLB changes when its interrupt handler runs, not before. How a flush reaches the other CPUs is the
 * policy's choice (`flush-policy.ts`).
 */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { ADDRESS_MAX } from "../lib/memory-layout.ts";
import { bookWork } from "./booked-work.ts";
import type { FlushAccounts, FlushCause, FlushRecord } from "./flush-accounts.ts";
import type { Flushing } from "./flushing.ts";
import type { OwedFlush, OwedFlushes } from "./owed-flush.ts";

/** Which function of the kernel makes the flushes of a cause. */
const CALLERS: Readonly<Partial<Record<FlushCause, string>>> = {
  drain: "__purge_vmap_area_lazy",
  aliases: "__purge_vmap_area_lazy",
  overflow: "__purge_vmap_area_lazy",
  "table freed": "pmd_free_pte_page",
  set_memory: "change_page_attr_set_clr",
  "page split": "__split_large_page",
  "pages joined": "cpa_collapse_large_pages",
};

/**
 * Flushes [start, end) on every CPU: page by page up to the ceiling, the whole TLB above it.
 * @param paidFor tells the accounts which frees led to this flush; called once it is done, where accounts are kept
 */
export function* flushTlbKernelRange(
  flushing: Flushing,
  start: number,
  end: number,
  cause: FlushCause = "call",
  paidFor?: (accounts: FlushAccounts, record: FlushRecord) => void,
): KernelCode<void> {
  const full = end === ADDRESS_MAX || end - start > flushing.ceilingPages * PAGE_SIZE;
  flushing.events?.flushRange(start, end, full);
  if (full) flushing.fullFlushes++;
  else flushing.rangeFlushes++;
  flushing.probes?.enter("flush_tlb_kernel_range", [start, end]);
  const record = yield* flushEverywhere(flushing, start, end, full, cause);
  flushing.probes?.exit("flush_tlb_kernel_range", 0, CALLERS[cause]);
  const { accounts } = flushing;
  if (accounts !== null && record !== null) paidFor?.(accounts, record);
}

/**
 * Flushes what is owed for pages that were taken out of page tables: the second half of `vunmap_range`.
 * @param debts those of the page tables that the pages were in
 */
export function flushOwed(
  flushing: Flushing,
  debts: OwedFlushes,
  owed: OwedFlush,
  cause: FlushCause = "call",
  paidFor?: (accounts: FlushAccounts, record: FlushRecord) => void,
): KernelCode<void> {
  const start = debts.startOf(owed);
  const end = debts.endOf(owed);
  debts.settle(owed, start, end);
  return flushTlbKernelRange(flushing, start, end, cause, paidFor);
}

/** Flushes every TLB whole, global entries included. */
export function* flushTlbAll(flushing: Flushing, cause: FlushCause = "call"): KernelCode<void> {
  flushing.events?.flushAll();
  flushing.fullFlushes++;
  flushing.vmstat.remoteFlush++;
  flushing.probes?.enter("flush_tlb_all", []);
  yield* flushEverywhere(flushing, 0, ADDRESS_MAX, true, cause);
  flushing.probes?.exit("flush_tlb_all", 0, CALLERS[cause]);
}

/**
 * Flushes what is owed for kernel page tables that were taken out (`pmd_free_pte_page`, `pud_free_pmd_page`): one page, whose INVLPG
 * drops what the paging-structure caches hold for the PCID that each CPU has loaded; whole TLBs, of every PCID, where the setting
 * says so.
 * @param debts those of the page tables that the tables were in
 */
export function* flushFreedTables(flushing: Flushing, debts: OwedFlushes, owed: OwedFlush): KernelCode<void> {
  if (!flushing.flushFreedTables) return yield* flushOwed(flushing, debts, owed, "table freed");
  debts.waive(owed);
  yield* flushTlbAll(flushing, "table freed");
}

function* flushEverywhere(
  flushing: Flushing,
  start: number,
  end: number,
  full: boolean,
  cause: FlushCause,
): KernelCode<FlushRecord | null> {
  const { accounts, policy, vmstat } = flushing;
  const record = accounts === null ? null : accounts.begin(cause, policy.name, start, end, full);
  const wholeTlb = (cpu: number): void => {
    vmstat.remoteFlushReceived++;
    flushing.machine.loop.spend(flushing.costs.localCycles);
    flushing.machine.cpus[cpu].flushTlbAll();
  };
  const pages = (cpu: number): void => {
    flushing.machine.loop.spend(flushing.costs.localCycles);
    for (let la = start; la < end; la += PAGE_SIZE) {
      vmstat.localFlushOne++;
      flushing.machine.cpus[cpu].invlpg(la);
      flushing.afterKernelPage?.(cpu, la, record);
    }
  };
  const inItsName = (invalidate: (cpu: number) => void): ((cpu: number) => void) =>
    accounts === null || record === null ? invalidate : (cpu) => accounts.attributed(record, cpu, invalidate);
  const invalidateAll = inItsName(wholeTlb);
  const invalidate = full ? invalidateAll : inItsName(pages);
  bookWork(flushing.machine.loop, record, () => flushing.machine.loop.spend(flushing.costs.callCycles));
  const covered = flushing.unflushed?.coveredBy(start, end, full);
  yield* policy.flush(flushing, { start, end, full, invalidate, invalidateAll, record });
  if (covered !== undefined) flushing.unflushed?.flushed(covered);
  return record;
}
