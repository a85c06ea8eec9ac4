/**
 * The page tables that earlier walks of a CPU began at: places of the cached PDEs that named them, by the low bits of the numbers of
 * their 2 MiB. Who uses one compares first: the PDE's tag with that of the address, and its frame with the one that it had.
 */

const NO_CHUNK = new Int32Array(0);
/** How many are remembered; a power of two. */
const REMEMBERED = 256;
/** The bits of the number of a page table's 2 MiB that choose where it is remembered. */
const KNOWN_MASK = REMEMBERED - 1;
/** Bits of a page number that the index of its PTE has. */
const PTE_INDEX_BITS = 9;

/** Page tables of walks. */
export class KnownTables {
  /** Places of their PDEs; 0, where no entry is ever held, where there is none. */
  readonly places = new Int32Array(REMEMBERED);
  /** The frames that these named. */
  readonly frames = new Int32Array(REMEMBERED);
  /** The chunks of memory that those are in. */
  readonly chunks: Int32Array[] = new Array<Int32Array>(REMEMBERED).fill(NO_CHUNK);

  /** Where the page table of a page would be remembered. @param number bits 19:0 of the page number */
  indexOf(number: number): number {
    return (number >>> PTE_INDEX_BITS) & KNOWN_MASK;
  }

  /** Remembers the page table of a page: the place of the PDE that names it, its frame, and the chunk of memory that it is in. */
  remember(number: number, place: number, frame: number, chunk: Int32Array): void {
    const at = this.indexOf(number);
    this.places[at] = place;
    this.frames[at] = frame;
    this.chunks[at] = chunk;
  }

  /** Begins another context: walks look their PDEs up. */
  forget(): void {
    this.places.fill(0);
  }
}
