/** What each CPU does for a flush of a user address space (`flush_tlb_func` of `arch/x86/mm/tlb.c`, Linux 6.12 and 6.15). */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { TLB_FLUSH_ALL, TLB_LOCAL_MM_SHOOTDOWN, TLB_REMOTE_SHOOTDOWN } from "../flush/tlb-flush-reasons.ts";
import type { FlushTlbInfo, LoadedSpaces } from "./address-spaces.ts";
import { isGlobalAsid, mmNeedsGlobalAsid } from "./global-asids.ts";

/** What each CPU does for a flush (`flush_tlb_func`). */
export function flushTlbFunc(spaces: LoadedSpaces, cpu: number, flush: FlushTlbInfo): void {
  spaces.kernel.loop.spend(spaces.kernel.costs.flush.localCycles);
  spaces.kernel.usePath?.("flush");
  spaces.readGeneration(flush.mm);
  const { vmstat, accounts, policy } = spaces.kernel.flushing;
  const tlb = spaces.tlbStates[cpu];
  const isLocal = cpu === flush.initiator;
  if (!isLocal) {
    spaces.shootdowns[cpu]++;
    vmstat.remoteFlushReceived++;
  }
  if (spaces.loaded[cpu] !== flush.mm && (!isLocal || policy.globalAsidsFollowCpumask === true)) {
    // The mask may have kept it.
    if (policy.globalAsidsFollowCpumask === true && flush.mm.cpumask[cpu] !== 0) spaces.setCpumask(flush.mm, cpu, 0);
    return;
  }
  if (spaces.loaded[cpu] === spaces.initMm) return;
  if (mmNeedsGlobalAsid(flush.mm, tlb.loadedAsid)) spaces.switchMmIrqsOff(cpu, flush.mm, flush.record);
  if (isGlobalAsid(tlb.loadedAsid)) {
    // Of these no generation is kept: everything goes, unless broadcasts have reached this CPU too.
    if (policy.globalAsidsFollowCpumask === true) flushGlobalAsid(spaces, cpu, flush);
    return;
  }
  if (tlb.isLazy) {
    // Cheaper than to flush now and again: the CPU leaves the address space that it only borrowed.
    spaces.switchMmIrqsOff(cpu, spaces.initMm, flush.record);
    return;
  }
  const asid = tlb.loadedAsid;
  const upTo = flush.mm.tlbGen;
  const have = tlb.tlbGen[asid];
  spaces.kernel.loop.pointIrqsOff("flush_tlb_func: tlb_gen is read");
  if (have === upTo || flush.tlbGen <= have) return;
  const partly = flush.end !== TLB_FLUSH_ALL && flush.tlbGen === have + 1 && flush.tlbGen === upTo;
  const invalidate = partly ? () => flushPages(spaces, cpu, flush) : () => spaces.flushTlbLocal(cpu, flush.record);
  if (accounts === null || flush.record === null) invalidate();
  else accounts.attributed(flush.record, cpu, invalidate);
  const pages = (flush.end - flush.start) / PAGE_SIZE;
  if (isLocal && partly) vmstat.localFlushOne += pages;
  if (isLocal && !partly) vmstat.localFlushAll++;
  tlb.tlbGen[asid] = upTo;
  const reason = isLocal ? TLB_LOCAL_MM_SHOOTDOWN : TLB_REMOTE_SHOOTDOWN;
  spaces.kernel.flushing.tlbFlushObserver?.tlbFlush(cpu, reason, partly ? pages : -1);
}

/** Flushes the global ASID that the CPU has loaded, whole. */
function flushGlobalAsid(spaces: LoadedSpaces, cpu: number, { record, initiator }: FlushTlbInfo): void {
  const { vmstat, accounts } = spaces.kernel.flushing;
  if (cpu === initiator) vmstat.localFlushAll++;
  if (accounts === null || record === null) spaces.flushTlbLocal(cpu, record);
  else accounts.attributed(record, cpu, () => spaces.flushTlbLocal(cpu, record));
  spaces.kernel.flushing.tlbFlushObserver?.tlbFlush(
    cpu,
    cpu === initiator ? TLB_LOCAL_MM_SHOOTDOWN : TLB_REMOTE_SHOOTDOWN,
    -1,
  );
}

function flushPages(spaces: LoadedSpaces, cpu: number, { start, end, record }: FlushTlbInfo): void {
  for (let la = start; la < end; la += PAGE_SIZE) {
    spaces.kernel.machine.cpus[cpu].invlpg(la);
    spaces.flushTlbOneUser(cpu, la, record);
    spaces.kernel.usePath?.("flush page");
  }
}
