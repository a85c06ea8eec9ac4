/**
 * The page tables that earlier walks of a CPU began at: places of the cached PDEs that named them, by the low bits of the numbers of
 * their 2 MiB, among the words of the CPU. Who uses one compares first: the PDE's tag with that of the address, and its frame with the one that it had.
 * That frame is in a chunk of memory that exists.
 */

import type { CpuArrays } from "../tlb/cpu-arrays.ts";
import * as layout from "../tlb/cpu-arrays.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { KNOWN_TABLE_WORDS, KNOWN_TABLES } = layout;
const ALL_WORDS = KNOWN_TABLE_WORDS * KNOWN_TABLES;
/** log2 of 512, the entries of a table, over the words of one that is remembered. */
const NUMBER_SHIFT = 8;
/** The bits of the number of a page table's 2 MiB that choose where it is remembered, times those words. */
const KNOWN_MASK = ALL_WORDS - KNOWN_TABLE_WORDS;

/** Page tables of walks. */
export class KnownTables {
  private readonly words: Int32Array;
  private readonly first: number;

  constructor(arrays: CpuArrays) {
    this.words = arrays.words;
    this.first = arrays.takeWords(ALL_WORDS);
  }

  /**
   * The word, an even one, with the place of the PDE of the page table that may be that of a page: 0, where no entry is ever held, if there is none.
   * The next has the frame that the PDE named.
   * @param number bits 19:0 of the page number
   */
  wordOf(number: number): number {
    return (this.first + ((number >>> NUMBER_SHIFT) & KNOWN_MASK)) | 0;
  }

  /** Remembers the page table of a page: the place of the PDE that names it, and its frame, in a chunk of memory that exists. */
  remember(number: number, place: number, frame: number): void {
    const { words } = this;
    const at = this.wordOf(number);
    words[at] = place;
    words[at | 1] = frame;
  }

  /** Begins another context: walks look their PDEs up. */
  forget(): void {
    this.words.fill(0, this.first, this.first + ALL_WORDS);
  }
}
