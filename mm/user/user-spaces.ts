/**
 * User address spaces on the emulated CPUs: context switches with ASIDs, lazy TLB mode, and flushes that reach only the CPUs
 * that need them (`arch/x86/mm/tlb.c` of Linux 6.12: `switch_mm_irqs_off`, `enter_lazy_tlb`, `flush_tlb_func`,
 * `flush_tlb_mm_range`).
 */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { CR4_PCIDE } from "../../arch/isa/register-bits.ts";
import { ACTIVITY_FLUSH, ACTIVITY_INTERRUPT } from "../../arch/time/cycle-accounts.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import type { FlushCause, FlushRecord } from "../flush/flush-accounts.ts";
import { TLB_FLUSH_ON_TASK_SWITCH } from "../flush/tlb-flush-reasons.ts";
import { FRAME_PAGE_TABLE } from "../frames/frame-uses.ts";
import type { KernelMm } from "../kernel-mm.ts";
import { GFP_KERNEL_ACCOUNT } from "../lib/gfp.ts";
import { USER_END } from "../lib/memory-layout.ts";
import { NotEnoughMemory } from "../lib/not-enough-memory.ts";
import { PageTables } from "../page-tables/page-tables.ts";
import type { FlushTlbInfo, LoadedSpaces } from "./address-spaces.ts";
import { flushTlbFunc } from "./flush-tlb-func.ts";
import { GlobalAsids, isGlobalAsid, mmNeedsGlobalAsid } from "./global-asids.ts";
import { mmdrop } from "./lazy-tlb.ts";
import { Lru } from "./lru.ts";
import { MmLines } from "./mm-lines.ts";
import { MM_LINE_CONTEXT, MM_LINE_CPUMASK, MM_LINES, type MmStruct, mmAddress } from "./mm-struct.ts";
import { mmOf } from "./mmap-lock-use.ts";
import { SleepingThreads } from "./sleeping-threads.ts";
import { TlbState } from "./tlb-state.ts";
import { flushTlbMmRange } from "./user-flush.ts";
import { INIT_CTX_ID, kernPcid, userPcid } from "./user-pcids.ts";

/** All address spaces of a machine, and which CPU runs on which. Making one turns PCIDs on where the CPU has them. */
export class UserSpaces implements LoadedSpaces {
  /** What address spaces share with the kernel. */
  readonly kernel: KernelMm;
  /** The kernel's own. */
  readonly initMm: MmStruct;
  readonly usesPcids: boolean;
  /** Whether user mode runs on page tables without the kernel (page-table isolation). */
  readonly isolation: boolean;
  /** ASIDs that mean the same on every CPU; only a policy that broadcasts deals them out. */
  readonly globalAsids: GlobalAsids;
  /** TLB state of each CPU. */
  readonly tlbStates: readonly TlbState[];
  /** Those of processes that are there: made and not freed yet, in the order in which they were made. */
  readonly mms = new Set<MmStruct>();
  /** The address space that each CPU has loaded. */
  readonly loaded: MmStruct[];
  /** Lines that the CPUs of each address space share: `MM_LINES` from its context id times that on. */
  readonly mmLines: MmLines;
  /** The LRU lists of user pages. */
  readonly lru: Lru;
  /** Shootdown interrupts taken by each CPU (` TLB:` of `/proc/interrupts`). */
  readonly shootdowns: Float64Array;
  /** The number that the address space made last is known by. */
  lastCtxId = INIT_CTX_ID;
  private readonly sleepingThreads: SleepingThreads;
  /** The first of the CPUs' lines with `is_lazy` (`cpu_tlbstate_shared`). */
  private readonly lazyLine: number;

  /**
   * @param of the kernel's memory management, or what is built on it and names it, such as vmalloc (the form of 0.1.0)
   * @param pcids whether to use PCIDs; by default where the CPU has them
   */
  constructor(of: KernelMm | { readonly mm: KernelMm }, pcids?: boolean) {
    const kernel = "mm" in of ? of.mm : of;
    const { machine, flushing } = kernel;
    this.kernel = kernel;
    this.isolation = flushing.isolation;
    this.usesPcids = pcids ?? machine.features.pcid;
    this.globalAsids = new GlobalAsids(this.isolation);
    this.mmLines = new MmLines(kernel.loop.lines);
    this.initMm = mmOf(kernel, this.mmLines, INIT_CTX_ID, kernel.tables, 0);
    this.tlbStates = machine.cpus.map(() => new TlbState());
    this.loaded = machine.cpus.map(() => this.initMm);
    this.shootdowns = new Float64Array(machine.cpus.length);
    this.lru = new Lru(kernel);
    this.lazyLine = kernel.loop.lines.make(machine.cpus.length);
    for (const cpu of machine.cpus) {
      if (this.usesPcids && (cpu.cr4 & CR4_PCIDE) === 0) cpu.writeCr4(cpu.cr4 + CR4_PCIDE);
      cpu.writeCr3(this.cr3Of(this.initMm, 0));
    }
    kernel.userSpaces = this;
    this.sleepingThreads = new SleepingThreads(this);
    kernel.sleepObserver = this.sleepingThreads;
    kernel.tables.onTopEntry = () => this.syncLoaded();
    flushing.afterKernelPage = (cpu, la, record) => this.afterKernelPage(cpu, la, record);
    flushing.userMode.onEnterUser = (cpu) => this.toUserTables(cpu);
    flushing.userMode.onEnterKernel = (cpu) => this.toKernelTables(cpu);
  }

  /** The address spaces of a kernel: those that are there, or new ones. */
  static of(kernel: KernelMm): UserSpaces {
    return kernel.userSpaces instanceof UserSpaces ? kernel.userSpaces : new UserSpaces(kernel);
  }

  /**
   * A new, empty address space (`mm_alloc`).
   * @throws NotEnoughMemory when there is no memory for its top tables
   */
  mmAlloc(): MmStruct {
    const { machine, pages, faults, log, loop, tables: kernelTables } = this.kernel;
    const { levels } = kernelTables;
    const tables = new PageTables(machine.memory, pages, faults, log, loop, levels, undefined, GFP_KERNEL_ACCOUNT);
    let userRoot = 0;
    if (this.isolation) {
      userRoot = pages.allocPages(loop.currentCpu, 0, FRAME_PAGE_TABLE, GFP_KERNEL_ACCOUNT);
      if (userRoot === 0) {
        pages.freePagesOf(loop.currentCpu, tables.rootFrame, 0);
        throw new NotEnoughMemory("no memory for the top page table of user mode");
      }
      machine.memory.zeroFrame(userRoot);
    }
    const mm = mmOf(this.kernel, this.mmLines, ++this.lastCtxId, tables, userRoot).allocObject(this.kernel);
    mm.syncTopTables(machine.memory, kernelTables.rootFrame);
    this.mms.add(mm);
    return mm;
  }

  /** A new, empty address space. @deprecated the name in 0.1.0 of {@link mmAlloc} */
  makeMm(): MmStruct {
    return this.mmAlloc();
  }

  /** The current CPU goes on with a thread of `mm`, or with a kernel thread (null), which borrows what is loaded. */
  switchTo(mm: MmStruct | null): void {
    const cpu = this.kernel.loop.currentCpu;
    const previous = this.loaded[cpu];
    this.sleepingThreads.hasMm(mm);
    const { probes } = this.kernel.flushing;
    const call = mm === null ? "lazy_tlb" : "switch_mm";
    probes?.enter(call, [mmAddress(mm ?? previous)]);
    if (mm === null) this.enterLazyTlb(cpu);
    else this.switchMmIrqsOff(cpu, mm);
    probes?.exit(call, 0);
    mmdrop(this, previous);
  }

  /** The idle thread, or a kernel thread, borrows the address space that is loaded (`enter_lazy_tlb`). */
  enterLazyTlb(cpu: number): void {
    if (this.loaded[cpu] === this.initMm) return;
    this.tlbStates[cpu].isLazy = true;
    this.kernel.loop.lines.write(this.lazyLine + cpu);
  }

  /** The current CPU looks at whether each of `cpus` is in lazy mode. @returns those that are not (`tlb_is_not_lazy`) */
  notLazy(cpus: readonly number[]): readonly number[] {
    const { lines } = this.kernel.loop;
    for (const cpu of cpus) lines.read(this.lazyLine + cpu);
    return cpus.filter((cpu) => !this.tlbStates[cpu].isLazy);
  }

  /**
   * Flushes [start, end) of an address space wherever it may be cached (`flush_tlb_mm_range`); `TLB_FLUSH_ALL` as the end
   * flushes all of it. The caller has changed the page tables already.
   * @param freedTables whether page tables will be freed, so that CPUs in lazy mode must be told too
   * @param cause why, for the accounts
   */
  flushTlbMmRange(
    mm: MmStruct,
    start: number,
    end: number,
    freedTables: boolean,
    cause: FlushCause = "user",
  ): KernelCode<void> {
    return flushTlbMmRange(this, mm, start, end, freedTables, cause);
  }

  /**
   * Brings the kernel half of every loaded top table up to date (`sync_global_pgds`); others get it when they are loaded. What was not
   * present is in no TLB.
   */
  private syncLoaded(): void {
    const { machine, tables } = this.kernel;
    for (const mm of this.loaded) mm.syncTopTables(machine.memory, tables.rootFrame);
  }

  /** Puts `next` on the CPU (`switch_mm_irqs_off`). */
  switchMmIrqsOff(cpu: number, next: MmStruct, record: FlushRecord | null = null): void {
    const { loop } = this.kernel;
    const tlb = this.tlbStates[cpu];
    const previous = this.loaded[cpu];
    const wasLazy = tlb.isLazy;
    tlb.isLazy = false;
    if (wasLazy) loop.lines.write(this.lazyLine + cpu);
    let asid = tlb.loadedAsid;
    let needFlush = true;
    const followsCpumask = this.kernel.flushing.policy.globalAsidsFollowCpumask === true;
    if (previous === next && !mmNeedsGlobalAsid(next, asid)) {
      tlb.isSwitching = wasLazy;
      if (wasLazy) loop.pointIrqsOff("switch_mm_irqs_off: lazy mode is left");
      tlb.isSwitching = false;
      // Broadcasts keep translations under a global ASID up to date.
      if (isGlobalAsid(asid) || !wasLazy) return;
      this.readGeneration(next);
      if (tlb.tlbGen[asid] === next.tlbGen || this.kernel.bugs.lazySwitchWithoutGeneration) return;
    } else {
      tlb.isSwitching = true;
      // What a CPU of the mask has cached is kept up to date, so that it can stay there (Linux 6.14 on).
      const isNewCpu = previous === next || next.cpumask[cpu] === 0;
      const staysInMask = followsCpumask && isGlobalAsid(asid);
      if (previous !== this.initMm && previous !== next && !staysInMask) this.setCpumask(previous, cpu, 0);
      const { cpumaskAfterGeneration } = this.kernel.bugs;
      const entersMask = next !== this.initMm && previous !== next;
      // `cond_mitigation`. Linux also knows who ran before a CPU was made to leave an address space that ended.
      if (entersMask) loop.spend(this.kernel.flushing.mitigations.processSwitch);
      if (entersMask && !cpumaskAfterGeneration) this.setCpumask(next, cpu, 1);
      loop.pointIrqsOff("switch_mm_irqs_off: in mm_cpumask");
      this.readGeneration(next);
      ({ asid, needFlush } =
        next.globalAsid === 0
          ? tlb.chooseNewAsid(next.ctxId, next.tlbGen, this.usesPcids)
          : { asid: next.globalAsid, needFlush: followsCpumask && isNewCpu });
      loop.pointIrqsOff("switch_mm_irqs_off: tlb_gen is read");
      if (entersMask && cpumaskAfterGeneration) this.setCpumask(next, cpu, 1);
      this.loaded[cpu] = next;
      tlb.loadedCtxId = next.ctxId;
      tlb.loadedAsid = asid;
    }
    tlb.isSwitching = false;
    next.syncTopTables(this.kernel.machine.memory, this.kernel.tables.rootFrame);
    if (!needFlush) this.kernel.machine.cpus[cpu].writeCr3(this.cr3Of(next, asid), true);
    if (!needFlush) return;
    if (!isGlobalAsid(asid)) {
      tlb.ctxId[asid] = next.ctxId;
      tlb.tlbGen[asid] = next.tlbGen;
    }
    this.loadFlushed(cpu, this.cr3Of(next, asid), asid, record);
    this.kernel.flushing.tlbFlushObserver?.tlbFlush(cpu, TLB_FLUSH_ON_TASK_SWITCH, -1);
  }

  /** The current CPU reads the line of an address space's generation (`mm->context.tlb_gen`). */
  readGeneration({ ctxId }: MmStruct): void {
    this.mmLines.read(ctxId * MM_LINES + MM_LINE_CONTEXT);
  }

  /** Puts the CPU into the mask of an address space (1), or takes it out (0): the line is written only where that changes anything. */
  setCpumask(mm: MmStruct, cpu: number, value: number): void {
    const line = mm.ctxId * MM_LINES + MM_LINE_CPUMASK;
    if (mm.cpumask[cpu] === value) {
      this.mmLines.read(line);
      return;
    }
    mm.cpumask[cpu] = value;
    this.mmLines.write(line);
  }

  /** What each CPU does for a flush (`flush_tlb_func`). */
  flushTlbFunc(cpu: number, flush: FlushTlbInfo): void {
    flushTlbFunc(this, cpu, flush);
  }

  /** All of the loaded address space: MOV to CR3, and later the same for user mode's PCID (`flush_tlb_local`). */
  flushTlbLocal(cpu: number, record: FlushRecord | null): void {
    if (this.isolation) this.invalidateUserAsid(cpu, this.tlbStates[cpu].loadedAsid, record);
    const { [cpu]: target } = this.kernel.machine.cpus;
    target.writeCr3(target.cr3);
  }

  /**
   * What an ASID has cached in user mode is stale (`invalidate_user_asid`): flushed on the way there, or at once for a global ASID, for which
   * the mask of what is owed has no room.
   */
  private invalidateUserAsid(cpu: number, asid: number, record: FlushRecord | null): void {
    if (isGlobalAsid(asid)) this.kernel.machine.cpus[cpu].invpcid(1, userPcid(asid), 0);
    else this.tlbStates[cpu].oweUserFlush(asid, record);
  }

  /** The page in the PCID that the same address space has in user mode (`flush_tlb_one_user`). */
  flushTlbOneUser(cpu: number, la: number, record: FlushRecord | null): void {
    if (!this.isolation) return;
    const tlb = this.tlbStates[cpu];
    if (this.usesPcids && this.kernel.machine.features.invpcid) {
      this.kernel.machine.cpus[cpu].invpcid(0, userPcid(tlb.loadedAsid), la);
    } else {
      tlb.oweUserFlush(tlb.loadedAsid, record);
    }
  }

  /** A kernel page has been flushed: without global entries other ASIDs may still have it (`flush_tlb_one_kernel`). */
  private afterKernelPage(cpu: number, la: number, record: FlushRecord | null): void {
    if (!this.isolation) return;
    this.flushTlbOneUser(cpu, la, record);
    this.tlbStates[cpu].invalidateOther = true;
  }

  /**
   * The exit to user mode: its own page tables, flushed if that is still owed (`SWITCH_TO_USER_CR3`).
   * @returns cycles that are booked to a flush
   */
  private toUserTables(cpu: number): number {
    const mm = this.loaded[cpu];
    if (!this.isolation || mm === this.initMm) return 0;
    const tlb = this.tlbStates[cpu];
    const asid = tlb.loadedAsid;
    if (!this.usesPcids) return this.changeTablesWithoutPcids(cpu, mm.userRootFrame * PAGE_SIZE);
    const cr3 = mm.userRootFrame * PAGE_SIZE + userPcid(asid);
    const { owed, record } = tlb.payUserFlush(asid);
    const { accounts } = this.kernel.flushing;
    if (!owed || accounts === null || record === null) {
      this.kernel.machine.cpus[cpu].writeCr3(cr3, !owed);
      return 0;
    }
    const cycles = this.booked(cpu, ACTIVITY_INTERRUPT, record, cr3);
    record.paidLater(cpu, cycles);
    return cycles;
  }

  private toKernelTables(cpu: number): number {
    const mm = this.loaded[cpu];
    if (!this.isolation || mm === this.initMm) return 0;
    const cr3 = this.cr3Of(mm, this.tlbStates[cpu].loadedAsid);
    if (!this.usesPcids) return this.changeTablesWithoutPcids(cpu, cr3);
    this.kernel.machine.cpus[cpu].writeCr3(cr3, true);
    return 0;
  }

  /** Without PCIDs every change between the kernel's and user mode's tables is a flush of its own. */
  private changeTablesWithoutPcids(cpu: number, cr3: number): number {
    const { accounts, policy } = this.kernel.flushing;
    if (accounts === null) {
      this.kernel.machine.cpus[cpu].writeCr3(cr3);
      return 0;
    }
    const record = accounts.begin("isolation", policy.name, 0, USER_END, true, cpu);
    const cycles = this.booked(cpu, ACTIVITY_FLUSH, record, cr3);
    record.workCycles += cycles;
    return cycles;
  }

  /** MOV to CR3 that flushes in the name of `record`; its cycles, booked as `activity`. */
  private booked(cpu: number, activity: number, record: FlushRecord, cr3: number): number {
    const { loop, flushing, machine } = this.kernel;
    const began = loop.clockCycles[cpu];
    const outer = loop.accounts.enter(cpu, activity);
    flushing.accounts?.attributed(record, cpu, () => machine.cpus[cpu].writeCr3(cr3));
    loop.accounts.enter(cpu, outer);
    return loop.clockCycles[cpu] - began;
  }

  /** MOV to CR3 that flushes: a flush of its own, or part of that whose handler makes the CPU change over. */
  private loadFlushed(cpu: number, cr3: number, asid: number, within: FlushRecord | null): void {
    const { flushing, machine } = this.kernel;
    const { accounts, policy } = flushing;
    const record = within ?? accounts?.begin("context switch", policy.name, 0, USER_END, true, cpu) ?? null;
    if (this.isolation) this.invalidateUserAsid(cpu, asid, record);
    if (accounts === null || record === null) machine.cpus[cpu].writeCr3(cr3);
    else if (within !== null) accounts.attributed(within, cpu, () => machine.cpus[cpu].writeCr3(cr3));
    else record.workCycles += this.booked(cpu, ACTIVITY_FLUSH, record, cr3);
  }

  private cr3Of(mm: MmStruct, asid: number): number {
    return mm.tables.rootFrame * PAGE_SIZE + (this.usesPcids ? kernPcid(asid) : 0);
  }
}
