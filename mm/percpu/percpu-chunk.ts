/** One chunk of per-CPU memory: which parts of its unit are free, and which pages are there. Offsets are bytes in a unit. */

/** Everything is allocated in pieces of this size (`PCPU_MIN_ALLOC_SIZE`). */
export const PCPU_MIN_ALLOC_BYTES = 4;
const PIECE_SHIFT = 2;

const FIRST_RUNS = 64;
/** log2 of the largest alignment, a page. */
const ALIGN_SHIFT_MAX = 12;
const NEVER_REFUSED = 2 ** 31 - 1;
const NOTHING_FREED = 2 ** 31 - 1;
/** Sizes are told apart by their log2 where the search begins; all from 2^15 on are one. */
const SIZE_CLASSES = 16;

/** A chunk of a unit for each CPU. */
export class PercpuChunk {
  /** Address of the first CPU's unit. */
  readonly base: number;
  /** vm_structs of its areas. */
  readonly vms: readonly number[];
  /** Frames, by CPU and page: `cpu * pages + page`; 0 where the page is not populated. */
  readonly frames: Uint32Array;
  /** Pages of one unit. */
  readonly pages: number;
  /** Bytes free in a unit. */
  freeBytes: number;
  /** Bytes of the longest free run. */
  contigBytes: number;
  /** The list that it is on, by the length of its longest free run; -1 for none. */
  slot = -1;

  private runStart = new Int32Array(FIRST_RUNS);
  private runBytes = new Int32Array(FIRST_RUNS);
  private runs = 1;
  /** Where allocations begin, and where their last pieces lie: a bit for each piece of {@link PCPU_MIN_ALLOC_BYTES}. */
  private readonly firstPieces: Uint32Array;
  private readonly lastPieces: Uint32Array;
  /** By log2 of the alignment: the smallest size that did not fit, valid until something is freed. */
  private readonly refused = new Int32Array(ALIGN_SHIFT_MAX + 1).fill(NEVER_REFUSED);

  /**
   * Where the search for a size begins, by log2 of the alignment and of the size: below this offset no run has room for
   * 2^class bytes so aligned. Allocations keep it true, since they only make runs smaller.
   */
  private readonly searchFrom = new Int32Array((ALIGN_SHIFT_MAX + 1) * SIZE_CLASSES);

  /** Where the lowest run begins that frees have made or lengthened since the last search. */
  private freedFrom = NOTHING_FREED;

  constructor(base: number, vms: readonly number[], unitBytes: number, cpus: number) {
    this.base = base;
    this.vms = vms;
    this.pages = unitBytes / 4096;
    this.frames = new Uint32Array(cpus * this.pages);
    this.firstPieces = new Uint32Array(unitBytes / PCPU_MIN_ALLOC_BYTES / 32);
    this.lastPieces = new Uint32Array(this.firstPieces.length);
    this.freeBytes = unitBytes;
    this.contigBytes = unitBytes;
    this.runBytes[0] = unitBytes;
  }

  /** Takes the first run that fits; its offset, or -1. `sizeBytes` is a multiple of
   * {@link PCPU_MIN_ALLOC_BYTES}, `align` a power of two up to a page. */
  alloc(sizeBytes: number, align: number): number {
    const shift = 31 - Math.clz32(align);
    if (sizeBytes > this.contigBytes) return -1;
    if (this.freedFrom !== NOTHING_FREED) this.lookAgain();
    if (sizeBytes >= this.refused[shift]) return -1;
    const { runStart, runBytes, runs, searchFrom } = this;
    const sizeClass = classOf(sizeBytes);
    const place = shift * SIZE_CLASSES + sizeClass;
    let isFirst = true;
    for (let run = this.runAt(searchFrom[place]); run < runs; run++) {
      const start = runStart[run];
      const offset = (start + align - 1) & -align;
      const end = start + runBytes[run];
      if (isFirst && offset + (1 << sizeClass) <= end) {
        searchFrom[place] = start;
        isFirst = false;
      }
      if (offset + sizeBytes > end) continue;
      this.take(run, offset, sizeBytes);
      this.markAllocated(offset, sizeBytes);
      this.freeBytes -= sizeBytes;
      return offset;
    }
    // What fits no place of this alignment fits none of a larger one.
    for (let i = shift; i <= ALIGN_SHIFT_MAX; i++) this.refused[i] = Math.min(this.refused[i], sizeBytes);
    return -1;
  }

  /** Gives back what `alloc` returned; its size, or 0 when nothing was allocated there. */
  free(offset: number): number {
    const sizeBytes = this.unmarkAllocated(offset);
    if (sizeBytes === 0) return 0;
    this.giveBack(offset, sizeBytes);
    this.freeBytes += sizeBytes;
    return sizeBytes;
  }

  private markAllocated(offset: number, sizeBytes: number): void {
    const first = offset >> PIECE_SHIFT;
    const last = (offset + sizeBytes - 1) >> PIECE_SHIFT;
    this.firstPieces[first >> 5] |= 1 << first;
    this.lastPieces[last >> 5] |= 1 << last;
  }

  /** The size of the allocation that began at `offset`, or 0 when none did. */
  private unmarkAllocated(offset: number): number {
    const { firstPieces, lastPieces } = this;
    const first = offset >> PIECE_SHIFT;
    const isFirst = offset % PCPU_MIN_ALLOC_BYTES === 0 && (firstPieces[first >> 5] & (1 << first)) !== 0;
    if (!isFirst) return 0;
    firstPieces[first >> 5] &= ~(1 << first);
    let word = first >> 5;
    let ends = lastPieces[word] & (-1 << first);
    while (ends === 0) ends = lastPieces[++word];
    const lowest = ends & -ends;
    lastPieces[word] &= ~lowest;
    const last = (word << 5) + 31 - Math.clz32(lowest);
    return (last - first + 1) << PIECE_SHIFT;
  }

  /** Forgets what searches found before the frees since the last of them. */
  private lookAgain(): void {
    const { searchFrom, refused, freedFrom } = this;
    for (let i = 0; i < searchFrom.length; i++) if (searchFrom[i] > freedFrom) searchFrom[i] = freedFrom;
    for (let i = 0; i < refused.length; i++) refused[i] = NEVER_REFUSED;
    this.freedFrom = NOTHING_FREED;
  }

  /** Whether all CPUs have the page. */
  isPopulated(page: number): boolean {
    return this.frames[page] !== 0;
  }

  private take(run: number, offset: number, sizeBytes: number): void {
    const start = this.runStart[run];
    const end = start + this.runBytes[run];
    const wasLongest = end - start === this.contigBytes;
    const before = offset - start;
    const after = end - offset - sizeBytes;
    if (before > 0) this.runBytes[run] = before;
    if (after > 0) {
      if (before > 0) this.insert(run + 1, offset + sizeBytes, after);
      else {
        this.runStart[run] = offset + sizeBytes;
        this.runBytes[run] = after;
      }
    } else if (before === 0) {
      this.remove(run);
    }
    if (wasLongest) this.findLongest();
  }

  private giveBack(offset: number, sizeBytes: number): void {
    const low = this.runAt(offset);
    const joinsPrevious = low > 0 && this.runStart[low - 1] + this.runBytes[low - 1] === offset;
    const joinsNext = low < this.runs && this.runStart[low] === offset + sizeBytes;
    let at = low;
    if (joinsPrevious) {
      at = low - 1;
      this.runBytes[at] += sizeBytes;
      if (joinsNext) {
        this.runBytes[at] += this.runBytes[low];
        this.remove(low);
      }
    } else if (joinsNext) {
      this.runStart[at] = offset;
      this.runBytes[at] += sizeBytes;
    } else {
      this.insert(at, offset, sizeBytes);
    }
    this.contigBytes = Math.max(this.contigBytes, this.runBytes[at]);
    this.freedFrom = Math.min(this.freedFrom, this.runStart[at]);
  }

  /** The first run that begins at `offset` or above. */
  private runAt(offset: number): number {
    if (offset === 0) return 0;
    let low = 0;
    let high = this.runs;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.runStart[middle] < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private insert(at: number, start: number, sizeBytes: number): void {
    if (this.runs === this.runStart.length) {
      this.runStart = grown(this.runStart);
      this.runBytes = grown(this.runBytes);
    }
    this.runStart.copyWithin(at + 1, at, this.runs);
    this.runBytes.copyWithin(at + 1, at, this.runs);
    this.runStart[at] = start;
    this.runBytes[at] = sizeBytes;
    this.runs++;
  }

  private remove(at: number): void {
    this.runStart.copyWithin(at, at + 1, this.runs);
    this.runBytes.copyWithin(at, at + 1, this.runs);
    this.runs--;
  }

  private findLongest(): void {
    let longest = 0;
    for (let run = 0; run < this.runs; run++) if (this.runBytes[run] > longest) longest = this.runBytes[run];
    this.contigBytes = longest;
  }
}

function classOf(sizeBytes: number): number {
  return Math.min(31 - Math.clz32(sizeBytes), SIZE_CLASSES - 1);
}

function grown(from: Int32Array): Int32Array<ArrayBuffer> {
  const to = new Int32Array(from.length * 2);
  to.set(from);
  return to;
}
