/** The entries of second-stage tables: Intel's extended page tables, and AMD's nested page tables. */

import * as ept from "../isa/ept.ts";
import {
  entryFrame,
  PTE_ACCESSED,
  PTE_ADDRESS_HIGH,
  PTE_DIRTY,
  PTE_PAGE_SIZE,
  PTE_PRESENT,
  PTE_RW,
  PTE_USER,
  PTE_XD_HIGH,
} from "../isa/pte.ts";
import { VENDOR_RULES } from "../isa/vendor.ts";
import {
  SECOND_ALL,
  SECOND_FETCH,
  SECOND_FETCH_USER,
  SECOND_READ,
  SECOND_WRITE,
  type SecondStageFormat,
} from "./second-stage.ts";

/** Bits 0, 1 and 2 of an entry of EPT are the rights `SECOND_READ`, `SECOND_WRITE` and `SECOND_FETCH`; bit 10 is the fourth. */
const EPT_RIGHTS = ept.EPT_READ | ept.EPT_WRITE | ept.EPT_EXECUTE;

/** Extended page tables (Intel SDM vol. 3C, 29.3.2). */
export class EptFormat implements SecondStageFormat {
  readonly levels: number;
  readonly modeBased: boolean;
  /** With accessed and dirty flags, accesses to the guest's page tables are treated as writes (29.3.5), else as reads. */
  readonly tableNeed: number;
  readonly accessed: number;
  readonly dirty: number;
  private readonly rules: ept.EptRules;

  constructor(rules: ept.EptRules, { levels, accessedDirty }: ept.EptPointer) {
    this.rules = rules;
    this.levels = levels;
    this.modeBased = rules.modeBased;
    this.tableNeed = accessedDirty ? SECOND_READ | SECOND_WRITE : SECOND_READ;
    this.accessed = accessedDirty ? ept.EPT_ACCESSED : 0;
    this.dirty = accessedDirty ? ept.EPT_DIRTY : 0;
  }

  isPresent(low: number): boolean {
    return this.rules.isPresent(low);
  }

  isReserved(low: number, high: number, level: number): boolean {
    return this.rules.isMisconfigured(low, high, level);
  }

  isLeaf(low: number, level: number): boolean {
    return this.rules.isLeaf(low, level);
  }

  rightsOf(low: number): number {
    const rights = low & EPT_RIGHTS;
    if (!this.modeBased) return (rights & SECOND_FETCH) !== 0 ? rights | SECOND_FETCH_USER : rights;
    return (low & ept.EPT_EXECUTE_USER) !== 0 ? rights | SECOND_FETCH_USER : rights;
  }

  frameOf(low: number, high: number): number {
    return entryFrame(low, high);
  }

  memoryTypeOf(low: number): { readonly type: number; readonly ignoresPat: boolean } {
    return { type: (low >> ept.EPT_MEMORY_TYPE_SHIFT) & 7, ignoresPat: (low & ept.EPT_IGNORE_PAT) !== 0 };
  }
}

/** What of the host decides how nested page tables are read: its paging mode at VMRUN (AMD APM vol. 2, 15.25.3). */
export interface NestedPagingMode {
  /** Levels of tables, from the host's CR4.LA57. */
  readonly levels: 4 | 5;
  /** The host's EFER.NXE: XD counts, else it is reserved. */
  readonly noExecute: boolean;
  /** Width of physical addresses in bits. */
  readonly maxPhyAddr: number;
  /** Whether a PDPTE may map a 1 GiB page. */
  readonly page1g: boolean;
}

/**
 * Nested page tables (AMD APM vol. 2, 15.25.5): entries as of any page tables in long mode. All accesses are user accesses, so that an
 * entry without U/S allows nothing, and the host's CR0.WP does not matter. Those to the guest's page tables are writes.
 */
export class NestedTableFormat implements SecondStageFormat {
  readonly levels: number;
  readonly modeBased = false;
  readonly tableNeed = SECOND_READ | SECOND_WRITE;
  readonly accessed = PTE_ACCESSED;
  readonly dirty = PTE_DIRTY;
  private readonly reservedHigh: number;
  private readonly page1g: boolean;

  constructor({ levels, noExecute, maxPhyAddr, page1g }: NestedPagingMode) {
    this.levels = levels;
    this.page1g = page1g;
    this.reservedHigh = (PTE_ADDRESS_HIGH & ~(2 ** (maxPhyAddr - 32) - 1)) | (noExecute ? 0 : PTE_XD_HIGH);
  }

  isPresent(low: number): boolean {
    return (low & PTE_PRESENT) !== 0;
  }

  isReserved(low: number, high: number, level: number): boolean {
    if ((high & this.reservedHigh) !== 0) return true;
    if (level >= 4) return (low & (PTE_PAGE_SIZE | VENDOR_RULES.amd.reservedTopLow)) !== 0;
    if (level === 1 || (low & PTE_PAGE_SIZE) === 0) return false;
    if (level === 3 && !this.page1g) return true;
    return (low & (level === 3 ? 0x3fff_e000 : 0x001f_e000)) !== 0;
  }

  isLeaf(low: number, level: number): boolean {
    return level === 1 || (low & PTE_PAGE_SIZE) !== 0;
  }

  rightsOf(low: number, high: number): number {
    if ((low & PTE_USER) === 0) return 0;
    const rights = (low & PTE_RW) !== 0 ? SECOND_ALL : SECOND_ALL & ~SECOND_WRITE;
    return (high & PTE_XD_HIGH) !== 0 ? rights & ~(SECOND_FETCH | SECOND_FETCH_USER) : rights;
  }

  frameOf(low: number, high: number): number {
    return entryFrame(low, high);
  }

  memoryTypeOf(): null {
    return null;
  }
}
