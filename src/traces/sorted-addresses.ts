/** Addresses in order, to find the one at or before another. */
export class SortedAddresses {
  private readonly addresses: bigint[] = [];

  /** Adds one; one that is there stays there once. */
  add(address: bigint): void {
    const at = this.countUpTo(address);
    if (this.addresses[at - 1] !== address) this.addresses.splice(at, 0, address);
  }

  /** Takes one out, if it is there. */
  delete(address: bigint): void {
    const at = this.countUpTo(address) - 1;
    if (this.addresses[at] === address) this.addresses.splice(at, 1);
  }

  /** The greatest that is not above `address`; null when all are. */
  atOrBefore(address: bigint): bigint | null {
    return this.addresses[this.countUpTo(address) - 1] ?? null;
  }

  /** How many are not above `address`. */
  private countUpTo(address: bigint): number {
    let low = 0;
    let high = this.addresses.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.addresses[middle] <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
