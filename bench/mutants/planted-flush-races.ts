/** Bugs of concurrency planted in flushes, calls of other CPUs, locks and user address spaces. */
import type { PlantedRace } from "./planted-race.ts";

/** All of them. */
export const PLANTED_FLUSH_RACES: readonly PlantedRace[] = [
  {
    name: "the sender of a call does not wait when it has one target only",
    file: "mm/kernel/smp.ts",
    search: "    if (request === null) return;\n",
    replacement: "    if (request === null || request.targets.length === 1) return;\n",
  },
  {
    name: "an interrupt handler runs only the first call on its queue",
    file: "mm/kernel/smp.ts",
    search: "    const requests = this.queues[cpu].splice(0);",
    replacement: "    const requests = this.queues[cpu].splice(0, 1);",
  },
  {
    name: "on_each_cpu_mask leaves out the CPU that calls",
    file: "mm/kernel/smp.ts",
    search: "handler, mask.includes(this.loop.currentCpu), bill);",
    replacement: "handler, false, bill);",
  },
  {
    name: "a call counts as done when one target has run it",
    file: "mm/kernel/smp.ts",
    search: "if (--request.outstanding === 0) loop.wake(",
    replacement: "if (--request.outstanding >= 0) loop.wake(",
  },
  {
    name: "flush_tlb_mm_range reads mm_cpumask before it counts tlb_gen up",
    file: "mm/user/user-flush.ts",
    search: '  mm.tlbGen++;\n  spaces.kernel.loop.point("flush_tlb_mm_range: tlb_gen is counted up");',
    replacement:
      '  const early = mm.cpus();\n  mm.cpus = () => early;\n  mm.tlbGen++;\n  spaces.kernel.loop.point("flush_tlb_mm_range: tlb_gen is counted up");',
  },
  {
    name: "flush_tlb_mm_range counts tlb_gen up only after the flush was sent",
    file: "mm/user/user-flush.ts",
    search: '  mm.tlbGen++;\n  spaces.kernel.loop.point("flush_tlb_mm_range: tlb_gen is counted up");',
    replacement: '  spaces.kernel.loop.point("flush_tlb_mm_range: tlb_gen is counted up");',
  },
  {
    name: "CPUs in lazy mode are passed over although an ASID is in transition or tables are freed",
    file: "mm/user/user-flush.ts",
    search: "    return tellsAll ? cpus : spaces.notLazy(cpus);",
    replacement: "    return tellsAll && false ? cpus : spaces.notLazy(cpus);",
  },
  {
    name: "flush_tlb_func flushes a range although it has missed other flushes",
    file: "mm/user/flush-tlb-func.ts",
    search: "flush.end !== TLB_FLUSH_ALL && flush.tlbGen === have + 1 && flush.tlbGen === upTo;",
    replacement: "flush.end !== TLB_FLUSH_ALL;",
  },
  {
    name: "flush_tlb_func notes a generation that it reads after the flush",
    file: "mm/user/flush-tlb-func.ts",
    search: "  tlb.tlbGen[asid] = upTo;",
    replacement: "  tlb.tlbGen[asid] = flush.mm.tlbGen;",
  },
  {
    name: "flush_tlb_func takes a flush of its own generation for done",
    file: "mm/user/flush-tlb-func.ts",
    search: "  if (have === upTo || flush.tlbGen <= have) return;",
    replacement: "  if (have === upTo || flush.tlbGen <= have + 1) return;",
  },
  {
    name: "flush_tlb_func notes the generation although a lazy CPU has not flushed",
    file: "mm/user/flush-tlb-func.ts",
    search:
      "    spaces.switchMmIrqsOff(cpu, spaces.initMm, flush.record);\n    return;\n  }\n  const asid = tlb.loadedAsid;",
    replacement: "    tlb.tlbGen[tlb.loadedAsid] = flush.mm.tlbGen;\n    return;\n  }\n  const asid = tlb.loadedAsid;",
  },
  {
    name: "switch_mm_irqs_off reads tlb_gen while the CPU is still lazy",
    file: "mm/user/user-spaces.ts",
    search: "    tlb.isLazy = false;\n    if (wasLazy) loop.lines.write(this.lazyLine + cpu);\n",
    replacement:
      '    const early = next.tlbGen;\n    loop.pointIrqsOff("early");\n    tlb.isLazy = false;\n    if (wasLazy && previous === next && tlb.tlbGen[tlb.loadedAsid] === early) return;\n',
  },
  {
    name: "choose_new_asid takes an ASID that is behind for current",
    file: "mm/user/tlb-state.ts",
    search: "return { asid, needFlush: this.tlbGen[asid] < tlbGen };",
    replacement: "return { asid, needFlush: this.tlbGen[asid] < tlbGen - 1 };",
  },
  {
    name: "choose_new_asid takes an ASID that another address space had without a flush",
    file: "mm/user/tlb-state.ts",
    search: "    return { asid: this.nextAsid++, needFlush: true };",
    replacement:
      "    const asid = this.nextAsid++;\n    const needFlush = this.ctxId[asid] <= INIT_CTX_ID;\n    if (!needFlush) {\n      this.ctxId[asid] = ctxId;\n      this.tlbGen[asid] = tlbGen;\n    }\n    return { asid, needFlush };",
  },
  {
    name: "flush_tlb_local forgets the PCID of user mode",
    file: "mm/user/user-spaces.ts",
    search: "    if (this.isolation) this.invalidateUserAsid(cpu, this.tlbStates[cpu].loadedAsid, record);\n",
    replacement: "",
  },
  {
    name: "flush_tlb_func flushes pages in the kernel's PCID only",
    file: "mm/user/flush-tlb-func.ts",
    search: "    spaces.flushTlbOneUser(cpu, la, record);\n",
    replacement: "",
  },
  {
    name: "zap_pte_range has the flush cover its first page only",
    file: "mm/user/unmap.ts",
    search: "    last = Math.min(end, cursor.end);\n",
    replacement: "    if (pages === 1) last = Math.min(end, cursor.end);\n",
  },
  {
    name: "munmap gives mmap_lock back before it frees",
    file: "mm/user/user-map.ts",
    search:
      '  yield* freePgtables(gather, start, end);\n  yield* gather.tlbFinishMmu();\n  spaces.kernel.usePath?.("unmap end");\n  yield* mmapEndUnmap(mm, range);',
    replacement:
      '  yield* freePgtables(gather, start, end);\n  yield* mmapEndUnmap(mm, range);\n  yield* gather.tlbFinishMmu();\n  spaces.kernel.usePath?.("unmap end");',
  },
  {
    name: "munmap frees pages one line before the flush",
    file: "mm/user/mmu-gather.ts",
    search: "    if (tables === null) yield* this.tlbFlush(owed);\n",
    replacement:
      '    if (this.cause === "munmap") this.freeFrames(this.frames.splice(0));\n    if (tables === null) yield* this.tlbFlush(owed);\n',
  },
  {
    name: "munmap tells no lazy CPU that it frees page tables",
    file: "mm/user/mmu-gather.ts",
    search: "    const freedTables = this.fullmm || this.isNested || tables !== null;",
    replacement: "    const freedTables = this.fullmm || this.isNested;",
  },
  {
    name: "mprotect gives mmap_lock back before its flush",
    file: "mm/user/user-map.ts",
    search:
      '  if (changed > 0 || isNested) yield* flushOwedOfMm(spaces, mm, owed, isNested, "mprotect");\n  else debts.waive(owed);\n  decTlbFlushPending(spaces, mm);\n  spaces.kernel.usePath?.("mprotect end");\n  mmapWriteUnlock(mm);',
    replacement:
      '  mmapWriteUnlock(mm);\n  if (changed > 0 || isNested) yield* flushOwedOfMm(spaces, mm, owed, isNested, "mprotect");\n  else debts.waive(owed);\n  decTlbFlushPending(spaces, mm);',
  },
  {
    name: "mprotect does not flush",
    file: "mm/user/user-map.ts",
    search:
      '  if (changed > 0 || isNested) yield* flushOwedOfMm(spaces, mm, owed, isNested, "mprotect");\n  else debts.waive(owed);',
    replacement: "  debts.waive(owed);",
  },
  {
    name: "mremap gives the page tables' lock back before it moves",
    file: "mm/user/mremap.ts",
    search: "  const moved = movePtes(kernel, mm, start, end, newStart, owed);",
    replacement:
      "  mm.pageTableLock.release();\n  const moved = movePtes(kernel, mm, start, end, newStart, owed);\n  if (!mm.pageTableLock.tryTake()) yield* mm.pageTableLock.take();",
  },
  {
    name: "mremap gives both locks back before its flush",
    file: "mm/user/mremap.ts",
    search: "  const { mremapReleasesBeforeFlush } = kernel.bugs;",
    replacement: "  const mremapReleasesBeforeFlush = true;",
  },
  {
    name: "mmdrop does not look whether a CPU still borrows the address space",
    file: "mm/user/lazy-tlb.ts",
    search: "  if (!mm.hasEnded || spaces.loaded.includes(mm)) return;",
    replacement: "  if (!mm.hasEnded) return;",
  },
  {
    name: "the policy invlpgb does not wait for its broadcasts",
    file: "mm/flush/broadcast-flush.ts",
    search: "  invalidations.tlbsync();\n",
    replacement: "",
  },
  {
    name: "the policy invlpgb forgets global entries",
    file: "mm/flush/flush-policy.ts",
    search: "    broadcastFlush(context, record, [{ start, end, full, includeGlobals: true }]);",
    replacement: "    broadcastFlush(context, record, [{ start, end, full, includeGlobals: false }]);",
  },
  {
    name: "the policy invlpgb does not interrupt CPUs that have not gone over to the global ASID",
    file: "mm/flush/flush-policy.ts",
    search: "    broadcastFlush(context, record, broadcasts);\n    yield* request.finishAsidTransition();\n",
    replacement: "    broadcastFlush(context, record, broadcasts);\n",
  },
  {
    name: "the policy eager gives vmlist_lock back before it flushes",
    file: "mm/flush/flush-policy.ts",
    search: "    yield* smp.onEachCpu(invalidate, record);\n    vmlistLock.release();",
    replacement: "    vmlistLock.release();\n    smp.onEachCpu(invalidate, record);",
  },
  {
    name: "the policy deferred puts flushes off for CPUs that are in the kernel",
    file: "mm/flush/user-mode.ts",
    search: "return this.inUser[cpu] !== 0 && this.isolated[cpu] !== 0;",
    replacement: "return this.isolated[cpu] !== 0;",
  },
  {
    name: "flush_tlb_func does not look whether the address space is loaded",
    file: "mm/user/flush-tlb-func.ts",
    search: "  if (spaces.loaded[cpu] !== flush.mm && (!isLocal || policy.globalAsidsFollowCpumask === true)) {",
    replacement: "  if ((false as boolean) && (!isLocal || policy.globalAsidsFollowCpumask === true)) {",
  },
  {
    name: "unmap_mapping_range takes pages out without the lock of the page tables",
    file: "mm/user/mremap.ts",
    search: "  yield* unmapVmas(gather, start, end, mm.pageTableLock);",
    replacement: "  yield* unmapVmas(gather, start, end);",
  },
  {
    name: "a CPU that comes back from user mode forgets what it owes",
    file: "mm/flush/user-mode.ts",
    search: "    flush(cpu);\n",
    replacement: "",
  },
  {
    name: "the policy deferred looks who is in user mode before others may act",
    file: "mm/flush/flush-policy.ts",
    search:
      "    while (loop.mustYield()) yield PAUSE_TURN;\n    const now: number[] = [];\n    for (const cpu of allCpus(loop.cpus)) {\n      if (cpu === loop.currentCpu || !userMode.canDefer(cpu)) {",
    replacement:
      "    const early = allCpus(loop.cpus).map((cpu) => userMode.canDefer(cpu));\n    while (loop.mustYield()) yield PAUSE_TURN;\n    const now: number[] = [];\n    for (const cpu of allCpus(loop.cpus)) {\n      if (cpu === loop.currentCpu || !early[cpu]) {",
  },
  {
    name: "the policy rar does not wait for its targets",
    file: "mm/flush/rar.ts",
    search: "    if (call.outstanding > 0) yield PAUSE_SPIN;\n",
    replacement: "    yield PAUSE_TURN;\n",
  },
  {
    name: "do_anonymous_page does not look again whether the page is there",
    file: "mm/user/page-fault.ts",
    search: "  if (mm.tables.cursor.seek(start) !== 1 || !mm.tables.cursor.isLeaf) {",
    replacement: "  mm.tables.cursor.seek(start);\n  {",
  },
  {
    name: "exit_mmap says that the address space has ended before it is unmapped",
    file: "mm/user/user-map.ts",
    search: '  const gather = new MmuGather(spaces, mm, "exit");\n',
    replacement: '  const gather = new MmuGather(spaces, mm, "exit");\n  mm.hasEnded = true;\n',
  },
  {
    name: "clear_asid_other clears nothing",
    file: "mm/user/tlb-state.ts",
    search:
      "    for (let asid = 0; asid < DYNAMIC_ASIDS; asid++) if (asid !== this.loadedAsid) this.ctxId[asid] = 0;\n",
    replacement: "",
  },
  {
    name: "flush_tlb_one_kernel does not say that other ASIDs are stale",
    file: "mm/user/user-spaces.ts",
    search: "    this.tlbStates[cpu].invalidateOther = true;\n",
    replacement: "",
  },
  {
    name: "a lock with waiters is free for a moment when it is handed over",
    file: "mm/kernel/lock.ts",
    search: "    if (this.queue.length === 0) this.held = false;\n    else this.handOver(this.freeAtCycles);",
    replacement: "    this.held = false;\n    if (this.queue.length > 0) this.handOver(this.freeAtCycles);",
  },
  {
    name: "flush_work does not wait for work that has not begun",
    file: "mm/kernel/work.ts",
    search: "    while (this.worker !== null) {\n",
    replacement: "    while (this.worker !== null && this.hasBegun) {\n",
  },
  {
    name: "a work item forgets that it was queued again while it ran",
    file: "mm/kernel/work.ts",
    search: "        yield* this.body();\n",
    replacement: "        yield* this.body();\n        this.pending = false;\n",
  },
  {
    name: "load_new_mm_cr3 forgets the PCID of user mode",
    file: "mm/user/user-spaces.ts",
    search: "    if (this.isolation) this.invalidateUserAsid(cpu, asid, record);\n",
    replacement: "",
  },
  {
    name: "the broadcast to a global ASID is left out",
    file: "mm/flush/flush-policy.ts",
    search: "    broadcastFlush(context, record, broadcasts);\n",
    replacement: "",
  },
  {
    name: "under the policy rar a CPU takes what it has under a global ASID for up to date",
    file: "mm/user/user-spaces.ts",
    search: "needFlush: followsCpumask && isNewCpu",
    replacement: "needFlush: false",
  },
  {
    name: "under the policy rar a CPU goes over to a global ASID without a flush",
    file: "mm/user/user-spaces.ts",
    search: "const isNewCpu = previous === next || next.cpumask[cpu] === 0;",
    replacement: "const isNewCpu = next.cpumask[cpu] === 0;",
  },
  {
    name: "finish_asid_transition waits only where no CPU has gone over to the global ASID yet",
    file: "mm/user/user-flush.ts",
    search: "mm.cpus().some(straggles)",
    replacement: "mm.cpus().every(straggles)",
  },
];
