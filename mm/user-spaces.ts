/**
 * User address spaces on the emulated CPUs: context switches with ASIDs, lazy TLB mode, and flushes that reach only the CPUs
 * that need them (`arch/x86/mm/tlb.c` of Linux 6.12: `switch_mm_irqs_off`, `enter_lazy_tlb`, `flush_tlb_func`,
 * `flush_tlb_mm_range`).
 */
import { CR4_PCIDE } from "../arch/control-registers.ts";
import { ACTIVITY_FLUSH } from "../arch/cycle-accounts.ts";
import type { KernelCode } from "../arch/event-loop.ts";
import { PAGE_SIZE } from "../arch/linear-address.ts";
import type { FlushRecord } from "./flush-accounts.ts";
import { GFP_KERNEL } from "./gfp.ts";
import { MmStruct } from "./mm-struct.ts";
import { FRAME_PAGE_TABLE } from "./page-allocator.ts";
import { PageTables } from "./page-tables.ts";
import { TlbState } from "./tlb-state.ts";
import { INIT_CTX_ID, kernelPcid, userPcid } from "./user-pcids.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/** The end of a flush without bounds (`TLB_FLUSH_ALL`). */
export const TLB_FLUSH_ALL = Number.POSITIVE_INFINITY;

/** Where the user half ends. */
const USER_END = 2 ** 47;

/** Why a TLB was flushed (`enum tlb_flush_reason`), as the tracepoint `tlb:tlb_flush` numbers it. */
export const TLB_FLUSH_ON_TASK_SWITCH = 0;
export const TLB_REMOTE_SHOOTDOWN = 1;
export const TLB_LOCAL_SHOOTDOWN = 2;
export const TLB_LOCAL_MM_SHOOTDOWN = 3;
export const TLB_REMOTE_SEND_IPI = 4;

/** Sees flushes of user translations. Only looks. */
export interface TlbFlushObserver {
  /** `tlb:tlb_flush`: `pages` is -1 for a whole TLB (of one address space). */
  tlbFlush(cpu: number, reason: number, pages: number): void;
}

/** A flush of one address space (`struct flush_tlb_info`). */
interface MmFlush {
  readonly mm: MmStruct;
  readonly start: number;
  readonly end: number;
  readonly tlbGen: number;
  readonly freedTables: boolean;
  readonly initiator: number;
  readonly record: FlushRecord | null;
}

/** All address spaces of a machine, and which CPU runs on which. Making one turns PCIDs on where the CPU has them. */
export class UserSpaces {
  readonly state: Vmalloc;
  /** The kernel's own. */
  readonly initMm: MmStruct;
  readonly usesPcids: boolean;
  /** Whether user mode runs on page tables without the kernel (page-table isolation). */
  readonly isolation: boolean;
  /** TLB state of each CPU. */
  readonly tlbStates: readonly TlbState[];
  /** The address space that each CPU has loaded. */
  readonly loaded: MmStruct[];
  /** Shootdown interrupts taken by each CPU (` TLB:` of `/proc/interrupts`). */
  readonly shootdowns: Float64Array;
  observer: TlbFlushObserver | null = null;
  private lastCtxId = INIT_CTX_ID;

  constructor(state: Vmalloc, usesPcids: boolean = state.machine.features.pcid) {
    const { machine, flushing } = state;
    const cpus = machine.cpus.length;
    this.state = state;
    this.isolation = flushing.isolation;
    this.usesPcids = usesPcids;
    this.initMm = new MmStruct(INIT_CTX_ID, state.tables, 0, state.loop, state.costs.lock);
    this.tlbStates = machine.cpus.map(() => new TlbState());
    this.loaded = machine.cpus.map(() => this.initMm);
    this.shootdowns = new Float64Array(cpus);
    for (const cpu of machine.cpus) {
      if (usesPcids) cpu.writeCr4(cpu.cr4 + CR4_PCIDE);
      cpu.writeCr3(this.cr3Of(this.initMm, 0));
    }
    flushing.afterKernelPage = (cpu, la) => this.afterKernelPage(cpu, la);
    flushing.userMode.onEnterUser = (cpu) => this.toUserTables(cpu);
    flushing.userMode.onEnterKernel = (cpu) => this.toKernelTables(cpu);
  }

  /**
   * A new, empty address space (`mm_alloc`).
   * @throws RangeError when there is no memory for its top tables
   */
  makeMm(): MmStruct {
    const { machine, pages, faults, log, loop, tables: kernelTables } = this.state;
    const tables = new PageTables(machine.memory, pages, faults, log, loop, kernelTables.levels);
    let userRoot = 0;
    if (this.isolation) {
      userRoot = pages.allocPages(loop.currentCpu, 0, FRAME_PAGE_TABLE, GFP_KERNEL);
      if (userRoot === 0) {
        pages.freePagesOf(loop.currentCpu, tables.rootFrame, 0);
        throw new RangeError("no memory for the top page table of user mode");
      }
      machine.memory.zeroFrame(userRoot);
    }
    const mm = new MmStruct(++this.lastCtxId, tables, userRoot, loop, this.state.costs.lock);
    mm.syncTopTables(machine.memory, kernelTables.rootFrame);
    return mm;
  }

  /** The current CPU goes on with a thread of `mm`, or with a kernel thread (null), which borrows what is loaded. */
  switchTo(mm: MmStruct | null): void {
    const cpu = this.state.loop.currentCpu;
    if (mm !== null) this.switchMm(cpu, mm);
    else if (this.loaded[cpu] !== this.initMm) this.tlbStates[cpu].isLazy = true;
  }

  /**
   * Flushes [start, end) of an address space wherever it may be cached (`flush_tlb_mm_range`); `TLB_FLUSH_ALL` as the end
   * flushes all of it. The caller has changed the page tables already.
   * @param freedTables whether page tables will be freed, so that CPUs in lazy mode must be told too
   */
  *flushTlbMmRange(mm: MmStruct, start: number, end: number, freedTables: boolean): KernelCode<void> {
    const { state } = this;
    const { loop, flushing, config, vmstat } = state;
    const all = end === TLB_FLUSH_ALL || end - start > config.flushCeilingPages * PAGE_SIZE;
    const self = loop.currentCpu;
    const tlbGen = ++mm.tlbGen;
    const record = flushing.accounts?.begin("user", "ipi", start, Math.min(end, USER_END), all) ?? null;
    const flush: MmFlush = {
      mm,
      start: all ? 0 : start,
      end: all ? TLB_FLUSH_ALL : end,
      tlbGen,
      freedTables,
      initiator: self,
      record,
    };
    const cpus = mm.cpus();
    if (cpus.some((cpu) => cpu !== self)) {
      vmstat.remoteFlush++;
      this.observer?.tlbFlush(self, TLB_REMOTE_SEND_IPI, all ? -1 : (end - start) / PAGE_SIZE);
      const targets = freedTables ? cpus : cpus.filter((cpu) => !this.tlbStates[cpu].isLazy);
      yield* flushing.smp.onEachCpuMask(targets, (cpu) => this.flushFunc(cpu, flush), record);
    } else if (this.loaded[self] === mm) {
      const began = loop.nowCycles();
      const activity = loop.enterActivity(ACTIVITY_FLUSH);
      this.flushFunc(self, flush);
      loop.enterActivity(activity);
      if (record !== null) record.workCycles += loop.nowCycles() - began;
    }
  }

  /** Puts `next` on the CPU (`switch_mm_irqs_off`). */
  private switchMm(cpu: number, next: MmStruct, record: FlushRecord | null = null): void {
    const tlb = this.tlbStates[cpu];
    const previous = this.loaded[cpu];
    const wasLazy = tlb.isLazy;
    tlb.isLazy = false;
    let asid = tlb.loadedAsid;
    let needFlush = true;
    if (previous === next) {
      if (!wasLazy || tlb.tlbGen[asid] === next.tlbGen) return;
    } else {
      if (previous !== this.initMm) previous.cpumask[cpu] = 0;
      if (next !== this.initMm) next.cpumask[cpu] = 1;
      ({ asid, needFlush } = tlb.chooseAsid(next.ctxId, next.tlbGen, this.usesPcids));
      this.loaded[cpu] = next;
      tlb.loadedCtxId = next.ctxId;
      tlb.loadedAsid = asid;
    }
    next.syncTopTables(this.state.machine.memory, this.state.tables.rootFrame);
    if (!needFlush) {
      this.state.machine.cpus[cpu].writeCr3(this.cr3Of(next, asid), true);
      return;
    }
    tlb.ctxId[asid] = next.ctxId;
    tlb.tlbGen[asid] = next.tlbGen;
    if (this.isolation) tlb.userFlushMask |= 1 << asid;
    this.loadFlushed(cpu, this.cr3Of(next, asid), record);
    this.observer?.tlbFlush(cpu, TLB_FLUSH_ON_TASK_SWITCH, -1);
  }

  /** What each CPU does for a flush (`flush_tlb_func`). */
  private flushFunc(cpu: number, flush: MmFlush): void {
    const { vmstat } = this.state;
    const tlb = this.tlbStates[cpu];
    const isLocal = cpu === flush.initiator;
    if (!isLocal) {
      this.shootdowns[cpu]++;
      vmstat.remoteFlushReceived++;
      if (this.loaded[cpu] !== flush.mm) return;
    }
    if (this.loaded[cpu] === this.initMm) return;
    if (tlb.isLazy) {
      // Cheaper than to flush now and again: the CPU leaves the address space that it only borrowed.
      this.switchMm(cpu, this.initMm, flush.record);
      return;
    }
    const asid = tlb.loadedAsid;
    const upTo = flush.mm.tlbGen;
    const have = tlb.tlbGen[asid];
    if (have === upTo || flush.tlbGen <= have) return;
    const partly = flush.end !== TLB_FLUSH_ALL && flush.tlbGen === have + 1 && flush.tlbGen === upTo;
    const invalidate = partly ? () => this.flushPages(cpu, flush) : () => this.flushAsid(cpu);
    const { accounts } = this.state.flushing;
    if (accounts === null || flush.record === null) invalidate();
    else accounts.attributed(flush.record, cpu, invalidate);
    const pages = (flush.end - flush.start) / PAGE_SIZE;
    if (isLocal && partly) vmstat.localFlushOne += pages;
    if (isLocal && !partly) vmstat.localFlushAll++;
    tlb.tlbGen[asid] = upTo;
    const reason = isLocal ? TLB_LOCAL_MM_SHOOTDOWN : TLB_REMOTE_SHOOTDOWN;
    this.observer?.tlbFlush(cpu, reason, partly ? pages : -1);
  }

  private flushPages(cpu: number, { start, end }: MmFlush): void {
    for (let la = start; la < end; la += PAGE_SIZE) {
      this.state.machine.cpus[cpu].invlpg(la);
      this.flushInUserPcid(cpu, la);
    }
  }

  /** All of the loaded address space: MOV to CR3, and later the same for user mode's PCID (`flush_tlb_local`). */
  private flushAsid(cpu: number): void {
    const tlb = this.tlbStates[cpu];
    if (this.isolation) tlb.userFlushMask |= 1 << tlb.loadedAsid;
    const { [cpu]: target } = this.state.machine.cpus;
    target.writeCr3(target.cr3);
  }

  /** The page in the PCID that the same address space has in user mode (`flush_tlb_one_user`). */
  private flushInUserPcid(cpu: number, la: number): void {
    if (!this.isolation) return;
    const tlb = this.tlbStates[cpu];
    if (this.usesPcids && this.state.machine.features.invpcid) {
      this.state.machine.cpus[cpu].invpcid(0, userPcid(tlb.loadedAsid), la);
    } else {
      tlb.userFlushMask |= 1 << tlb.loadedAsid;
    }
  }

  /** A kernel page has been flushed: without global entries other ASIDs may still have it (`flush_tlb_one_kernel`). */
  private afterKernelPage(cpu: number, la: number): void {
    if (!this.isolation) return;
    this.flushInUserPcid(cpu, la);
    this.tlbStates[cpu].invalidateOther = true;
  }

  /** The exit to user mode: its own page tables, flushed if that is still owed (`SWITCH_TO_USER_CR3`). */
  private toUserTables(cpu: number): void {
    const mm = this.loaded[cpu];
    if (!this.isolation || mm === this.initMm) return;
    const tlb = this.tlbStates[cpu];
    const asid = tlb.loadedAsid;
    const owed = (tlb.userFlushMask & (1 << asid)) !== 0;
    tlb.userFlushMask &= ~(1 << asid);
    const cr3 = mm.userRootFrame * PAGE_SIZE + (this.usesPcids ? userPcid(asid) : 0);
    this.state.machine.cpus[cpu].writeCr3(cr3, this.usesPcids && !owed);
  }

  private toKernelTables(cpu: number): void {
    const mm = this.loaded[cpu];
    if (!this.isolation || mm === this.initMm) return;
    this.state.machine.cpus[cpu].writeCr3(this.cr3Of(mm, this.tlbStates[cpu].loadedAsid), this.usesPcids);
  }

  /** MOV to CR3 that flushes: a flush of its own, or part of that whose handler makes the CPU change over. */
  private loadFlushed(cpu: number, cr3: number, within: FlushRecord | null): void {
    const { loop, flushing, machine } = this.state;
    const { accounts } = flushing;
    const load = () => machine.cpus[cpu].writeCr3(cr3);
    if (accounts === null) {
      load();
    } else if (within !== null) {
      accounts.attributed(within, cpu, load);
    } else {
      const record = accounts.begin("context switch", "ipi", 0, USER_END, true);
      const began = loop.nowCycles();
      const activity = loop.accounts.enter(cpu, ACTIVITY_FLUSH);
      accounts.attributed(record, cpu, load);
      loop.accounts.enter(cpu, activity);
      record.workCycles += loop.nowCycles() - began;
    }
  }

  private cr3Of(mm: MmStruct, asid: number): number {
    return mm.tables.rootFrame * PAGE_SIZE + (this.usesPcids ? kernelPcid(asid) : 0);
  }
}
