/** Where a TLB that holds pages and entries of tables has the latter, so that these are removed without a look at all slots. */

import * as translation from "../isa/translation.ts";
import { isAmongContexts } from "../isa/translation.ts";
import type { TlbSlots } from "./tlb-slots.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { SIZE_TABLE } = translation;

/** Notes that there is room for at first; a power of two. */
const FIRST_ROOM = 16;
/** Room for none: a CPU has ten TLBs, most of which never hold an entry of a table. */
const NO_ROOM = new Int32Array(0);

/** Slots that entries of tables were put into, and that may still hold them. */
export class TableSlots {
  private readonly tlb: TlbSlots;
  /** The notes, and their number: a plain array whose length is set has V8 call its runtime, at each INVLPG. */
  private slots = NO_ROOM;
  private count = 0;

  constructor(tlb: TlbSlots) {
    this.tlb = tlb;
  }

  /** Notes a slot. What no longer holds an entry of a table is left out when there are too many notes. */
  add(slot: number): void {
    if (this.count === this.slots.length) this.makeRoom();
    this.slots[this.count++] = slot;
  }

  /** Removes the entries of tables of a PCID, or of all (`EVERY_PCID`), of a guest. */
  drop(context: number): void {
    const { tlb, slots, count } = this;
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const slot = slots[i];
      if (!this.isHeld(slot)) continue;
      if (isAmongContexts(tlb.contextOf(slot), context, false)) tlb.drop(slot);
      else slots[kept++] = slot;
    }
    this.count = kept;
  }

  /** Removes all entries of tables. */
  dropAll(): void {
    const { tlb, slots, count } = this;
    for (let i = 0; i < count; i++) if (this.isHeld(slots[i])) tlb.drop(slots[i]);
    this.count = 0;
  }

  /** Forgets all slots. */
  clear(): void {
    this.count = 0;
  }

  /** Leaves out what is noted twice, or no longer holds an entry of a table; if that is less than half, there is room for twice as many. */
  private makeRoom(): void {
    const held = [...new Set(this.slots)].filter((slot) => this.isHeld(slot));
    if (this.slots === NO_ROOM) this.slots = new Int32Array(FIRST_ROOM);
    else if (2 * held.length > this.slots.length) this.slots = new Int32Array(2 * this.slots.length);
    this.slots.set(held);
    this.count = held.length;
  }

  private isHeld(slot: number): boolean {
    return this.tlb.isUsed(slot) && this.tlb.sizeOf(slot) === SIZE_TABLE;
  }
}
