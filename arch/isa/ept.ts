/**
 * Extended page tables: Intel's second stage of translation (Intel SDM vol. 3C, 29.3 "The Extended Page Table Mechanism"). Entries
 * are 64 bits, handled as two 32-bit words as in pte.ts. Here are the bits of entries and of the EPTP, which bits are reserved, and
 * the bits of an exit qualification.
 */
import { PTE_ADDRESS_HIGH } from "./pte.ts";

/** Bit 0: data reads are allowed. */
export const EPT_READ = 1 << 0;
/** Bit 1: data writes are allowed. */
export const EPT_WRITE = 1 << 1;
/** Bit 2: instruction fetches are allowed; with mode-based execute control those from supervisor-mode linear addresses. */
export const EPT_EXECUTE = 1 << 2;
/** Position of the memory type (bits 5:3) of an entry that maps a page. */
export const EPT_MEMORY_TYPE_SHIFT = 3;
/** Bit 6 of an entry that maps a page: the guest's PAT is ignored. */
export const EPT_IGNORE_PAT = 1 << 6;
/** Bit 7 of a PDPTE or PDE: the entry maps a page. */
export const EPT_PAGE_SIZE = 1 << 7;
/** Bit 8, with bit 6 of the EPTP: the entry was used. */
export const EPT_ACCESSED = 1 << 8;
/** Bit 9 of an entry that maps a page, with bit 6 of the EPTP: the page was written. */
export const EPT_DIRTY = 1 << 9;
/** Bit 10, with mode-based execute control: fetches from user-mode linear addresses are allowed. */
export const EPT_EXECUTE_USER = 1 << 10;
/** Bit 63, here bit 31 of the high word: suppress #VE. Ignored, as there is no #VE here. */
export const EPT_SUPPRESS_VE_HIGH = 0x8000_0000 | 0;

/** EPTP, bits 2:0: memory type of the tables, UC. */
const EPTP_UC = 0n;
/** EPTP, bits 2:0: memory type of the tables, WB. */
const EPTP_WB = 6n;
/** EPTP, bit 6: accessed and dirty flags are used. */
const EPTP_ACCESSED_DIRTY = 1n << 6n;

/** What an EPTP says (SDM vol. 3C, table 25-9 "Format of Extended-Page-Table Pointer"). */
export interface EptPointer {
  /** Physical address / 4096 of the top table. */
  readonly rootFrame: number;
  /** Levels of tables: bits 5:3 hold one less. */
  readonly levels: 4 | 5;
  /** Whether entries have accessed and dirty flags: bit 6. */
  readonly accessedDirty: boolean;
  /** Memory type of the tables themselves: UC or WB, bits 2:0. Of no effect here. Default: WB. */
  readonly memoryType?: "UC" | "WB";
}

/** What of a CPU's abilities decides whether an EPTP or an entry is valid: IA32_VMX_EPT_VPID_CAP. */
export interface EptAbilities {
  /** Whether EPT may have five levels (bit 7). */
  readonly ept5: boolean;
  /** Whether a PDPTE may map a 1 GiB page (bit 17). */
  readonly ept1g: boolean;
  /** Whether an entry may allow fetches but no reads (bit 0). */
  readonly eptExecuteOnly: boolean;
  /** Whether there are accessed and dirty flags (bit 21). */
  readonly eptAccessedDirty: boolean;
}

/** The 64 bits of an EPTP. */
export function encodeEptp({ rootFrame, levels, accessedDirty, memoryType = "WB" }: EptPointer): bigint {
  const type = memoryType === "WB" ? EPTP_WB : EPTP_UC;
  return BigInt(rootFrame) * 4096n + type + BigInt(levels - 1) * 8n + (accessedDirty ? EPTP_ACCESSED_DIRTY : 0n);
}

/**
 * What an EPTP says, or in words why a VM entry, or INVEPT, refuses it (SDM vol. 3C, 27.2.1.1 "VM-Execution Control Fields").
 * @param maxPhyAddr width of physical addresses in bits
 */
export function decodeEptp(eptp: bigint, maxPhyAddr: number, abilities: EptAbilities): EptPointer | string {
  const shown = `EPTP 0x${BigInt.asUintN(64, eptp).toString(16)}`;
  if (eptp < 0n || eptp >= 1n << BigInt(maxPhyAddr)) return `${shown}: bits at or above ${maxPhyAddr} are reserved`;
  const type = eptp & 7n;
  const levels = Number((eptp >> 3n) & 7n) + 1;
  const accessedDirty = (eptp & EPTP_ACCESSED_DIRTY) !== 0n;
  if (type !== EPTP_UC && type !== EPTP_WB) return `${shown}: memory type ${type} of the tables`;
  if (levels !== 4 && !(levels === 5 && abilities.ept5)) return `${shown}: ${levels} levels of tables`;
  if (accessedDirty && !abilities.eptAccessedDirty) return `${shown}: this CPU has no accessed and dirty flags for EPT`;
  // Bit 7 is for shadow stacks, which EPT does not tell from others here.
  if ((eptp & 0xf80n) !== 0n) return `${shown}: bits 11:7 are reserved`;
  const rootFrame = Number(eptp >> 12n);
  return { rootFrame, levels: levels as 4 | 5, accessedDirty, memoryType: type === EPTP_WB ? "WB" : "UC" };
}

/** Bits of entries that are reserved at each level, and contents that are not supported. */
export class EptRules {
  private readonly reservedHigh: number;
  /** By level (1 PTE to 5 PML5E), and from 8 on by level of those with bit 7 = 1. */
  private readonly reservedLow = new Int32Array(16);
  private readonly executeOnly: boolean;
  /** Whether "mode-based execute control for EPT" is 1: bit 10 counts. */
  readonly modeBased: boolean;

  constructor(maxPhyAddr: number, abilities: EptAbilities, modeBased: boolean) {
    this.reservedHigh = PTE_ADDRESS_HIGH & ~(2 ** (maxPhyAddr - 32) - 1);
    this.executeOnly = abilities.eptExecuteOnly;
    this.modeBased = modeBased;
    const { reservedLow } = this;
    // Tables 29-1 to 29-6: entries that refer to tables have bits 6:3 reserved, those of the top levels bit 7 too.
    for (const level of [2, 3]) reservedLow[level] = 0x78;
    for (const level of [4, 5]) {
      reservedLow[level] = 0xf8;
      reservedLow[level + 8] = 0xf8;
    }
    reservedLow[8 + 2] = 0x001f_f000;
    reservedLow[8 + 3] = abilities.ept1g ? 0x3fff_f000 : EPT_PAGE_SIZE;
  }

  /** Whether an entry is present: one of bits 2:0 is set, or bit 10 where that counts. */
  isPresent(low: number): boolean {
    return (low & this.presentBits) !== 0;
  }

  /** The bits of which a present entry has one. */
  get presentBits(): number {
    return EPT_READ | EPT_WRITE | EPT_EXECUTE | (this.modeBased ? EPT_EXECUTE_USER : 0);
  }

  /** Whether an entry that is present maps a page. */
  isLeaf(low: number, level: number): boolean {
    return level === 1 || (level <= 3 && (low & EPT_PAGE_SIZE) !== 0);
  }

  /** Whether an entry that is present is not supported: an EPT misconfiguration (SDM vol. 3C, 29.3.3.1). */
  isMisconfigured(low: number, high: number, level: number): boolean {
    if ((low & EPT_READ) === 0) {
      if ((low & EPT_WRITE) !== 0) return true;
      if (!this.executeOnly) return true;
    }
    const reserved = level === 1 ? 0 : this.reservedLow[level | ((low & EPT_PAGE_SIZE) >> 4)];
    if ((low & reserved) !== 0 || (high & this.reservedHigh) !== 0) return true;
    if (!this.isLeaf(low, level)) return false;
    const type = (low >> EPT_MEMORY_TYPE_SHIFT) & 7;
    return type === 2 || type === 3 || type === 7;
  }
}

/** Exit qualification of an EPT violation (SDM vol. 3C, table 28-7): the access was a data read. */
export const EPT_VIOLATION_READ = 1 << 0;
/** The access was a data write; with bit 0, one to a guest's page tables that also reads. */
export const EPT_VIOLATION_WRITE = 1 << 1;
/** The access was an instruction fetch. */
export const EPT_VIOLATION_FETCH = 1 << 2;
/** The guest-physical address was readable: bit 0 of all entries used. */
export const EPT_VIOLATION_READABLE = 1 << 3;
/** It was writable: bit 1 of all entries used. */
export const EPT_VIOLATION_WRITABLE = 1 << 4;
/** It was executable: bit 2 of all entries used. */
export const EPT_VIOLATION_EXECUTABLE = 1 << 5;
/** It was executable from user-mode linear addresses: bit 10 of all entries used, with mode-based execute control. */
export const EPT_VIOLATION_USER_EXECUTABLE = 1 << 6;
/** The guest-linear address is valid. */
export const EPT_VIOLATION_LINEAR_VALID = 1 << 7;
/** The access was to the translation of the linear address; 0: to a page-table entry on the way. */
export const EPT_VIOLATION_TRANSLATED = 1 << 8;
/** Advanced information, with bits 7 and 8: the linear address is a user-mode one. */
export const EPT_VIOLATION_USER_LINEAR = 1 << 9;
/** Advanced information: the guest's tables make the page writable. */
export const EPT_VIOLATION_LINEAR_WRITABLE = 1 << 10;
/** Advanced information: the guest's tables make the page execute-disable. */
export const EPT_VIOLATION_LINEAR_NO_EXECUTE = 1 << 11;
/** The access was a shadow-stack access. */
export const EPT_VIOLATION_SHADOW_STACK = 1 << 13;

const QUALIFICATION_NAMES: readonly (readonly [number, string])[] = [
  [EPT_VIOLATION_READ, "read"],
  [EPT_VIOLATION_WRITE, "write"],
  [EPT_VIOLATION_FETCH, "fetch"],
  [EPT_VIOLATION_READABLE, "R"],
  [EPT_VIOLATION_WRITABLE, "W"],
  [EPT_VIOLATION_EXECUTABLE, "X"],
  [EPT_VIOLATION_USER_EXECUTABLE, "XU"],
  [EPT_VIOLATION_LINEAR_VALID, "linear"],
  [EPT_VIOLATION_TRANSLATED, "translated"],
  [EPT_VIOLATION_USER_LINEAR, "user"],
  [EPT_VIOLATION_LINEAR_WRITABLE, "RW"],
  [EPT_VIOLATION_LINEAR_NO_EXECUTE, "XD"],
  [EPT_VIOLATION_SHADOW_STACK, "SS"],
];

/** The set bits of an exit qualification in words, such as `write|R|X|linear|translated`; `0` for none. */
export function formatQualification(qualification: number): string {
  const names = QUALIFICATION_NAMES.filter(([bit]) => (qualification & bit) !== 0).map(([, name]) => name);
  return names.join("|") || "0";
}
