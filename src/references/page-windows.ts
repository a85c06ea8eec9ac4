/** The working set: how many different pages a program touches in each window of so many references. */

const FIRST_SHIFT = 12;
const NO_PAGE = -1;
/** log2 of the pages remembered in front of the table. */
const RECENT_SHIFT = 12;
const RECENT_MASK = (1 << RECENT_SHIFT) - 1;
const PER_BYTE = 1 / 4096;
/** Page numbers of 48-bit addresses: those of another address space begin here. */
const PAGES_OF_SPACE = 2 ** 36;

/** Counts different pages, over everything and by window. Memory grows with the pages, and by 4 bytes a window. */
export class PageWindows {
  /** References in a window. */
  readonly windowReferences: number;
  /** Different pages so far. */
  pages = 0;
  private counts = new Uint32Array(64);
  private closed = 0;
  private inWindow = 0;
  private left: number;
  private window = 0;
  private shift = FIRST_SHIFT;
  private page = new Float64Array(1 << FIRST_SHIFT).fill(NO_PAGE);
  private lastWindow = new Float64Array(1 << FIRST_SHIFT);
  private readonly recent = new Float64Array(1 << RECENT_SHIFT).fill(NO_PAGE);

  constructor(windowReferences: number) {
    this.windowReferences = windowReferences;
    this.left = windowReferences;
  }

  /**
   * References to `addresses[from]` to `addresses[to - 1]`.
   * @param space number of the address space: pages of different ones are different
   */
  touch(addresses: Float64Array, from: number, to: number, space: number): void {
    let at = from;
    while (at < to) {
      const end = Math.min(to, at + this.left);
      this.touchInWindow(addresses, at, end, space * PAGES_OF_SPACE);
      this.left -= end - at;
      if (this.left === 0) this.close();
      at = end;
    }
  }

  private touchInWindow(addresses: Float64Array, from: number, to: number, firstPage: number): void {
    const { recent } = this;
    for (let i = from; i < to; i++) {
      const la = addresses[i];
      const low = la | 0;
      const page = (la - (low & 4095)) * PER_BYTE + firstPage;
      const slot = (low >>> 12) & RECENT_MASK;
      if (recent[slot] !== page) {
        recent[slot] = page;
        this.note(page);
      }
    }
  }

  /** Different pages of each window; the last may be shorter than the others. */
  windows(): number[] {
    const all = [...this.counts.subarray(0, this.closed)];
    if (this.left < this.windowReferences) all.push(this.inWindow);
    return all;
  }

  private note(page: number): void {
    const mask = (1 << this.shift) - 1;
    let at = slotOf(page, mask);
    while (this.page[at] !== page) {
      if (this.page[at] === NO_PAGE) {
        this.page[at] = page;
        this.lastWindow[at] = -1;
        this.pages++;
        break;
      }
      at = (at + 1) & mask;
    }
    if (this.lastWindow[at] === this.window) return;
    this.lastWindow[at] = this.window;
    this.inWindow++;
    if (this.pages * 2 > mask) this.grow();
  }

  private close(): void {
    if (this.closed === this.counts.length) {
      const grown = new Uint32Array(this.closed * 2);
      grown.set(this.counts);
      this.counts = grown;
    }
    this.counts[this.closed++] = this.inWindow;
    this.inWindow = 0;
    this.left = this.windowReferences;
    this.window++;
    this.recent.fill(NO_PAGE);
  }

  private grow(): void {
    const { page, lastWindow } = this;
    this.shift++;
    const size = 1 << this.shift;
    this.page = new Float64Array(size).fill(NO_PAGE);
    this.lastWindow = new Float64Array(size);
    for (let i = 0; i < page.length; i++) {
      if (page[i] === NO_PAGE) continue;
      let at = slotOf(page[i], size - 1);
      while (this.page[at] !== NO_PAGE) at = (at + 1) & (size - 1);
      this.page[at] = page[i];
      this.lastWindow[at] = lastWindow[i];
    }
  }
}

/** Where a page is looked for first: Fibonacci hashing of its low 32 bits, with those above mixed in. */
function slotOf(page: number, mask: number): number {
  const mixed = (page | 0) ^ Math.floor(page / 2 ** 32);
  return (Math.imul(mixed, 0x9e3779b1) >>> 7) & mask;
}
