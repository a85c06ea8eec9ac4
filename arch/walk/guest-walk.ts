/**
 * The page walk of a guest, in two dimensions (Intel SDM vol. 3C, 29.3 and 29.4; AMD APM vol. 2, 15.25): each address that the guest's
 * tables hold, CR3's too, is guest-physical, and the second stage translates it. The steps are those of page-walk.ts, with what a second
 * stage adds:
 *
 *   1  Begin at the deepest cached entry for the linear address, which names the table's frame in the machine, or at the guest's CR3.
 *   2  The second stage translates the table's address, for a read or, as the format says, for a write. If it refuses: a VM exit, whatever
 *      the entry would be. Then the entry is fetched.
 *   3  P = 0, and 4, a reserved bit: a page fault of the guest.
 *   6  The entry maps the page: the guest's rights decide; a refusal is a page fault of the guest, whatever the second stage allows.
 *      Else A, and D for a write, are set. If they were not, that is a write to the table, which the second stage may refuse.
 *   7  The entry refers to a table: A is set likewise. The next table's address is translated as in 2; then the entry is cached, with the
 *      table's frame in the machine: a combined entry.
 *   9  The second stage translates the address of the page for the access itself. If it refuses: a VM exit. Else the translation is
 *      cached, with the smaller of both page sizes, and with the rights of both stages.
 */

import type { Access } from "../isa/access.ts";
import { ACCESS_FETCH, ACCESS_IS_SHADOW_STACK, ACCESS_WRITES } from "../isa/access.ts";
import { PF_PRESENT, PF_RESERVED } from "../isa/faults.ts";
import type { PagingMode } from "../isa/paging-mode.ts";
import { entryFrame, PTE_ACCESSED, PTE_DIRTY, PTE_PAGE_SIZE, PTE_PRESENT } from "../isa/pte.ts";
import * as translation from "../isa/translation.ts";
import type { PhysicalMemory } from "../memory/physical-memory.ts";
import type { PagingStructureCaches } from "../tlb/paging-structure-caches.ts";
import type { WalkCaches } from "../tlb/walk-caches.ts";
import { combineRights, leafFlags, leafFrame, tableIndex, WALK_OK } from "./page-walk.ts";
import * as second from "./second-stage.ts";

const { TR_DIRTY, TR_GUEST_SIZE_SHIFT, TR_NO_FETCH, TR_NO_READ, TR_NO_WRITE, TR_RW, TR_SIZE_SHIFT, TR_USER } =
  translation;

/** Result of a walk that the second stage ended: a VM exit. */
export const WALK_EXIT = -2;
/** What a TLB keeps of the size of a page. */
const SIZE_FLAGS = 3 << TR_SIZE_SHIFT;

/** The page walker of a guest on one CPU. */
export class GuestWalker {
  /** After a walk that found a translation: frame in the machine of the 4 KiB page walked for. */
  frame = 0;
  /** After one: rights and attributes (`TR_*`) of both stages; the size is the smaller of both. */
  flags = 0;
  /** After any walk: cycles that the fetches of entries took, of both dimensions. */
  fetchCycles = 0;
  /** After any walk: entries in which A or D were set, of both dimensions. */
  bitsSet = 0;
  /** After a VM exit: what the second stage answered (`SECOND_*`). */
  exit = second.SECOND_OK;
  /** After a VM exit: guest-physical frame, and whether it was the page's or a table's; then the index of the entry. */
  exitFrame = 0;
  /** After a VM exit: whether the access was to the page, and not to a table. */
  exitIsFinal = false;
  /** After a VM exit at a table: index of the entry that was accessed. */
  exitIndex = 0;
  /** After a VM exit: the rights that the access needed (`SECOND_*`). */
  exitNeed = 0;
  /** After a VM exit at the page: rights and attributes of the guest's own tables (`TR_*`). */
  guestFlags = 0;

  /** The second stage; null for a guest whose tables lead to the machine's memory themselves. */
  readonly stage: second.SecondStage | null;
  private readonly memory: PhysicalMemory;
  private readonly mode: PagingMode;
  private readonly structures: PagingStructureCaches;
  private readonly lines: WalkCaches;
  /** Frame in the machine of the table that is at hand, and its guest-physical frame, -1 where a cached entry leaves it out. */
  private table = 0;
  private guestTable = 0;
  /** Whether the second stage lets that table be written without a VM exit and without setting a flag first. */
  private isTableWritable = true;

  constructor(
    stage: second.SecondStage | null,
    memory: PhysicalMemory,
    mode: PagingMode,
    structures: PagingStructureCaches,
    lines: WalkCaches,
  ) {
    this.stage = stage;
    this.memory = memory;
    this.mode = mode;
    this.structures = structures;
    this.lines = lines;
  }

  /** Walks for the page of `la`. Returns `WALK_OK`, the error code of the guest's page fault (`PF_*`), or `WALK_EXIT`. */
  walk(la: number, access: Access): number {
    this.stage?.begin();
    this.fetchCycles = 0;
    this.bitsSet = 0;
    const result = this.walkTables(la, access);
    if (this.stage !== null) {
      this.fetchCycles += this.stage.fetchCycles;
      this.bitsSet += this.stage.bitsSet;
    }
    return result;
  }

  private walkTables(la: number, access: Access): number {
    const { mode, structures } = this;
    const vpn = Math.floor(la / 4096);
    // Step 1.
    let level = structures.lookup(la, mode.pcid, mode.levels);
    let rights = TR_RW | TR_USER;
    if (level === 0) {
      level = mode.levels;
      if (!this.enterTable(mode.rootFrame, tableIndex(vpn, level))) return WALK_EXIT;
    } else {
      // Only tables that may be written are cached.
      this.table = structures.frame;
      this.guestTable = -1;
      this.isTableWritable = true;
      rights = structures.flags;
      level--;
    }
    for (;;) {
      // Step 2.
      const { table } = this;
      const index = tableIndex(vpn, level);
      this.fetchCycles += this.lines.fetch(table * 64 + (index >> 3));
      const isMemory = this.memory.has(table);
      const low = isMemory ? this.memory.readWord(table, index * 2) : -1;
      const high = isMemory ? this.memory.readWord(table, index * 2 + 1) : -1;
      // Steps 3 and 4.
      if ((low & PTE_PRESENT) === 0) return mode.errorBits[access];
      if ((high & mode.reservedHigh) !== 0 || (low & mode.reservedLowOf(low, level)) !== 0) {
        return mode.errorBits[access] | PF_PRESENT | PF_RESERVED;
      }
      if (level === 1 || (low & PTE_PAGE_SIZE) !== 0) {
        // Step 6.
        const flags = leafFlags(rights, low, high, level, mode.globalPages);
        const refusal = mode.refusal(access, flags);
        if (refusal >= 0) return mode.errorBits[access] | PF_PRESENT | refusal;
        const isDirtied = ACCESS_WRITES[access] && !ACCESS_IS_SHADOW_STACK[access];
        const bits = isDirtied ? PTE_ACCESSED | PTE_DIRTY : PTE_ACCESSED;
        if (isMemory && !this.setBits(index, low, bits)) return WALK_EXIT;
        this.guestFlags = isDirtied ? flags | TR_DIRTY : flags;
        // Step 9.
        return this.translatePage(leafFrame(low, high, level, vpn), access);
      }
      // Step 7.
      if (isMemory && !this.setBits(index, low, PTE_ACCESSED)) return WALK_EXIT;
      rights = combineRights(rights, low, high);
      const isCachedTable = this.enterTable(entryFrame(low, high), tableIndex(vpn, level - 1));
      if (!isCachedTable) return WALK_EXIT;
      if (this.isTableWritable) structures.insert(la, level, mode.pcid, this.table, rights);
      level--;
    }
  }

  /** The rest of step 2: translates the guest-physical address of a table. False: a VM exit. */
  private enterTable(guestTable: number, index: number): boolean {
    const { stage } = this;
    this.guestTable = guestTable;
    if (stage === null) {
      this.table = guestTable;
      return true;
    }
    const need = stage.format.tableNeed;
    const answer = stage.translate(guestTable, need);
    if (answer !== second.SECOND_OK) return this.leave(answer, guestTable, need, index);
    this.table = stage.frame;
    this.isTableWritable = (stage.rights & second.SECOND_WRITE) !== 0;
    return true;
  }

  /** Sets A, and D, in the entry at hand. Where it needs none set, the table is not written. False: a VM exit. */
  private setBits(index: number, low: number, bits: number): boolean {
    if ((low & bits) === bits) return true;
    if (!this.isTableWritable && this.stage !== null) {
      // Without accessed and dirty flags in EPT, this is the only write to a guest's table (Intel SDM vol. 3C, 29.3.3.2).
      const need = second.SECOND_READ | second.SECOND_WRITE;
      const answer = this.stage.translate(this.guestTable, need);
      if (answer !== second.SECOND_OK) return this.leave(answer, this.guestTable, need, index);
      this.table = this.stage.frame;
      this.isTableWritable = true;
    }
    this.memory.writeWord(this.table, index * 2, low | bits);
    this.bitsSet++;
    return true;
  }

  /** Step 9: translates the page's guest-physical frame. */
  private translatePage(guestFrame: number, access: Access): number {
    const { stage, guestFlags } = this;
    if (stage === null) {
      this.frame = guestFrame;
      this.flags = guestFlags;
      return WALK_OK;
    }
    const isUser = (guestFlags & TR_USER) !== 0;
    const fetch = isUser ? second.SECOND_FETCH_USER : second.SECOND_FETCH;
    const need = access === ACCESS_FETCH ? fetch : ACCESS_WRITES[access] ? second.SECOND_WRITE : second.SECOND_READ;
    const answer = stage.translate(guestFrame, need);
    if (answer !== second.SECOND_OK) {
      this.leave(answer, guestFrame, need, 0);
      this.exitIsFinal = true;
      return WALK_EXIT;
    }
    const { rights } = stage;
    const guestSize = (guestFlags & SIZE_FLAGS) >> TR_SIZE_SHIFT;
    this.frame = stage.frame;
    this.flags =
      (guestFlags & ~SIZE_FLAGS) |
      (Math.min(guestSize, stage.size) << TR_SIZE_SHIFT) |
      (guestSize << TR_GUEST_SIZE_SHIFT) |
      ((rights & second.SECOND_READ) !== 0 ? 0 : TR_NO_READ) |
      ((rights & second.SECOND_WRITE) !== 0 && stage.isDirty ? 0 : TR_NO_WRITE) |
      ((rights & fetch) !== 0 ? 0 : TR_NO_FETCH);
    return WALK_OK;
  }

  /** Notes a VM exit at a table. Returns false. */
  private leave(answer: number, guestFrame: number, need: number, index: number): false {
    this.exit = answer;
    this.exitFrame = guestFrame;
    this.exitNeed = need;
    this.exitIndex = index;
    this.exitIsFinal = false;
    return false;
  }
}
