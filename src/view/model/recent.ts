/** A list that grows at its end and forgets its oldest items in long runs, and of which the last steps can be taken back. */

/** The latest items. */
export class Recent<T> {
  readonly items: T[] = [];
  /** Items that were forgotten. */
  forgotten = 0;
  private readonly keptMax: number;
  /** Items that there were, forgotten ones included, when `takeTail` was called last. */
  private marked = 0;

  /** @param keptMax items that are kept at the least, once there are so many; never more than twice as many */
  constructor(keptMax: number) {
    this.keptMax = keptMax;
  }

  /** Items that there ever were. */
  get total(): number {
    return this.forgotten + this.items.length;
  }

  /** Adds one. */
  push(item: T): void {
    const { items, keptMax } = this;
    items.push(item);
    if (items.length < 2 * keptMax) return;
    items.splice(0, items.length - keptMax);
    this.forgotten += keptMax;
  }

  /** What was added since it was called last, as far as it is kept. */
  takeTail(): T[] {
    const tail = this.items.slice(Math.max(0, this.marked - this.forgotten));
    this.marked = this.total;
    return tail;
  }

  /** Takes away what was added last. */
  removeTail(tail: readonly T[]): void {
    this.items.length -= Math.min(tail.length, this.items.length);
    this.marked = this.total;
  }

  /** Adds what was taken away. */
  addTail(tail: readonly T[]): void {
    for (const item of tail) this.items.push(item);
    this.marked = this.total;
  }
}
