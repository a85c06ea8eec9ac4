/** Allocation failures on demand (`CONFIG_FAULT_INJECTION`): every place that can run out asks here first. */

/** What can run out. */
export type AllocationKind =
  | "frame"
  | "pageTable"
  | "vmapArea"
  | "vmapAreaPreload"
  | "vmStruct"
  | "pageArray"
  | "vmapBlock"
  | "blockIndex"
  | "memtype";

/** Fails chosen allocations. Nothing fails until `failAt` arms it. */
export class FaultInjection {
  /** Whether any allocation may fail. */
  isArmed = false;
  /** Allocations seen since `failAt`. */
  seen = 0;
  /** Allocations that failed on demand since `failAt`, and the last of them; null when there is none. */
  failures = 0;
  lastFailed: AllocationKind | null = null;
  private failing = Number.POSITIVE_INFINITY;
  private kind: AllocationKind | null = null;
  private times = 1;

  /**
   * Fails the allocation number `index` (0 is the next one), of `kind` or of any kind, and those that follow until `times` have
   * failed (`Infinity`: all). What must not fail (`__GFP_NOFAIL`) is not counted.
   */
  failAt(index: number, kind: AllocationKind | null = null, times = 1): void {
    this.isArmed = true;
    this.seen = 0;
    this.failures = 0;
    this.lastFailed = null;
    this.failing = index;
    this.kind = kind;
    this.times = times;
  }

  /** Nothing fails any more. */
  disarm(): void {
    this.isArmed = false;
  }

  /** Whether this allocation is to fail. */
  fails(kind: AllocationKind): boolean {
    if (!this.isArmed || (this.kind !== null && this.kind !== kind)) return false;
    const index = this.seen++;
    if (index < this.failing || index >= this.failing + this.times) return false;
    this.failures++;
    this.lastFailed = kind;
    return true;
  }

  /** Copies what is to fail, for saved states. */
  capture(): FaultInjectionState {
    const failing = Number.isFinite(this.failing) ? this.failing : null;
    const times = Number.isFinite(this.times) ? this.times : null;
    return { isArmed: this.isArmed, seen: this.seen, failing, kind: this.kind, ...(times === 1 ? {} : { times }) };
  }

  /** Makes fail what was captured. */
  restore({ isArmed, seen, failing, kind, times = 1 }: FaultInjectionState): void {
    this.isArmed = isArmed;
    this.seen = seen;
    this.failing = failing ?? Number.POSITIVE_INFINITY;
    this.kind = kind;
    this.times = times ?? Number.POSITIVE_INFINITY;
  }
}

/** Which allocation is to fail. */
export interface FaultInjectionState {
  readonly isArmed: boolean;
  /** Allocations of the kind so far. */
  readonly seen: number;
  /** Index of the one that fails, from 0; null when none was chosen. */
  readonly failing: number | null;
  /** Which are counted; null for all. */
  readonly kind: AllocationKind | null;
  /** How many fail from that one on, null for all; absent for one. */
  readonly times?: number | null | undefined;
}
