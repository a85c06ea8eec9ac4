/**
 * What each CPU knows of the address spaces in its TLB (`struct tlb_state`, `arch/x86/mm/tlb.c` of Linux 6.12): which is
 * loaded, under which ASID each recent one is, and up to which generation its translations are valid.
 */
import { restoreArray } from "../../arch/isa/state-error.ts";
import type { FlushRecord } from "../flush/flush-accounts.ts";
import { INIT_CTX_ID } from "./user-pcids.ts";

/** Address spaces that a CPU's TLB can hold at once (`TLB_NR_DYN_ASIDS`). */
export const DYNAMIC_ASIDS = 6;

/** What one CPU knows; lists have an element for each of its own ASIDs. */
export interface TlbStateValues {
  readonly loadedCtxId: number;
  readonly loadedAsid: number;
  readonly isLazy: boolean;
  readonly invalidateOther: boolean;
  readonly asidCtxId: readonly number[];
  readonly asidTlbGen: readonly number[];
  readonly nextAsid: number;
  /** A bit for each ASID whose user PCID must be flushed before it is used. */
  readonly userFlushMask: number;
  /** The flush in whose name that will be done; 0 for none. */
  readonly userFlushFor: readonly number[];
}

/** State of one CPU. */
export class TlbState {
  /** The address space on which the CPU runs: its context id. */
  loadedCtxId = INIT_CTX_ID;
  loadedAsid = 0;
  /**
   * A switch to another address space has begun and CR3 is not written yet, or lazy mode is left and the generation is not read yet;
   * interrupts are off, and nothing of the loaded one is used.
   */
  isSwitching = false;
  /** A kernel thread runs on the last process's address space without using it. */
  isLazy = false;
  /** Kernel pages were flushed in the current ASID only; the others must go before they are used (page-table isolation). */
  invalidateOther = false;
  /** By ASID: whose it is (0 nobody's), and how far its translations are up to date. */
  readonly ctxId = new Float64Array(DYNAMIC_ASIDS);
  readonly tlbGen = new Float64Array(DYNAMIC_ASIDS);
  private nextAsid = 1;
  /** ASIDs whose user PCID must be flushed when user mode is next entered (`user_pcid_flush_mask`), and for which flush. */
  private userFlushMask = 0;
  private readonly userFlushFor: (FlushRecord | null)[] = [];

  constructor() {
    this.ctxId[0] = INIT_CTX_ID;
    this.tlbGen[0] = 1;
  }

  /**
   * The ASID for an address space, new or still held (`choose_new_asid`).
   * @returns whether what it held must be flushed
   */
  chooseNewAsid(ctxId: number, tlbGen: number, usesPcids: boolean): { asid: number; needFlush: boolean } {
    if (!usesPcids) return { asid: 0, needFlush: true };
    if (this.invalidateOther) this.clearAsidOther();
    for (let asid = 0; asid < DYNAMIC_ASIDS; asid++) {
      if (this.ctxId[asid] === ctxId) return { asid, needFlush: this.tlbGen[asid] < tlbGen };
    }
    if (this.nextAsid >= DYNAMIC_ASIDS) this.nextAsid = 0;
    return { asid: this.nextAsid++, needFlush: true };
  }

  /**
   * The user PCID of one of the CPU's own ASIDs is stale; under a global ASID nothing is owed, as broadcasts reach both.
   * @param record the flush in whose name it will be flushed; null when nobody keeps accounts
   */
  oweUserFlush(asid: number, record: FlushRecord | null): void {
    if (asid >= DYNAMIC_ASIDS) return;
    this.userFlushMask |= 1 << asid;
    this.userFlushFor[asid] = record;
  }

  /** Whether the user PCID of `asid` will be flushed before it is used. */
  owesUserFlush(asid: number): boolean {
    return asid < DYNAMIC_ASIDS && (this.userFlushMask & (1 << asid)) !== 0;
  }

  /** The user PCID of `asid` is about to be used: whether it must be flushed first, which is then done with. */
  payUserFlush(asid: number): { readonly owed: boolean; readonly record: FlushRecord | null } {
    if (asid >= DYNAMIC_ASIDS) return { owed: false, record: null };
    const owed = (this.userFlushMask & (1 << asid)) !== 0;
    const record = this.userFlushFor[asid] ?? null;
    this.userFlushMask &= ~(1 << asid);
    this.userFlushFor[asid] = null;
    return { owed, record };
  }

  /** Copies what the CPU knows, for saved states. */
  capture(): TlbStateValues {
    const { loadedCtxId, loadedAsid, isLazy, invalidateOther, nextAsid, userFlushMask } = this;
    return {
      loadedCtxId,
      loadedAsid,
      isLazy,
      invalidateOther,
      asidCtxId: [...this.ctxId],
      asidTlbGen: [...this.tlbGen],
      nextAsid,
      userFlushMask,
      userFlushFor: Array.from({ length: DYNAMIC_ASIDS }, (_, asid) => this.userFlushFor[asid]?.id ?? 0),
    };
  }

  /** Makes the CPU know what was captured. @param flushes records of flushes; that of number n is at n - 1 */
  restore(values: TlbStateValues, flushes: readonly FlushRecord[]): void {
    this.loadedCtxId = values.loadedCtxId;
    this.loadedAsid = values.loadedAsid;
    this.isLazy = values.isLazy;
    this.invalidateOther = values.invalidateOther;
    restoreArray("user address spaces", "ASIDs", this.ctxId, values.asidCtxId);
    restoreArray("user address spaces", "generations of ASIDs", this.tlbGen, values.asidTlbGen);
    this.nextAsid = values.nextAsid;
    this.userFlushMask = values.userFlushMask;
    values.userFlushFor.forEach((flush, asid) => {
      this.userFlushFor[asid] = flushes[flush - 1] ?? null;
    });
  }

  /** Everything but the loaded ASID is stale (`clear_asid_other`). */
  private clearAsidOther(): void {
    for (let asid = 0; asid < DYNAMIC_ASIDS; asid++) if (asid !== this.loadedAsid) this.ctxId[asid] = 0;
    this.invalidateOther = false;
  }
}
