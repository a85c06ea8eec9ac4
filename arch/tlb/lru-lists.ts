/**
 * LRU of many ways: the slots of each set in order of use, as doubly linked lists in the words that a CPU's structures share
 * (cpu-arrays.ts). -1 stands for no slot.
 */

import type { CpuArrays } from "./cpu-arrays.ts";

/** Words that the lists of `sets` sets of `ways` ways take. */
export function lruListWords(sets: number, ways: number): number {
  return 2 * (sets * ways + sets);
}

/** The lists of one structure; slot = set * ways + way. */
export class LruLists {
  private readonly words: Int32Array;
  /** Word of the slot before slot 0; the one after it follows. */
  private readonly listAt: number;
  /** Word of the slot of set 0 that was used last; the one used before all others follows. */
  private readonly endsAt: number;

  /** Takes its words. In each set, slots are in ascending order. */
  constructor(sets: number, ways: number, arrays: CpuArrays) {
    const { words } = arrays;
    const slots = sets * ways;
    this.words = words;
    this.listAt = arrays.takeWords(2 * slots);
    this.endsAt = arrays.takeWords(2 * sets);
    for (let slot = 0; slot < slots; slot++) {
      words[this.listAt + (slot << 1)] = slot % ways === 0 ? -1 : slot - 1;
      words[this.listAt + (slot << 1) + 1] = slot % ways === ways - 1 ? -1 : slot + 1;
    }
    for (let set = 0; set < sets; set++) {
      words[this.endsAt + (set << 1)] = set * ways;
      words[this.endsAt + (set << 1) + 1] = set * ways + ways - 1;
    }
  }

  /** The slot of a set that was used last. */
  first(set: number): number {
    return this.words[this.endsAt + (set << 1)];
  }

  /** The slot of a set that was used before all others. */
  last(set: number): number {
    return this.words[this.endsAt + (set << 1) + 1];
  }

  /** The slot that was used before `slot`; -1 when none was. */
  after(slot: number): number {
    return this.words[this.listAt + (slot << 1) + 1];
  }

  /** Records a use of `slot`, which is in `set`. */
  moveToFront(set: number, slot: number): void {
    const { words, listAt } = this;
    const ends = this.endsAt + (set << 1);
    const first = words[ends];
    if (first === slot) return;
    const before = words[listAt + (slot << 1)];
    const after = words[listAt + (slot << 1) + 1];
    words[listAt + (before << 1) + 1] = after;
    if (after >= 0) words[listAt + (after << 1)] = before;
    else words[ends + 1] = before;
    words[listAt + (slot << 1)] = -1;
    words[listAt + (slot << 1) + 1] = first;
    words[listAt + (first << 1)] = slot;
    words[ends] = slot;
  }
}
