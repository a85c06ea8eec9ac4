/** Address ranges that do not overlap, in address order: found by halving, kept in two plain arrays. */

/** Disjoint ranges [start, end). Each has a number, its place in the order. */
export class AddressRanges {
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];

  /** Number of ranges. */
  get count(): number {
    return this.starts.length;
  }

  /** First address of range number `index`. */
  startOf(index: number): number {
    return this.starts[index];
  }

  /** One past the last address of range number `index`. */
  endOf(index: number): number {
    return this.ends[index];
  }

  /** The number of the range that `address` is in; -1 for none. */
  indexOf(address: number): number {
    const index = this.firstEndingAfter(address);
    return index < this.starts.length && this.starts[index] <= address ? index : -1;
  }

  /** Adds a range as one of its own, whether or not it touches others. @throws RangeError when it overlaps one */
  insert(start: number, end: number): void {
    const index = this.firstEndingAfter(start);
    if (!(start < end) || (index < this.starts.length && this.starts[index] < end)) {
      throw new RangeError(`[0x${start.toString(16)}, 0x${end.toString(16)}) overlaps another range or is empty`);
    }
    this.starts.splice(index, 0, start);
    this.ends.splice(index, 0, end);
  }

  /** Adds a range and makes one of it and of those that it touches. @throws RangeError when it overlaps one */
  insertMerged(start: number, end: number): void {
    this.insert(start, end);
    const index = this.indexOf(start);
    if (index + 1 < this.count && this.starts[index + 1] === end) this.joinWithNext(index);
    if (index > 0 && this.ends[index - 1] === start) this.joinWithNext(index - 1);
  }

  /** Takes range number `index` out. */
  remove(index: number): void {
    this.starts.splice(index, 1);
    this.ends.splice(index, 1);
  }

  /** Takes the lowest `sizeBytes` bytes of range number `index` away: all of it when it has no more. */
  takeLowest(index: number, sizeBytes: number): void {
    if (this.ends[index] - this.starts[index] === sizeBytes) this.remove(index);
    else this.starts[index] += sizeBytes;
  }

  private joinWithNext(index: number): void {
    this.ends[index] = this.ends[index + 1];
    this.remove(index + 1);
  }

  /** The number of the first range that ends behind `address`. */
  private firstEndingAfter(address: number): number {
    let [low, high] = [0, this.ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.ends[middle] > address) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
