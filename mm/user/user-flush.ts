/**
 * Flushes of user address spaces (`flush_tlb_mm_range`, `flush_tlb_multi` of Linux 6.12; `broadcast_tlb_flush`,
 * `consider_global_asid`, `finish_asid_transition` of Linux 6.15). How they reach other CPUs is the policy's choice
 * (`flush-policy.ts`); what a CPU does is `UserSpaces.flushTlbFunc`.
 */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { bookWork } from "../flush/booked-work.ts";
import { broadcastFlush } from "../flush/broadcast-flush.ts";
import type { FlushCause, FlushRecord } from "../flush/flush-accounts.ts";
import type { UserFlushRequest } from "../flush/flush-policy.ts";
import type { OwedFlush } from "../flush/owed-flush.ts";
import { TLB_FLUSH_ALL, TLB_REMOTE_SEND_IPI } from "../flush/tlb-flush-reasons.ts";
import { ADDRESS_MAX, USER_END } from "../lib/memory-layout.ts";
import type { AddressSpaces, FlushTlbInfo } from "./address-spaces.ts";
import { MM_LINE_CONTEXT, MM_LINE_CPUMASK, MM_LINES, type MmStruct, mmAddress } from "./mm-struct.ts";
import { kernPcid, userPcid } from "./user-pcids.ts";

/** An address space active on at least so many CPUs at once gets a global ASID. */
export const ACTIVE_CPUS_FOR_GLOBAL_ASID = 4;
/**
 * Only every 32nd remote flush of an address space asks for that. Linux asks in one of 32 timer ticks, chosen by the thread's
 * number: as often on average.
 */
export const CHECK_EVERY_FLUSHES = 32;

/** A flush of one address space, which policies carry to other CPUs. */
class UserFlush implements UserFlushRequest, FlushTlbInfo {
  readonly mm: MmStruct;
  readonly start: number;
  readonly end: number;
  readonly full: boolean;
  readonly tlbGen: number;
  readonly initiator: number;
  readonly record: FlushRecord | null;
  readonly invalidate: (cpu: number) => void;
  private readonly spaces: AddressSpaces;
  private readonly freedTables: boolean;
  /** Which of the address space's remote flushes this is; 0 while it has interrupted nobody. */
  private remoteFlush = 0;

  constructor(
    spaces: AddressSpaces,
    mm: MmStruct,
    start: number,
    end: number,
    freedTables: boolean,
    record: FlushRecord | null,
  ) {
    this.spaces = spaces;
    this.mm = mm;
    this.full = end === TLB_FLUSH_ALL;
    this.start = start;
    this.end = end;
    this.freedTables = freedTables;
    this.tlbGen = mm.tlbGen;
    this.initiator = spaces.kernel.loop.currentCpu;
    this.record = record;
    this.invalidate = (cpu) => spaces.flushTlbFunc(cpu, this);
  }

  /** CPUs in lazy mode catch up later, unless page tables are freed under them or they must change their ASID. */
  get cpus(): readonly number[] {
    const { mm, spaces } = this;
    spaces.mmLines.read(mm.ctxId * MM_LINES + MM_LINE_CPUMASK);
    const { bugs } = spaces.kernel;
    const all = mm.cpus();
    const cpus = bugs.flushSkipsSwitchingCpus ? all.filter((cpu) => spaces.loaded[cpu] === mm) : all;
    const freedTables = this.freedTables && !bugs.lazyCpusKeepFreedTables;
    const tellsAll = freedTables || mm.inAsidTransition;
    return tellsAll ? cpus : spaces.notLazy(cpus);
  }

  get cpumask(): readonly number[] {
    const { mm, spaces } = this;
    spaces.mmLines.read(mm.ctxId * MM_LINES + MM_LINE_CPUMASK);
    return mm.cpus();
  }

  globalPcids(): readonly number[] {
    const { globalAsid } = this.mm;
    if (globalAsid === 0) return [];
    return this.spaces.isolation ? [kernPcid(globalAsid), userPcid(globalAsid)] : [kernPcid(globalAsid)];
  }

  *nativeFlushTlbMulti(multi?: (cpus: readonly number[]) => KernelCode<void>): KernelCode<void> {
    const { spaces, mm, record } = this;
    const { loop, flushing } = spaces.kernel;
    const self = loop.currentCpu;
    if (mm.cpus().some((cpu) => cpu !== self)) {
      this.remoteFlush = ++mm.remoteFlushes;
      flushing.vmstat.remoteFlush++;
      flushing.tlbFlushObserver?.tlbFlush(
        self,
        TLB_REMOTE_SEND_IPI,
        this.full ? -1 : (this.end - this.start) / PAGE_SIZE,
      );
      yield* multi === undefined ? flushing.smp.onEachCpuMask(this.cpus, this.invalidate, record) : multi(this.cpus);
    } else if (spaces.loaded[self] === mm) {
      const offSince = loop.nowCycles();
      bookWork(loop, record, () => this.invalidate(self));
      loop.interruptsWereOff(offSince);
    }
  }

  *finishAsidTransition(): KernelCode<void> {
    const { mm, spaces } = this;
    if (!mm.inAsidTransition) return;
    const straggles = (cpu: number): boolean =>
      spaces.loaded[cpu] === mm && spaces.tlbStates[cpu].loadedAsid !== mm.globalAsid;
    if (mm.cpus().some(straggles)) yield* this.nativeFlushTlbMulti();
    else mm.inAsidTransition = false;
  }

  considerGlobalAsid(): void {
    const { mm, spaces } = this;
    // By this flush's own number: other CPUs have counted theirs while this one waited.
    if (mm.globalAsid !== 0 || this.remoteFlush === 0 || this.remoteFlush % CHECK_EVERY_FLUSHES !== 0) return;
    const active = mm.cpus().filter((cpu) => spaces.loaded[cpu] === mm && !spaces.tlbStates[cpu].isLazy);
    if (active.length < ACTIVE_CPUS_FOR_GLOBAL_ASID || !spaces.usesPcids) return;
    mm.globalAsid = spaces.globalAsids.allocateGlobalAsid(() => flushNonGlobals(spaces));
    mm.inAsidTransition = mm.globalAsid !== 0;
  }
}

/**
 * Flushes [start, end) of an address space wherever it may be cached (`flush_tlb_mm_range`); `TLB_FLUSH_ALL` as the end
 * flushes all of it. The caller has changed the page tables already.
 * @param freedTables whether page tables will be freed, so that CPUs in lazy mode must be told too
 */
export function* flushTlbMmRange(
  spaces: AddressSpaces,
  mm: MmStruct,
  start: number,
  end: number,
  freedTables: boolean,
  cause: FlushCause,
): KernelCode<void> {
  const { flushing } = spaces.kernel;
  const { policy, accounts, ceilingPages } = flushing;
  const all = end === TLB_FLUSH_ALL || end - start > ceilingPages * PAGE_SIZE;
  const upTo = Math.min(end, ADDRESS_MAX);
  flushing.probes?.enter("flush_tlb_mm_range", [mmAddress(mm), start, upTo, freedTables ? 1 : 0]);
  mm.tlbGen++;
  spaces.kernel.loop.point("flush_tlb_mm_range: tlb_gen is counted up");
  const record = accounts?.begin(cause, policy.name, start, Math.min(end, USER_END), all) ?? null;
  bookWork(spaces.kernel.loop, record, () => {
    spaces.kernel.loop.spend(flushing.costs.callCycles);
    spaces.mmLines.write(mm.ctxId * MM_LINES + MM_LINE_CONTEXT);
  });
  const flush = new UserFlush(spaces, mm, all ? 0 : start, all ? TLB_FLUSH_ALL : end, freedTables, record);
  if (policy.flushUser === undefined) yield* flush.nativeFlushTlbMulti();
  else yield* policy.flushUser(flushing, flush);
  flushing.probes?.exit("flush_tlb_mm_range", 0);
}

/**
 * Flushes what is owed for entries of an address space that were changed. Of one that ends, everything is flushed (`exit_mmap`).
 * @param freedTables whether page tables will be freed, so that CPUs in lazy mode must be told too
 */
export function flushOwedOfMm(
  spaces: AddressSpaces,
  mm: MmStruct,
  owed: OwedFlush,
  freedTables: boolean,
  cause: FlushCause,
): KernelCode<void> {
  const debts = mm.tables.owed;
  const start = debts.startOf(owed);
  const end = debts.endOf(owed);
  debts.settle(owed, start, end);
  return flushTlbMmRange(spaces, mm, start, cause === "exit" ? TLB_FLUSH_ALL : end, freedTables, cause);
}

/**
 * Before global ASIDs are used again nothing may be left of those that had them. Where a CPU flushes when it first runs an address
 * space under its global ASID nothing need be done (the RAR series calls `flush_tlb_all` all the same).
 */
function flushNonGlobals({ kernel }: AddressSpaces): void {
  const { flushing } = kernel;
  if (flushing.policy.globalAsidsFollowCpumask === true) return;
  const { accounts } = flushing;
  const record = accounts?.begin("ASIDs used up", flushing.policy.name, 0, USER_END, true) ?? null;
  broadcastFlush(flushing, record, [{ start: 0, end: USER_END, full: true, includeGlobals: false }]);
}
