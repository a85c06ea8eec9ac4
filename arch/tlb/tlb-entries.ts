/** What TLBs and paging-structure caches hold, for saved states: entries by slot, and what each set would evict. */
import { LEVEL_BYTES } from "../isa/linear-address.ts";
import { checkState } from "../isa/state-error.ts";
import { GUEST_CONTEXTS, SIZE_BYTES, SIZE_TABLE, TAG_SIZE_STEP } from "../isa/translation.ts";
import { WORD_NEXT, WORD_SHIFT } from "./cpu-arrays.ts";
import type { GuestNumbers } from "./guest-numbers.ts";
import { structureLevel, structureTag } from "./paging-structure-caches.ts";
import type { Tlb } from "./tlb.ts";

/** The entries of a list of structures, one row an entry: all columns but the last three have as many elements. */
export interface TlbEntries {
  /** Names of the structures, in their order. */
  readonly structures: readonly string[];
  /** Which structure holds it, by its number in the list. */
  readonly structure: Uint32Array;
  /** Set times ways plus way. Rows are in such an order that of two entries a lookup would find, the later row is found. */
  readonly slot: Uint32Array;
  /** First linear address that it covers. */
  readonly address: Float64Array;
  /** 0 to 2: a page of 4 KiB, 2 MiB, 1 GiB; 3: an entry that refers to a page table. */
  readonly size: Uint8Array;
  /** For an entry that refers to a page table, the level of that entry (2 PDE to 5 PML5E); else 0. */
  readonly level: Uint8Array;
  /** The PCID; 4096 for a global translation. */
  readonly pcid: Uint16Array;
  /** First 4 KiB frame of the page, or the frame of the table. */
  readonly frame: Float64Array;
  /** Rights and attributes, as translation.ts packs them. */
  readonly flags: Uint16Array;
  /**
   * Replacement state of all sets of all structures, one after the other: a number a set, as its policy counts states
   * (arch/presets/replacement), or for LRU over more than 5 ways the ways of the set, the one used last first.
   */
  readonly replacement: Uint16Array;
  /** Absent where no entry can be a guest's. */
  readonly guests?: GuestEntries | undefined;
  /** How many PCIDs each structure that holds a limited number of them knows (others: 0), and these, the latest used first. */
  readonly pcidCounts: Uint16Array;
  readonly recentPcids: Uint16Array;
}

/** What entries of guests have beside others. */
export interface GuestEntries {
  /** By entry: the VPID or ASID; 0 for one of the host. */
  readonly vpid: Uint16Array;
  /** By entry: what a combined translation has beside {@link TlbEntries.flags}: bits 16 to 20 of what translation.ts packs. */
  readonly flags: Uint8Array;
  /** By PCID of {@link TlbEntries.recentPcids}: whose it is. */
  readonly recentVpids: Uint16Array;
}

/** The numbers of guests of each structure, in the structures' order; null where no entry can be a guest's. */
export type NumbersOfTlbs = readonly GuestNumbers[] | null;

/** Copies what the structures hold. */
export function captureTlbEntries(tlbs: readonly Tlb[], numbers: NumbersOfTlbs = null): TlbEntries {
  const slots = tlbs.map(usedSlots);
  const count = slots.reduce((sum, used) => sum + used.length, 0);
  const entries = {
    structures: tlbs.map(({ name }) => name),
    structure: new Uint32Array(count),
    slot: new Uint32Array(count),
    address: new Float64Array(count),
    size: new Uint8Array(count),
    level: new Uint8Array(count),
    pcid: new Uint16Array(count),
    frame: new Float64Array(count),
    flags: new Uint16Array(count),
    replacement: new Uint16Array(tlbs.reduce((sum, { replacement }) => sum + replacement.stateLength, 0)),
    pcidCounts: Uint16Array.from(tlbs, (tlb) => tlb.recentPcids().length),
    recentPcids: Uint16Array.from(tlbs.flatMap((tlb) => tlb.recentPcids().map((context) => context % GUEST_CONTEXTS))),
    ...(numbers === null ? {} : { guests: captureGuests(tlbs, slots, numbers) }),
  };
  let row = 0;
  let at = 0;
  tlbs.forEach((tlb, structure) => {
    for (const slot of slots[structure]) {
      entries.structure[row] = structure;
      entries.slot[row] = slot;
      entries.address[row] = tlb.addressOf(slot);
      entries.size[row] = tlb.sizeOf(slot);
      entries.level[row] = tlb.sizeOf(slot) === SIZE_TABLE ? structureLevel(tlb.tagOf(slot)) : 0;
      entries.pcid[row] = tlb.pcidOf(slot);
      entries.frame[row] = tlb.frameOf(slot);
      entries.flags[row++] = tlb.flagsOf(slot);
    }
    at = tlb.replacement.capture(entries.replacement, at);
  });
  return entries;
}

function captureGuests(
  tlbs: readonly Tlb[],
  slots: readonly (readonly number[])[],
  numbers: readonly GuestNumbers[],
): GuestEntries {
  const idIn = (structure: number, number: number): number => (number === 0 ? 0 : numbers[structure].idOf(number));
  return {
    vpid: Uint16Array.from(
      tlbs.flatMap((tlb, structure) => slots[structure].map((slot) => idIn(structure, tlb.guestOf(slot)))),
    ),
    flags: Uint8Array.from(tlbs.flatMap((tlb, structure) => slots[structure].map((slot) => tlb.flagsOf(slot) >> 16))),
    recentVpids: Uint16Array.from(
      tlbs.flatMap((tlb, structure) =>
        tlb.recentPcids().map((context) => idIn(structure, Math.floor(context / GUEST_CONTEXTS))),
      ),
    ),
  };
}

/** What a context has of a guest's VPID or ASID. @throws StateError for one that has not run */
function contextOf(vpid: number, numbers: GuestNumbers | undefined): number {
  if (vpid === 0) return 0;
  const [number] = numbers?.ofId(vpid) ?? [];
  checkState("TLBs", number !== undefined, `cannot have entries of VPID or ASID ${vpid}`);
  return number * GUEST_CONTEXTS;
}

/**
 * Makes the structures hold just that.
 * @throws StateError when they are other structures, or of other shapes
 */
export function restoreTlbEntries(tlbs: readonly Tlb[], entries: TlbEntries, numbers: NumbersOfTlbs = null): void {
  const { guests } = entries;
  const isOfGuests = guests !== undefined;
  checkState("TLBs", isOfGuests === (numbers !== null), `are those of ${isOfGuests ? "vCPUs" : "no vCPUs"}`);
  const names = tlbs.map(({ name }) => name);
  const found = entries.structures.join(", ");
  checkState("TLBs", names.join(", ") === found, `are ${names.join(", ")}, not ${found}`);
  const states = tlbs.reduce((sum, { replacement }) => sum + replacement.stateLength, 0);
  checkState("TLBs", entries.replacement.length === states, "have another number of sets");
  checkColumns(tlbs, entries);
  for (const tlb of tlbs) tlb.clear();
  for (let row = 0; row < entries.slot.length; row++) {
    const tlb = tlbs[entries.structure[row]];
    const slot = entries.slot[row];
    checkState(
      "TLBs",
      tlb !== undefined && slot < tlb.slots && slot % tlb.ways < tlb.replacement.filledWays && !tlb.isUsed(slot),
      `cannot have an entry in slot ${slot}`,
    );
    const { [row]: size } = entries.size;
    const { [row]: address } = entries.address;
    const isTable = size === SIZE_TABLE;
    const bytes = isTable ? LEVEL_BYTES[entries.level[row]] : SIZE_BYTES[size];
    const tag = address + (isTable ? structureTag(entries.level[row]) : size * TAG_SIZE_STEP);
    tlb.putBack(
      slot,
      tag,
      Math.floor(address / bytes) | 0,
      contextOf(guests?.vpid[row] ?? 0, numbers?.[entries.structure[row]]) + entries.pcid[row],
      size,
      entries.frame[row],
      entries.flags[row] | ((guests?.flags[row] ?? 0) << 16),
    );
  }
  let at = 0;
  let pcidsAt = 0;
  tlbs.forEach((tlb, structure) => {
    at = tlb.replacement.restore(entries.replacement, at);
    const end = pcidsAt + entries.pcidCounts[structure];
    const contexts: number[] = [];
    for (let i = pcidsAt; i < end; i++) {
      contexts.push(contextOf(guests?.recentVpids[i] ?? 0, numbers?.[structure]) + entries.recentPcids[i]);
    }
    tlb.setRecentPcids(contexts);
    pcidsAt = end;
  });
}

/** @throws StateError unless each entry has its guest's part, and each structure its recent PCIDs */
function checkColumns(tlbs: readonly Tlb[], { slot, pcidCounts, recentPcids, guests }: TlbEntries): void {
  const isWhole = guests === undefined || (guests.vpid.length === slot.length && guests.flags.length === slot.length);
  checkState("TLBs", isWhole, `have ${slot.length} entries, and not as many of guests`);
  const pcids = pcidCounts.reduce((sum, pcidsOfOne) => sum + pcidsOfOne, 0);
  const areAll = pcidCounts.length === tlbs.length && recentPcids.length === pcids;
  const areGuests = guests === undefined || guests.recentVpids.length === pcids;
  checkState("TLBs", areAll && areGuests, `remember ${pcids} PCIDs, and not as many are there`);
}

/** The slots in use, in an order in which `Tlb.putBack` makes the index anew: what a lookup finds first comes last. */
function usedSlots(tlb: Tlb): number[] {
  const { words, headAt, headMask, firstPlace } = tlb;
  if (headAt < 0) return Array.from({ length: tlb.slots }, (_, slot) => slot).filter((slot) => tlb.isUsed(slot));
  const used: number[] = [];
  for (let head = 0; head <= headMask && !tlb.isEmpty; head++) {
    const chain: number[] = [];
    for (let place = words[headAt + head]; place !== 0; place = words[(place << WORD_SHIFT) | WORD_NEXT]) {
      chain.push(place - firstPlace);
    }
    used.push(...chain.reverse());
  }
  return used;
}
