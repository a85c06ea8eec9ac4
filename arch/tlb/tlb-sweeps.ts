/** What removes many entries of a structure of cached translations at once, and what says which are pieces of larger pages. */

import * as translation from "../isa/translation.ts";
import * as layout from "./cpu-arrays.ts";
import type { TlbSlots } from "./tlb-slots.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { ATTRIBUTE_PCID_MASK, ATTRIBUTE_PCID_SHIFT, CELL_SHIFT, WORD_ATTRIBUTES, WORD_NEXT, WORD_SHIFT } = layout;
const { EVERY_PCID, GUEST_CONTEXTS, GUEST_TAG, SIZE_BYTES, SIZE_TABLE } = translation;
const { TR_GLOBAL, TR_GUEST_SIZE_SHIFT, TR_SIZE_SHIFT } = translation;

/** The size (`SIZE_*`) that a page has in the page tables, in those of the guest if both stages are combined. */
export function pageSizeOf(flags: number): number {
  return Math.max((flags >> TR_SIZE_SHIFT) & 3, (flags >> TR_GUEST_SIZE_SHIFT) & 3);
}

/** Removes the entries of a context: of one PCID but not its global ones, or (a context of `GLOBAL_CONTEXT`) these alone. */
export function dropContext(tlb: TlbSlots, context: number): void {
  const { ways } = tlb;
  let left = tlb.count;
  for (let set = 0; left > 0; set++) {
    const held = tlb.countOf(set);
    left -= held;
    for (let slot = set * ways, seen = 0; seen < held; slot++) {
      if (!tlb.isUsed(slot)) continue;
      seen++;
      if (tlb.isInContext(slot, context)) tlb.drop(slot, set);
    }
  }
}

/** Removes the entry in `slot` if it is of a PCID, or of any (`EVERY_PCID`), of a guest; a global one if asked to. */
function dropIfAmong(tlb: TlbSlots, slot: number, context: number, globals: boolean): void {
  if (translation.isAmongContexts(tlb.contextOf(slot), context, globals)) tlb.drop(slot);
}

/** Removes the entries of one size for a tag, of a PCID or of all (`EVERY_PCID`) of a guest, global ones only if asked to. */
export function dropTag(tlb: TlbSlots, untagged: number, number: number, context: number, globals: boolean): void {
  const { cells, words, firstPlace } = tlb;
  const tag = context < GUEST_CONTEXTS ? untagged : untagged + GUEST_TAG;
  const set = (number & tlb.lowMask) ^ ((number >>> tlb.hashShift) & tlb.hashMask);
  if (tlb.headAt < 0) {
    const first = firstPlace + set * tlb.ways;
    for (let place = first; place < first + tlb.ways; place++) {
      if (cells[place << CELL_SHIFT] === tag && isAmong(tlb, place, context, globals))
        tlb.drop(place - firstPlace, set);
    }
    return;
  }
  let place = words[tlb.headAt + (number & tlb.headMask)];
  while (place !== 0) {
    const next = words[(place << WORD_SHIFT) | WORD_NEXT];
    if (cells[place << CELL_SHIFT] === tag && isAmong(tlb, place, context, globals)) tlb.drop(place - firstPlace, set);
    place = next;
  }
}

/** Whether the entry at `place`, whose tag is one of the host or the guest that is meant, is of a PCID, or of any; a global one if asked to. */
function isAmong(tlb: TlbSlots, place: number, context: number, globals: boolean): boolean {
  if (context >= GUEST_CONTEXTS)
    return translation.isAmongContexts(tlb.contextOf(place - tlb.firstPlace), context, globals);
  const attributes = tlb.words[(place << WORD_SHIFT) | WORD_ATTRIBUTES];
  if ((attributes & TR_GLOBAL) !== 0) return globals;
  return ((attributes >> ATTRIBUTE_PCID_SHIFT) & ATTRIBUTE_PCID_MASK) === context || context === EVERY_PCID;
}

/** Removes the entries of a guest, or of the host (0), under all PCIDs; global ones if asked to. */
export function dropGuest(tlb: TlbSlots, guest: number, globals: boolean): void {
  const { ways } = tlb;
  const every = guest * GUEST_CONTEXTS + EVERY_PCID;
  let left = tlb.count;
  for (let set = 0; left > 0; set++) {
    const held = tlb.countOf(set);
    left -= held;
    for (let slot = set * ways, seen = 0; seen < held; slot++) {
      if (!tlb.isUsed(slot)) continue;
      seen++;
      dropIfAmong(tlb, slot, every, globals);
    }
  }
}

/**
 * Removes the pieces of the larger page that contains `la`, those of a PCID or of all (`EVERY_PCID`) of a guest: INVLPG removes all of
 * them (Intel SDM vol. 3A, 4.10.4.1).
 */
export function dropPieces(tlb: TlbSlots, la: number, context: number, globals: boolean): void {
  tlb.mayHoldPieces = false;
  for (let slot = 0; slot < tlb.slots; slot++) {
    if (!tlb.isUsed(slot) || tlb.sizeOf(slot) === SIZE_TABLE) continue;
    const pageSize = pageSizeOf(tlb.flagsOf(slot));
    if (pageSize <= tlb.sizeOf(slot)) continue;
    tlb.mayHoldPieces = true;
    const bytes = SIZE_BYTES[pageSize];
    if (Math.floor(tlb.addressOf(slot) / bytes) === Math.floor(la / bytes)) dropIfAmong(tlb, slot, context, globals);
  }
}
