/**
 * Global ASIDs: each stands for one address space on every CPU, so that AMD's INVLPGB, which names a PCID, can flush it
 * everywhere (`arch/x86/mm/tlb.c` of Linux 6.15: `allocate_global_asid`, `reset_global_asid_space`, `mm_free_global_asid`).
 * They are dealt out in order; a freed one is not used again before all have been dealt out and everything was flushed.
 */
import { restoreArray } from "../../arch/isa/state-error.ts";
import type { MmStruct } from "./mm-struct.ts";
import { DYNAMIC_ASIDS } from "./tlb-state.ts";

/** ASIDs that PCIDs of 12 bits leave room for, 0 being nobody's PCID; half as many with page-table isolation. */
const ASIDS = 2 ** 12 - 2;
const ASIDS_ISOLATED = 2 ** 11 - 2;

/** Which global ASIDs are dealt out: an element an ASID. */
export interface GlobalAsidsState {
  /** 1 for one that is dealt out, or was and may still be in a TLB. */
  readonly used: Uint8Array;
  /** 1 for one that was given back and not flushed yet. */
  readonly freed: Uint8Array;
  /** The one dealt out last. */
  readonly last: number;
  readonly available: number;
}

/** The global ASIDs of a machine. */
export class GlobalAsids {
  /** Those that are neither in use nor freed since the last reset come from [first, end). */
  readonly first: number;
  readonly end: number;
  private readonly used: Uint8Array;
  private readonly freed: Uint8Array;
  private last: number;
  private available: number;

  /**
   * @param isolation whether page-table isolation takes half of the PCIDs
   * @param end one past the last ASID; by default all that there are
   */
  constructor(isolation: boolean, end: number = isolation ? ASIDS_ISOLATED : ASIDS) {
    this.first = DYNAMIC_ASIDS;
    this.end = end;
    this.used = new Uint8Array(end);
    this.freed = new Uint8Array(end);
    this.last = this.first - 1;
    this.available = end - this.first;
  }

  /**
   * An ASID that no TLB holds anything of, or 0 when all are in use.
   * @param flushAll removes everything but global translations from every TLB; called when ASIDs must be used again
   */
  allocateGlobalAsid(flushAll: () => void): number {
    if (this.available === 0) return 0;
    let asid = this.next();
    if (asid === this.end) {
      flushAll();
      for (let i = this.first; i < this.end; i++) if (this.freed[i] !== 0) this.used[i] = 0;
      this.freed.fill(0);
      this.last = this.first - 1;
      asid = this.next();
    }
    this.used[asid] = 1;
    this.last = asid;
    this.available--;
    return asid;
  }

  /** The address space of `asid` is no more. */
  free(asid: number): void {
    this.freed[asid] = 1;
    this.available++;
  }

  /** Copies which ASIDs are dealt out, for saved states. */
  capture(): GlobalAsidsState {
    const { used, freed, last, available } = this;
    return { used: used.slice(), freed: freed.slice(), last, available };
  }

  /** Deals out the ASIDs of a captured state. @throws StateError when there are more or fewer ASIDs */
  restore({ used, freed, last, available }: GlobalAsidsState): void {
    restoreArray("global ASIDs", "ASIDs in use", this.used, used);
    restoreArray("global ASIDs", "ASIDs freed", this.freed, freed);
    this.last = last;
    this.available = available;
  }

  private next(): number {
    let asid = this.last + 1;
    while (asid < this.end && this.used[asid] !== 0) asid++;
    return asid;
  }
}

/** Whether an ASID is a global one, not one of a CPU's own (`is_global_asid`). */
export function isGlobalAsid(asid: number): boolean {
  return asid >= DYNAMIC_ASIDS;
}

/** Whether a CPU runs on `mm` under an ASID of its own although there is a global one (`mm_needs_global_asid`). */
export function mmNeedsGlobalAsid({ globalAsid }: MmStruct, asid: number): boolean {
  return globalAsid !== 0 && asid !== globalAsid;
}
