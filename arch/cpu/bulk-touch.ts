/**
 * Many translations one after another, whose data do not matter: the references of a traced program. What is predicted to hit the
 * first level (arch/fast-path/README.md) stays in one loop; everything else is done as `CpuMemory.touchAs` does it.
 */

import type { FastPath } from "../fast-path/fast-path.ts";
import type { Access } from "../isa/access.ts";
import { PageFault } from "../isa/faults.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { Mmu } from "./mmu.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { CELL_SHIFT, LOAD_PREDICTIONS_WORD, PREDICTIONS_MASK, PREDICTIONS_SHIFT, WORD_ATTRIBUTES, WORD_SHIFT } = layout;
const KIND_STORE = 1;
/** Bits of a kind that are the access kind; the bits above belong to the caller. */
const KIND_MASK = 3;

/** The CPU whose translations they are (`CpuMemory`). */
export interface TouchedCpu {
  readonly mmu: Mmu;
  /** Translates `la` for an access of any kind. @throws PageFault */
  touchAs(access: Access, la: number): number;
}

/** The bulk translations of one CPU. */
export class BulkTouch {
  private readonly cpu: TouchedCpu;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly fastPath: FastPath;

  constructor(cpu: TouchedCpu) {
    const { arrays, fastPath } = cpu.mmu;
    this.cpu = cpu;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.fastPath = fastPath;
  }

  /**
   * Translates `addresses[from]` to `addresses[to - 1]` (48-bit linear addresses) for accesses of `kinds` (load 0, store 1, fetch
   * 2 in the low two bits), each with all the effects of `touchAs`. Returns `to`, or the index of the first that raised a page
   * fault: it has been counted and CR2 set, and those after it have not been made.
   */
  touch(kinds: Uint8Array, addresses: Float64Array, from: number, to: number): number {
    const { cells, words } = this;
    const { loads, stores, fetches } = this.fastPath;
    for (let i = from; i < to; i++) {
      const la = addresses[i];
      const kind = kinds[i] & KIND_MASK;
      const low = la | 0;
      const prediction = ((low >>> 12) & PREDICTIONS_MASK) + LOAD_PREDICTIONS_WORD + (kind << PREDICTIONS_SHIFT);
      const place = words[prediction | 0];
      if (
        cells[place << CELL_SHIFT] === la - (low & 4095) &&
        (kind !== KIND_STORE || words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] < 0)
      ) {
        const path = kind === 0 ? loads : kind === KIND_STORE ? stores : fetches;
        path.touch(place);
      } else if (!this.touchOther(kind as Access, la)) {
        return i;
      }
    }
    return to;
  }

  /** A translation that is not predicted; false when it raised a page fault. */
  private touchOther(kind: Access, la: number): boolean {
    try {
      this.cpu.touchAs(kind, la);
      return true;
    } catch (error) {
      if (error instanceof PageFault) return false;
      throw error;
    }
  }
}
