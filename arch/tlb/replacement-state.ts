/**
 * The replacement state of all sets of one structure, in the words that a CPU's structures share (cpu-arrays.ts). It is kept in
 * one of three forms:
 *
 *   table   one word a set, in its row, changed and read as its policy says (arch/presets/replacement)
 *   log     LRU of many ways: the uses of each set in order of time (lru-logs.ts)
 *   tree    tree-PLRU of four ways in the first level, where hits are frequent, so that a hit only stores: for each node of a
 *           set's tree the place used last below it, in the set's row: that of the first pair, of the root, of the second pair. The victim
 *           is the place not used last of the pair not used last. Beside the trees are marks of the entries: of each set a word, of each way a byte
 */

import { checkState } from "../isa/state-error.ts";
import type { TlbGeometry } from "../presets/preset.ts";
import { replacementPolicy } from "../presets/replacement/index.ts";
import { afterUse } from "../presets/replacement/policy.ts";
import type { CpuArrays } from "./cpu-arrays.ts";
import * as layout from "./cpu-arrays.ts";
import { LruLogs, lruLogWords } from "./lru-logs.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { SET_SHIFT, SET_STATE, WORD_SHIFT, WORD_STATE, WORD_USE } = layout;

/** Ways of the sets whose state can be a tree of places: as many as a row has words. */
export const TREE_WAYS = 4;
/** Word of a tree's root in the set's row. */
export const TREE_ROOT_WORD = 1;
const TREE_ROOT = TREE_ROOT_WORD;
/** Words of a tree. */
const TREE_WORDS = 3;

/** Fills after which a way that was not evicted is taken never to be: every policy comes round to where it was before that. */
const FILLS_PER_WAY = 4;

/** Words that the state of a structure takes at the most, beside its records. */
export function replacementWords({ sets, ways, replacement }: TlbGeometry): number {
  return sets + (replacementPolicy(replacement, ways).victims === null ? lruLogWords(sets, ways) : 0);
}

/** The state of one structure; slots and places are those of `Tlb`. */
export class ReplacementState {
  /**
   * Whether it is kept as trees: the place used last in a set is at word `rootsAt + (place & ~3)`, and that used last of a
   * pair of ways at `pairsAt + (place & ~1)`.
   */
  readonly isTree: boolean;
  /** Word of the place used last in the set of place 0, if it were part of this structure. No tree: -1. */
  readonly rootsAt: number;
  /** Word of the place used last in the pair of ways of place 0. No tree: -1. */
  readonly pairsAt: number;
  /** Byte of the mark of slot 0: the eight bits of its page number above those that choose the set. No tree: -1. */
  readonly marksAt: number;
  /** The way to evict, by state of the set; from bit 8 on, what the fill makes of the state. Common to all structures of the policy; none for logs. */
  readonly fills: Int32Array;
  /** Word of the row of set 0. */
  private readonly setsAt: number;
  private readonly words: Int32Array;
  private readonly ways: number;
  private readonly slots: number;
  private readonly firstPlace: number;
  /** By way: what a fill does to the state of a set in the table form. */
  readonly fillUse: Int32Array;
  /** Number of states of a set in the table form; 0 for logs. */
  private readonly states: number;
  /** Ways of a set that are ever filled, the first ones; with as many entries a set is full. */
  readonly filledWays: number;
  /** The logs; null in the other forms. */
  readonly logs: LruLogs | null;

  /** Takes its words, and sets those of the records of the structure that begins with `firstPlace`. @param setsAt word of the row of set 0 */
  constructor(geometry: TlbGeometry, arrays: CpuArrays, firstPlace: number, setsAt: number, isFirstLevel: boolean) {
    const { sets, ways, replacement, pcidCapacity } = geometry;
    const slots = sets * ways;
    const policy = replacementPolicy(replacement, ways);
    // What walks use first: with many CPUs none of it is in the host's caches, and what lies side by side is got there at once.
    this.isTree = isFirstLevel && replacement === "tree-plru" && ways === TREE_WAYS && pcidCapacity === undefined;
    this.logs = policy.victims === null ? new LruLogs(sets, ways, arrays, firstPlace) : null;
    this.words = arrays.words;
    this.setsAt = setsAt;
    this.firstPlace = firstPlace;
    this.ways = ways;
    this.fillUse = policy.fillUse;
    this.filledWays = policy.filledWays ?? ways;
    this.fills = policy.fills;
    this.states = policy.fills.length;
    this.slots = slots;
    this.pairsAt = this.isTree ? setsAt - firstPlace : -1;
    this.rootsAt = this.isTree ? setsAt - firstPlace + TREE_ROOT : -1;
    this.marksAt = this.isTree ? arrays.takeWords(sets) << 2 : -1;
    for (let slot = 0; slot < slots && this.logs === null; slot++) {
      const record = (firstPlace + slot) << WORD_SHIFT;
      this.words[record | WORD_USE] = policy.hitUse[slot % ways];
      this.words[record | WORD_STATE] = this.isTree ? -1 : this.stateWordOf(Math.floor(slot / ways));
    }
    if (this.isTree) for (let slot = 1; slot < slots; slot += 2) this.hit(slot);
  }

  /** Word of the state of a set in the table form. */
  stateWordOf(set: number): number {
    return (this.setsAt + (set << SET_SHIFT)) | SET_STATE;
  }

  /** Records a hit of `slot`. */
  hit(slot: number): void {
    if (this.isTree) {
      this.use(this.firstPlace + slot);
      return;
    }
    const { words } = this;
    const record = (this.firstPlace + slot) << WORD_SHIFT;
    const at = words[record | WORD_STATE];
    if (this.logs !== null) this.logs.use(this.firstPlace + slot);
    else words[at] = afterUse(words[at], words[record | WORD_USE]);
  }

  /** Records that `slot`, of `set`, was given another translation. */
  fill(slot: number, set: number): void {
    if (this.isTree) {
      this.use(this.firstPlace + slot);
      return;
    }
    if (this.logs !== null) {
      this.logs.use(this.firstPlace + slot);
      return;
    }
    const { words } = this;
    const at = this.stateWordOf(set);
    words[at] = afterUse(words[at], this.fillUse[slot - set * this.ways]);
  }

  /** The slot of a full set that is evicted next. */
  victim(set: number): number {
    const { words } = this;
    if (this.logs !== null) return this.logs.oldest(this.firstPlace + set * this.ways) - this.firstPlace;
    if (this.isTree) {
      const last = words[this.rootsAt + this.firstPlace + set * TREE_WAYS];
      return (words[this.pairsAt + ((last ^ 2) & ~1)] ^ 1) - this.firstPlace;
    }
    return set * this.ways + (this.fills[words[this.stateWordOf(set)]] & 0xff);
  }

  /**
   * How old the entries of a set are: by way, 0 for the one that fills alone would evict last, and so on up to the one that goes next.
   * -1 for a way without an entry, and for one that fills alone never evict. With LRU it is how many other entries were used since.
   * @param isUsed whether a way holds an entry: fills take the others first
   */
  ages(set: number, isUsed: (way: number) => boolean): number[] {
    const { ways } = this;
    const evicted = this.orderWithGaps(set, isUsed).filter(isUsed);
    const ages = new Array<number>(ways).fill(-1);
    evicted.forEach((way, i) => {
      ages[way] = evicted.length - 1 - i;
    });
    return ages;
  }

  /** The ways of a set in the order in which fills evict them, once ways without an entry are filled. */
  private orderWithGaps(set: number, isUsed: (way: number) => boolean): number[] {
    const { ways, fills, logs } = this;
    if (logs !== null)
      return logs
        .order(set)
        .reverse()
        .map((slot) => slot - set * ways);
    let state = this.stateOf(set);
    for (let way = 0; way < this.filledWays; way++) if (!isUsed(way)) state = afterUse(state, this.fillUse[way]);
    const order = new Set<number>();
    for (let fill = 0; fill < ways * FILLS_PER_WAY && order.size < ways; fill++) {
      const filled = fills[state];
      order.add(filled & 0xff);
      state = filled >>> 8;
    }
    return [...order];
  }

  /** The slots of a full set in the order in which fills would evict them. @param out as many as the set has ways */
  evictionOrder(set: number, out: Int32Array): void {
    const { ways, fills, logs } = this;
    if (logs !== null) {
      out.set(logs.order(set).reverse());
      return;
    }
    let state = this.stateOf(set);
    for (let i = 0; i < ways; i++) {
      const filled = fills[state];
      out[i] = set * ways + (filled & 0xff);
      state = filled >>> 8;
    }
  }

  /** Brings a set into the state that it has in the same structure of other arrays. */
  copySet(from: ReplacementState, set: number): void {
    const { words, logs } = this;
    if (logs !== null && from.logs !== null) {
      for (const slot of from.logs.order(set).reverse()) logs.use(this.firstPlace + slot);
    } else if (this.isTree) {
      // A tree names places: those that correspond.
      const tree = this.setsAt + (set << SET_SHIFT);
      const fromTree = from.setsAt + (set << SET_SHIFT);
      for (let i = 0; i < TREE_WORDS; i++)
        words[tree + i] = from.words[fromTree + i] - from.firstPlace + this.firstPlace;
    } else {
      words[this.stateWordOf(set)] = from.words[from.stateWordOf(set)];
    }
  }

  /** Records a use of `place` in its set's tree. */
  private use(place: number): void {
    this.words[this.rootsAt + (place & ~3)] = place;
    this.words[this.pairsAt + (place & ~1)] = place;
  }

  /** Numbers that {@link capture} writes: one a set, or one a slot for logs. */
  get stateLength(): number {
    return this.logs !== null ? this.slots : this.slots / this.ways;
  }

  /**
   * Writes the state of all sets to `out` from `at` on, in the form of `TlbEntries.replacement`, for saved states.
   * @returns where it ends
   */
  capture(out: Uint16Array, at: number): number {
    const { ways, logs } = this;
    let end = at;
    for (let set = 0; set < this.slots / ways; set++) {
      if (logs !== null) {
        for (const slot of logs.order(set)) out[end++] = slot - set * ways;
      } else {
        out[end++] = this.stateOf(set);
      }
    }
    return end;
  }

  /**
   * Brings all sets into the state that `from` has from `at` on.
   * @returns where it ends
   * @throws StateError for a state that there is not
   */
  restore(from: Uint16Array, at: number): number {
    const { ways, words, logs } = this;
    let end = at;
    for (let set = 0; set < this.slots / ways; set++) {
      if (logs !== null) {
        for (let i = ways - 1; i >= 0; i--) {
          checkState("replacement", from[end + i] < ways, `has no way ${from[end + i]}`);
          logs.use(this.firstPlace + set * ways + from[end + i]);
        }
        end += ways;
      } else {
        const state = from[end++];
        checkState("replacement", state < this.states, `has no state ${state}`);
        if (this.isTree) this.setTreeState(set, state);
        else words[this.stateWordOf(set)] = state;
      }
    }
    return end;
  }

  /** The state of a set in the table form, as a number; of a tree, what that form would have. */
  private stateOf(set: number): number {
    return this.isTree ? this.treeState(set) : this.words[this.stateWordOf(set)];
  }

  /** The number that the table form gives the state of a tree: that after the two uses which the tree remembers. */
  private treeState(set: number): number {
    const { words } = this;
    const last = words[this.pairsAt + (words[this.rootsAt + this.firstPlace + set * TREE_WAYS] & ~1)];
    const before = words[this.pairsAt + ((last ^ 2) & ~1)];
    return afterUse(afterUse(0, this.fillUse[before & 3]), this.fillUse[last & 3]);
  }

  private setTreeState(set: number, state: number): void {
    const first = this.firstPlace + set * this.ways;
    for (let last = 0; last < TREE_WAYS; last++) {
      for (let before = last < 2 ? 2 : 0; before < (last < 2 ? 4 : 2); before++) {
        if (afterUse(afterUse(0, this.fillUse[before]), this.fillUse[last]) !== state) continue;
        this.use(first + before);
        this.use(first + last);
        return;
      }
    }
  }
}
