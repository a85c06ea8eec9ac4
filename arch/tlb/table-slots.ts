/** Where a TLB that holds pages and entries of tables has the latter, so that these are removed without a look at all slots. */

import * as translation from "../isa/translation.ts";
import { isAmongContexts } from "../isa/translation.ts";
import type { TlbSlots } from "./tlb-slots.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { SIZE_TABLE } = translation;

/** Slots that entries of tables were put into, and that may still hold them. */
export class TableSlots {
  private readonly tlb: TlbSlots;
  private readonly slots: number[] = [];

  constructor(tlb: TlbSlots) {
    this.tlb = tlb;
  }

  /** Notes a slot. What no longer holds an entry of a table is left out when there are too many notes. */
  add(slot: number): void {
    const { slots } = this;
    slots.push(slot);
    if (slots.length <= 2 * this.tlb.slots) return;
    const held = new Set(slots.filter((each) => this.isHeld(each)));
    slots.splice(0, slots.length, ...held);
  }

  /** Removes the entries of tables of a PCID, or of all (`EVERY_PCID`), of a guest. */
  drop(context: number): void {
    this.dropWhere((slot) => isAmongContexts(this.tlb.contextOf(slot), context, false));
  }

  /** Removes all entries of tables. */
  dropAll(): void {
    this.dropWhere(() => true);
  }

  private dropWhere(isMeant: (slot: number) => boolean): void {
    const { tlb, slots } = this;
    let kept = 0;
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i];
      if (!this.isHeld(slot)) continue;
      if (isMeant(slot)) tlb.drop(slot);
      else slots[kept++] = slot;
    }
    slots.length = kept;
  }

  /** Forgets all slots. */
  clear(): void {
    this.slots.length = 0;
  }

  private isHeld(slot: number): boolean {
    return this.tlb.isUsed(slot) && this.tlb.sizeOf(slot) === SIZE_TABLE;
  }
}
