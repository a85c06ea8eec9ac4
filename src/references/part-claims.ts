/** Who parses which part of a long text (lackey-parts.ts): memory that the threads that parse share with the one that replays. */

/** Words: the first part that nobody has begun; then, by part, the number of the thread that has, from 1; 0: nobody yet, or the thread that replays. */
const NEXT = 0;
const READERS = 1;
/** Milliseconds after which it is looked again who has begun a part: who begins one says so at once. */
const LOOK_MS = 1;

/** Parts are begun in order, each by one thread. */
export class PartClaims {
  /** What all sides are made on. */
  readonly memory: SharedArrayBuffer;
  private readonly words: Int32Array;
  private readonly count: number;

  /** @param count number of parts */
  constructor(count: number, memory = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT * (READERS + count))) {
    this.memory = memory;
    this.words = new Int32Array(memory);
    this.count = count;
  }

  /** Thread `reader` (from 0) begins the next part: its number, from 0; null when there are no more. */
  begin(reader: number): number | null {
    const part = Atomics.add(this.words, NEXT, 1);
    if (part >= this.count) return null;
    Atomics.store(this.words, READERS + part, reader + 1);
    return part;
  }

  /** The thread that replays begins part `part` itself; false where another thread has. Those before it have been begun. */
  beginHere(part: number): boolean {
    return Atomics.compareExchange(this.words, NEXT, part, part + 1) === part;
  }

  /** The thread that has begun part `part`. */
  readerOf(part: number): number {
    const at = READERS + part;
    while (Atomics.load(this.words, at) === 0) Atomics.wait(this.words, at, 0, LOOK_MS);
    return Atomics.load(this.words, at) - 1;
  }

  /** Whether thread `reader` has begun a part, once all have been begun. */
  hasBegun(reader: number): boolean {
    return this.words.subarray(READERS).includes(reader + 1);
  }
}
