/**
 * The fast path of one CPU: start with README.md. Here are the predictions of first-level hits and the rule that keeps them
 * right: what is told of events that could make one wrong.
 */

import * as translation from "../isa/translation.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { FlushAttribution } from "../tlb/flush-attribution.ts";
import type { Tlb } from "../tlb/tlb.ts";
import { AccessPath } from "./access-path.ts";
import type { AccessPathParts } from "./access-path-parts.ts";
import { BulkWalk, doesBulkWalks } from "./bulk-walk.ts";
import { KnownTables } from "./known-tables.ts";

const {
  ACCESSES_WATCHED,
  ATTRIBUTE_STORES,
  FAST_PATH_OFF,
  LARGE_TRANSLATIONS_WORD,
  LOAD_PREDICTIONS_WORD,
  PREDICTIONS_MASK,
} = layout;
const { LARGE_PREDICTIONS_MASK, LARGE_PREDICTIONS_SHIFT, LARGE_PREDICTIONS_WORD, PREDICTIONS_SHIFT } = layout;
const { WORD_ATTRIBUTES, WORD_SHIFT } = layout;
const { SIZE_4K, SIZE_BYTES } = translation;
const KINDS = 3;
const KIND_STORE = 1;
/** The last frame of whose pages hits are predicted: frames are signed words on the fast path. */
const FRAME_MAX = 2 ** 31 - 1;

/** Predictions and paths of all kinds of access. */
export class FastPath {
  /** The path of loads. */
  readonly loads: AccessPath;
  /** The path of stores. */
  readonly stores: AccessPath;
  /** The path of instruction fetches. */
  readonly fetches: AccessPath;
  /** Many loads and stores one after another; null where these TLBs are not what it does. */
  private readonly bulkWalk: BulkWalk | null;
  private readonly parts: AccessPathParts;
  private readonly words: Int32Array;
  /** First word of what the CPU has. */
  private readonly firstWord: number;
  /** Word of the number of translations of larger pages. */
  private readonly largeAt: number;
  private readonly tables: KnownTables;
  private refusesAddresses = false;
  /** TLBs that hold a limited number of PCIDs. */
  private readonly limited: readonly Tlb[];

  constructor(parts: AccessPathParts) {
    const { arrays, tlbs } = parts;
    this.parts = parts;
    this.words = arrays.words;
    this.firstWord = arrays.firstWord;
    this.largeAt = arrays.firstWord + LARGE_TRANSLATIONS_WORD;
    const walkParts = { ...parts, tables: new KnownTables(arrays) };
    this.tables = walkParts.tables;
    const byKind = tlbs.tlbsByKind();
    const small = byKind.map(({ first, second }) => ({ first: first[0][0], second: second[0] }));
    // A fill replaces the predictions of loads and stores, or of fetches, but not of all three.
    const isUnified = small[2].first === small[0].first || small[2].first === small[1].first;
    this.limited = [...tlbs.first, ...tlbs.second].filter(({ isLimited }) => isLimited);
    // A translation by the general path teaches a PCID to the TLBs of its kind of access, which must be those of all kinds.
    const isShared = this.limited.every((tlb) => small.every(({ second }) => second.includes(tlb)));
    const [loads, stores, fetches] = byKind.map((each, kind) => {
      return new AccessPath(kind, each, !isUnified && isShared, walkParts);
    });
    this.loads = loads;
    this.stores = stores;
    this.fetches = fetches;
    const isBulk = [loads, stores, fetches].every((path) => path.isKnown);
    this.bulkWalk =
      isBulk && doesBulkWalks(byKind, parts.structures.ofLevel(2), parts.preset)
        ? new BulkWalk(byKind, [loads, stores], walkParts)
        : null;
  }

  /** Many loads and stores one after another; null where that is not possible now, or never. */
  get bulk(): BulkWalk | null {
    return this.words[this.largeAt] === 0 ? this.bulkWalk : null;
  }

  /**
   * Event: something has changed that decides whether a cached translation may be used (a control register, PKRU, PKRS, CPL,
   * EFLAGS.AC, the current PCID). Nothing that was known before holds any more.
   */
  contextChanged(): void {
    const { words, firstWord } = this;
    const end = firstWord + LARGE_PREDICTIONS_WORD + (KINDS << LARGE_PREDICTIONS_SHIFT);
    words.fill(0, firstWord + LOAD_PREDICTIONS_WORD, end);
    this.tables.forget();
    this.loads.forget();
    this.stores.forget();
    this.fetches.forget();
  }

  /**
   * Event: from now on an attribution has to see every access. Where it can be told of those on the fast path, it is (true); else all
   * take the general path.
   */
  watch(attribution: FlushAttribution): boolean {
    const paths = [this.loads, this.stores, this.fetches];
    const isKnown = paths.every((path) => path.isKnown);
    if (isKnown) this.words[this.largeAt] |= ACCESSES_WATCHED;
    else this.words[this.largeAt] += FAST_PATH_OFF;
    if (isKnown) for (const path of paths) path.watch(attribution, this.parts);
    this.contextChanged();
    return isKnown;
  }

  /** Whether an attribution is told of accesses on the fast path. */
  get isWatched(): boolean {
    return this.loads.unflushed !== undefined;
  }

  /** Takes away what {@link watch} has added, for images of a machine, which bring back all that it has changed. */
  unwatch(): void {
    for (const path of [this.loads, this.stores, this.fetches]) path.unwatch();
  }

  /** Event: from now on every access takes the general path, which counts what it does in each structure. */
  turnOff(): void {
    this.words[this.largeAt] += FAST_PATH_OFF;
    this.contextChanged();
  }

  /** Event: the CPU enters a guest (true), or leaves it. In a guest every access takes the general path. */
  guestChanged(isEntered: boolean): void {
    this.words[this.largeAt] += isEntered ? FAST_PATH_OFF : -FAST_PATH_OFF;
    this.contextChanged();
  }

  /**
   * Event: from now on accesses are refused for their addresses alone (CR4.LASS), or no longer. The fast path does not look at
   * addresses, so it is off then but for predicted hits, which the general path has allowed in the same context.
   */
  refuseAddresses(refused: boolean): void {
    if (refused === this.refusesAddresses) return;
    this.refusesAddresses = refused;
    this.words[this.largeAt] += refused ? FAST_PATH_OFF : -FAST_PATH_OFF;
  }

  /**
   * Event: the general path has filled a slot of a first-level TLB with a translation for `la`. What is predicted of the slot is
   * about another translation, perhaps of the same page.
   */
  slotFilled(la: number, tlb: Tlb, slot: number): void {
    const { words } = this;
    const place = tlb.firstPlace + slot;
    for (let kind = 0; kind < KINDS; kind++) {
      const at = this.predictionOf(kind, la);
      if (words[at] === place) words[at] = 0;
    }
    if (tlb.sizeOf(slot) !== SIZE_4K) this.largeSlotFilled(la, tlb, slot);
  }

  private largeSlotFilled(la: number, tlb: Tlb, slot: number): void {
    const { words } = this;
    const number = (la / SIZE_BYTES[tlb.sizeOf(slot)]) | 0;
    for (let kind = 0; kind < KINDS; kind++) {
      const first = this.firstWord + LARGE_PREDICTIONS_WORD + (kind << LARGE_PREDICTIONS_SHIFT);
      const at = first + (number & LARGE_PREDICTIONS_MASK);
      if (words[at] === tlb.firstPlace + slot) words[at] = 0;
    }
  }

  /**
   * Event: the general path has translated something under `pcid`, the current PCID. The fast path may use it from now on, once
   * the TLBs that hold a limited number of PCIDs have it as the one used last.
   */
  pcidUsed(pcid: number): void {
    if (this.loads.permissions.pcid === pcid) return;
    for (const tlb of this.limited) if (tlb.lastPcid !== pcid) return;
    this.loads.permissions.pcid = pcid;
    this.stores.permissions.pcid = pcid;
    this.fetches.permissions.pcid = pcid;
  }

  /**
   * Event: the TLBs were emptied, and those that hold a limited number of PCIDs know none. The general path has to put in something under the current
   * PCID before the fast path does, which tells them of none.
   */
  pcidsForgotten(): void {
    if (this.limited.length === 0) return;
    this.loads.forget();
    this.stores.forget();
    this.fetches.forget();
  }

  /**
   * Predicts that accesses of `kind` (load 0, store 1, fetch 2) to the 4 KiB page of `la` will hit `slot` of `tlb`, which
   * translates it and allows them. Only pages of memory are predicted, and none in the chunk that memory ends in.
   */
  predict(kind: number, la: number, tlb: Tlb, slot: number): void {
    const frame = tlb.frameOf(slot);
    if (tlb.isLimited || frame > FRAME_MAX || this.parts.memory.wholeChunkAt(frame) === null) return;
    tlb.markMemory(slot);
    const { words } = this;
    const place = tlb.firstPlace + slot;
    if (kind === KIND_STORE) words[(place << WORD_SHIFT) | WORD_ATTRIBUTES] |= ATTRIBUTE_STORES;
    words[this.predictionOf(kind, la)] = place;
  }

  /** The word of the prediction of accesses of `kind` to the 4 KiB page of `la`. */
  private predictionOf(kind: number, la: number): number {
    return this.firstWord + LOAD_PREDICTIONS_WORD + (kind << PREDICTIONS_SHIFT) + ((la >>> 12) & PREDICTIONS_MASK);
  }
}
