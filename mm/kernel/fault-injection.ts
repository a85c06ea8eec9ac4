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
}
