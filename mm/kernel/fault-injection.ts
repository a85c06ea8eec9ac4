/** Allocation failures on demand (`CONFIG_FAULT_INJECTION`): every place that can run out asks here first. */

/** What can run out. */
export type AllocationKind =
  | "frame"
  | "pageTable"
  | "vmapArea"
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
  private failing = Number.POSITIVE_INFINITY;
  private kind: AllocationKind | null = null;

  /** Fails the allocation number `index` (0 is the next one), of `kind` or of any kind, once. */
  failAt(index: number, kind: AllocationKind | null = null): void {
    this.isArmed = true;
    this.seen = 0;
    this.failing = index;
    this.kind = kind;
  }

  /** Nothing fails any more. */
  disarm(): void {
    this.isArmed = false;
  }

  /** Whether this allocation is to fail. */
  fails(kind: AllocationKind): boolean {
    if (!this.isArmed || (this.kind !== null && this.kind !== kind)) return false;
    return this.seen++ === this.failing;
  }

  /** Copies what is to fail, for saved states. */
  capture(): FaultInjectionState {
    const failing = Number.isFinite(this.failing) ? this.failing : null;
    return { isArmed: this.isArmed, seen: this.seen, failing, kind: this.kind };
  }

  /** Makes fail what was captured. */
  restore({ isArmed, seen, failing, kind }: FaultInjectionState): void {
    this.isArmed = isArmed;
    this.seen = seen;
    this.failing = failing ?? Number.POSITIVE_INFINITY;
    this.kind = kind;
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
}
