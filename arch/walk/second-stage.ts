/**
 * The second stage of translation: from guest-physical addresses to the machine's. Extended page tables (Intel SDM vol. 3C, 29.3) and
 * AMD's nested page tables (AMD APM vol. 2, 15.25) are walked alike; what their entries look like is a {@link SecondStageFormat}. The
 * steps, as Intel's manual gives them (29.3.3.4):
 *
 *   1  A cached mapping of the address that allows the access, and for a write has a dirty flag set already, is used (29.4.3).
 *   2  Begin at the deepest cached entry that refers to a table, or at the root.
 *   3  The entry is not present: refused, whatever its other bits are.
 *   4  The entry is not supported, or has a reserved bit set: misconfigured.
 *   5  The entry maps the page: the rights of all entries together decide the access. A refusal is no misconfiguration.
 *      Else accessed is set in it, and dirty for a write: done.
 *   6  The entry refers to a table: accessed is set, whether the access will be allowed or not. Back to 3.
 */

import { SIZE_4K } from "../isa/translation.ts";
import type { PhysicalMemory } from "../memory/physical-memory.ts";
import type { GuestPhysicalCaches } from "../tlb/guest-physical-caches.ts";
import type { WalkCaches } from "../tlb/walk-caches.ts";

/** Right, and need of an access: data reads. */
export const SECOND_READ = 1 << 0;
/** Data writes. */
export const SECOND_WRITE = 1 << 1;
/** Instruction fetches; where the mode counts, those from supervisor-mode linear addresses. */
export const SECOND_FETCH = 1 << 2;
/** Instruction fetches from user-mode linear addresses, where the mode counts. */
export const SECOND_FETCH_USER = 1 << 3;
/** All rights. */
export const SECOND_ALL = SECOND_READ | SECOND_WRITE | SECOND_FETCH | SECOND_FETCH_USER;
/** Beside the rights of a mapping: a write need set no dirty flag. */
const SECOND_DIRTY = 1 << 5;

/** Result of a walk: translated. */
export const SECOND_OK = 0;
/** Result: an entry is not present. */
export const SECOND_NOT_PRESENT = 1;
/** Result: the rights refuse the access. */
const SECOND_REFUSED = 2;
/** Result: an entry is misconfigured, or has a reserved bit set. */
export const SECOND_RESERVED = 3;

/** What the entries of one kind of second-stage tables look like. `low` and `high` are the words of an entry. */
export interface SecondStageFormat {
  /** Levels of tables. */
  readonly levels: number;
  /** Whether fetches from user-mode and from supervisor-mode linear addresses have rights of their own. */
  readonly modeBased: boolean;
  /** What reading an entry of the guest's page tables needs. */
  readonly tableNeed: number;
  /** The bit that the use of an entry sets; 0 for none. */
  readonly accessed: number;
  /** The bit that a write sets in the entry that maps the page; 0 for none. */
  readonly dirty: number;
  isPresent(low: number): boolean;
  /** Whether an entry that is present is misconfigured, or has a reserved bit set. */
  isReserved(low: number, high: number, level: number): boolean;
  /** Whether such an entry maps a page. */
  isLeaf(low: number, level: number): boolean;
  /** What it allows: `SECOND_*`. */
  rightsOf(low: number, high: number): number;
  /** Frame of the table or page that it names. */
  frameOf(low: number, high: number): number;
  /** Memory type of an entry that maps a page, and whether it makes the guest's PAT count for nothing; null where it has none. */
  memoryTypeOf(low: number): { readonly type: number; readonly ignoresPat: boolean } | null;
}

/** Index of the entry of `level` (1 to 5) for a guest-physical frame. */
export function secondIndex(guestFrame: number, level: number): number {
  return Math.floor(guestFrame / 2 ** (9 * (level - 1))) % 512;
}

/** The second stage of one guest on one CPU. */
export class SecondStage {
  /** After a walk that found a translation: frame of the 4 KiB page. */
  frame = 0;
  /** After one: size of the page (`SIZE_*`). */
  size = SIZE_4K as number;
  /** After any walk: rights of all entries used (`SECOND_*`), of which one that is not present has none. */
  rights = 0;
  /** After a walk that found a translation: whether a write need set no dirty flag. */
  isDirty = true;
  /** Since {@link begin}: cycles that the fetches of entries took. */
  fetchCycles = 0;
  /** Since {@link begin}: entries in which a flag was set. */
  bitsSet = 0;
  /** Since {@link begin}: walks, which no cached mapping made unnecessary. */
  walks = 0;

  /** What the entries look like. */
  readonly format: SecondStageFormat;
  /** Frame of the top table. */
  readonly rootFrame: number;
  private readonly memory: PhysicalMemory;
  private readonly caches: GuestPhysicalCaches;
  private readonly lines: WalkCaches;
  /** The tag of its entries in `caches`. */
  private readonly guest: number;

  /**
   * @param guest the number that tags cached guest-physical mappings (arch/tlb/guest-physical-caches.ts)
   * @param lines the data caches that entries come through
   */
  constructor(
    format: SecondStageFormat,
    rootFrame: number,
    guest: number,
    memory: PhysicalMemory,
    caches: GuestPhysicalCaches,
    lines: WalkCaches,
  ) {
    this.format = format;
    this.rootFrame = rootFrame;
    this.guest = guest;
    this.memory = memory;
    this.caches = caches;
    this.lines = lines;
  }

  /** Begins to count. */
  begin(): void {
    this.fetchCycles = 0;
    this.bitsSet = 0;
    this.walks = 0;
  }

  /** Removes what is cached for a guest-physical frame, as a fault of the second stage does (29.4.3.1). */
  forget(guestFrame: number): void {
    this.caches.dropFrame(guestFrame, this.guest);
  }

  /** Translates a guest-physical frame for an access that needs all rights of `need`. Returns a `SECOND_*` result. */
  translate(guestFrame: number, need: number): number {
    const { caches, guest, format } = this;
    const isWrite = (need & SECOND_WRITE) !== 0;
    // Step 1.
    if (caches.lookupPage(guestFrame, guest)) {
      const needed = isWrite ? need | SECOND_DIRTY : need;
      if ((caches.rights & needed) === needed) {
        this.frame = caches.frame;
        this.size = caches.size;
        this.rights = caches.rights & SECOND_ALL;
        this.isDirty = (caches.rights & SECOND_DIRTY) !== 0;
        return SECOND_OK;
      }
      caches.dropRefused(guestFrame, guest);
    }
    this.walks++;
    // An address beyond what the tables cover is one that they do not map.
    if (guestFrame >= 2 ** (9 * format.levels)) {
      this.rights = 0;
      return SECOND_NOT_PRESENT;
    }
    return this.walk(guestFrame, need, isWrite);
  }

  /** Steps 2 to 6. */
  private walk(guestFrame: number, need: number, isWrite: boolean): number {
    const { caches, guest, format, memory } = this;
    let level = caches.lookupTable(guestFrame, guest, format.levels);
    let { rootFrame: frame } = this;
    let rights = SECOND_ALL;
    if (level === 0) {
      level = format.levels;
    } else {
      frame = caches.frame;
      rights = caches.rights;
      level--;
    }
    for (;;) {
      const index = secondIndex(guestFrame, level);
      this.fetchCycles += this.lines.fetch(frame * 64 + (index >> 3));
      // Where no memory answers, an entry reads as all ones.
      const isMemory = memory.has(frame);
      const low = isMemory ? memory.readWord(frame, index * 2) : -1;
      const high = isMemory ? memory.readWord(frame, index * 2 + 1) : -1;
      if (!format.isPresent(low)) {
        this.rights = 0;
        return SECOND_NOT_PRESENT;
      }
      rights &= format.rightsOf(low, high);
      this.rights = rights;
      if (format.isReserved(low, high, level)) return SECOND_RESERVED;
      if (format.isLeaf(low, level)) {
        if ((rights & need) !== need) return SECOND_REFUSED;
        const bits = isWrite ? format.accessed | format.dirty : format.accessed;
        if (isMemory) this.setBits(frame, index, low, bits);
        const first = format.frameOf(low, high);
        const inPage = guestFrame % 512 ** (level - 1);
        this.frame = first - (first % 512 ** (level - 1)) + inPage;
        this.size = level - 1;
        this.isDirty = isWrite || (low & format.dirty) === format.dirty;
        const cached = this.isDirty ? rights | SECOND_DIRTY : rights;
        caches.insertPage(guestFrame, guest, this.frame, this.size, cached);
        return SECOND_OK;
      }
      if (isMemory) this.setBits(frame, index, low, format.accessed);
      frame = format.frameOf(low, high);
      caches.insertTable(guestFrame, level, guest, frame, rights);
      level--;
    }
  }

  private setBits(frame: number, index: number, low: number, bits: number): void {
    if ((low & bits) === bits) return;
    this.memory.writeWord(frame, index * 2, low | bits);
    this.bitsSet++;
  }
}
