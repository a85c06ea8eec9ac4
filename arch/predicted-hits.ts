/**
 * A shortcut of the host, not of the machine: for each kind of access and low bits of the page number, the first-level slot
 * that translates the page used there last, kept only while the access is known to be allowed in the CPU's present mode. The
 * fast path then needs one comparison with the slot's tag, and updates the set's replacement state as a lookup would.
 *
 * A prediction is removed when its slot is given to another translation, and all are when a register that paging depends
 * on changes; a slot that was emptied no longer compares equal. Only 4 KiB entries are predicted.
 */
import type { PhysicalMemory } from "./physical-memory.ts";
import type { Tlb, TlbArrays } from "./tlb.ts";

/** Predictions of each kind of access (load 0, store 1, fetch 2). They are the first words of the CPU's arrays. */
const PREDICTIONS = 256;
const NO_CHUNK = new Int32Array(0);

/** Words that predictions take for first-level TLBs of `slots` slots in all. */
export function predictionWords(slots: number): number {
  return 3 * PREDICTIONS + 1 + 2 * (2 * slots + 1);
}

/** Cells that they take. */
export function predictionCells(slots: number): number {
  return 1 + 2 * slots;
}

/** The predictions of one CPU. First-level slots are numbered as places: the distance of the tag from the first cell. */
export class PredictedHits {
  /** Cell of the tag of place 0, which never compares equal. */
  readonly firstTag: number;
  /**
   * Word of the record of place 0, two words each: bits 9:0 the frame's number in its chunk of memory, above them the word of
   * the set's replacement state, negative where the TLB must be asked; and what a hit does to that state.
   */
  readonly recordsAt: number;
  /** Cell of the physical address of place 0's page. */
  readonly physicalAt: number;
  /** The chunk of memory of each place's page. */
  readonly chunks: Int32Array[] = [];

  readonly cells: Float64Array;
  readonly words: Int32Array;
  private readonly memory: PhysicalMemory | null;
  private readonly owners: Tlb[] = [];

  /**
   * @param makeFirst makes the first-level TLBs, whose cells must follow
   * @param slots of those TLBs in all
   * @param memory null to predict nothing
   */
  constructor(arrays: TlbArrays, slots: number, memory: PhysicalMemory | null, makeFirst: () => readonly Tlb[]) {
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.memory = memory;
    this.recordsAt = arrays.takeWords(2 * (2 * slots + 1));
    this.physicalAt = arrays.takeCells(2 * slots);
    this.firstTag = arrays.takeCells(1);
    this.cells[this.firstTag] = Number.NaN;
    for (const tlb of makeFirst()) this.register(tlb);
  }

  /** The place of a slot of a first-level TLB. */
  placeOf(tlb: Tlb, slot: number): number {
    return tlb.tagAt + slot - this.firstTag;
  }

  /** Remembers that `tlb` translates the 4 KiB page of `la` in `slot`, allowed for `kind`. */
  remember(kind: number, la: number, tlb: Tlb, slot: number): void {
    const { memory, words, cells } = this;
    if (memory === null) return;
    const frame = cells[tlb.frameAt + slot];
    const chunk = memory.chunkAt(frame);
    if (chunk === null) return;
    const place = tlb.tagAt + slot - this.firstTag;
    const at = this.recordsAt + (place << 1);
    words[at] = (words[at] & ~1023) | (frame & 1023);
    cells[this.physicalAt + place] = frame * 4096;
    if (this.chunks[place] !== chunk) this.chunks[place] = chunk;
    words[(kind << 8) | ((la >>> 12) & 255)] = place;
  }

  /** Removes the predictions of `la`'s page for a slot that was just filled. */
  forget(la: number, tlb: Tlb, slot: number): void {
    if (this.memory === null) return;
    const { words } = this;
    const place = tlb.tagAt + slot - this.firstTag;
    const at = (la >>> 12) & 255;
    if (words[at] === place) words[at] = 0;
    if (words[at | 256] === place) words[at | 256] = 0;
    if (words[at | 512] === place) words[at | 512] = 0;
  }

  /** Removes all predictions. */
  clear(): void {
    if (this.memory !== null) this.words.fill(0, 0, 3 * PREDICTIONS);
  }

  /** Records a hit for replacement where the state does not fit a word. */
  touch(place: number): void {
    const owner = this.owners[place];
    owner.touch(this.firstTag + place - owner.tagAt);
  }

  private register(tlb: Tlb): void {
    for (let slot = 0; slot < tlb.slots; slot++) {
      const place = this.placeOf(tlb, slot);
      while (this.chunks.length <= place) {
        this.chunks.push(NO_CHUNK);
        this.owners.push(tlb);
      }
      this.owners[place] = tlb;
      const set = Math.floor(slot / tlb.ways);
      this.words[this.recordsAt + 2 * place] = (tlb.isListed ? -1 : tlb.stateAt + set) << 10;
      this.words[this.recordsAt + 2 * place + 1] = tlb.hitUse[slot % tlb.ways];
    }
  }
}
