/**
 * Ranges that were unmapped and that no flush has covered since, kept where a version of the kernel is known to forget some:
 * `vm_unmap_aliases` before Linux 6.4.
 */

/** A range of addresses. */
export interface UnflushedRange {
  readonly start: number;
  readonly end: number;
}

interface Pending extends UnflushedRange {
  isForgotten: boolean;
}

/** Pages of vmap blocks that were unmapped, until a flush covers them. */
export class UnflushedRanges {
  private readonly pending = new Map<number, Pending>();

  /** [start, end) was unmapped. */
  add(start: number, end: number): void {
    this.pending.set(start, { start, end, isForgotten: false });
  }

  /** What a flush of [start, end), or of whole TLBs, that begins now will have covered when it is done. */
  coveredBy(start: number, end: number, full: boolean): readonly UnflushedRange[] {
    const all = [...this.pending.values()];
    return full ? all : all.filter((range) => range.start >= start && range.end <= end);
  }

  /** A flush is done: what it has covered. */
  flushed(ranges: readonly UnflushedRange[]): void {
    for (const range of ranges) if (this.pending.get(range.start) === range) this.pending.delete(range.start);
  }

  /** A call after which nothing may be unflushed returns: what is left has been forgotten. Returns how many ranges that are. */
  forgetRest(): number {
    for (const range of this.pending.values()) range.isForgotten = true;
    return this.pending.size;
  }

  /** The ranges that were forgotten and that no flush has covered since. */
  get forgotten(): readonly UnflushedRange[] {
    return [...this.pending.values()].filter(({ isForgotten }) => isForgotten);
  }
}
