/**
 * What the control registers mean for paging, precomputed: which attributes of a translation each kind of access needs, and
 * which bits of entries are reserved. Recomputed after every write of a register (Intel SDM vol. 3A, 4.1 and 4.6).
 */
import {
  ACCESS_FETCH,
  ACCESS_IMPLICIT_LOAD,
  ACCESS_IMPLICIT_STORE,
  ACCESS_IS_SHADOW_STACK,
  ACCESS_KINDS,
  ACCESS_WRITES,
  type Access,
  isUserAccess,
} from "./access.ts";
import { PF_FETCH, PF_PROTECTION_KEY, PF_SHADOW_STACK, PF_USER, PF_WRITE } from "./faults.ts";
import { PTE_ADDRESS_HIGH, PTE_PAGE_SIZE, PTE_XD_HIGH } from "./pte.ts";
import * as translation from "./translation.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { TR_DIRTY, TR_GLOBAL, TR_KEY_SHIFT, TR_NO_FETCH, TR_NO_READ, TR_NO_WRITE, TR_RW, TR_UPPER_RW, TR_USER, TR_XD } =
  translation;

/** Words of the rules of all kinds of access. */
export const RULE_WORDS = ACCESS_KINDS * 4;

/** Words of the reserved bits of entries. */
export const RESERVED_WORDS = 16;

/** The bits of the registers that paging looks at, beside the CPL. */
export interface PagingRegisters {
  /** EFLAGS.AC. */
  readonly alignmentCheck: boolean;
  /** CR0.WP. */
  readonly writeProtect: boolean;
  /** EFER.NXE. */
  readonly noExecute: boolean;
  /** CR4.SMEP. */
  readonly smep: boolean;
  /** CR4.SMAP. */
  readonly smap: boolean;
  /** CR4.PKE and CR4.PKS. */
  readonly pke: boolean;
  /** CR4.PKS. */
  readonly pks: boolean;
  /** CR4.PGE. */
  readonly globalPages: boolean;
  /** AD (bit 2k) and WD (bit 2k + 1) of key k, for pages of the user. */
  readonly pkru: number;
  /** AD (bit 2k) and WD (bit 2k + 1) of key k, for pages of the supervisor (IA32_PKRS). */
  readonly pkrs: number;
  /** Width of physical addresses in bits. */
  readonly maxPhyAddr: number;
  /** Whether a PDPTE may map a 1 GiB page. */
  readonly page1g: boolean;
  /** Reserved bits of the low word of a PML4E or PML5E, beside PS. */
  readonly reservedTopLow: number;
}

/** The precomputed tables. */
export class PagingMode {
  /**
   * Four words for each kind of access. First, attributes (`TR_*`) that a translation must have; second, which of them matter
   * for using a cached one (for writes D too, as a walk must set it; what the second stage of a guest refuses); third, which decide whether the access is allowed;
   * fourth, keys that refuse it: bit k, key k of a supervisor page; bit 16 + k, key k of a user page.
   */
  readonly rules: Int32Array;
  /** The bits of a page-fault error code that depend only on the access. */
  readonly errorBits = new Int32Array(ACCESS_KINDS);
  /** Reserved bits of the high word of every entry. */
  reservedHigh = 0;
  /** Reserved bits of the low word of an entry, by level (1 PTE to 5 PML5E), and from 8 on by level of those with PS = 1. */
  readonly reservedLow: Int32Array;
  /** CR4.PGE. */
  globalPages = false;
  /** `TR_GLOBAL` while CR4.PGE = 1, else 0. */
  globalFlag = 0;
  /** Frame of the top table. */
  rootFrame = 0;
  /** Levels of page tables, 4 or 5. */
  levels = 4;
  /** The current context (translation.ts): the PCID, 0 with CR4.PCIDE = 0; in a guest, of that guest. */
  pcid = 0;

  /** `rules` and `errorBits` for CPL 0 to 2, and then for CPL 3. */
  private readonly rulesByMode = [new Int32Array(RULE_WORDS), new Int32Array(RULE_WORDS)] as const;
  private readonly errorBitsByMode = [new Int32Array(ACCESS_KINDS), new Int32Array(ACCESS_KINDS)] as const;

  /** @param rules where they are kept, for those who read them there too; so `reservedLow` */
  constructor(
    rules: Int32Array = new Int32Array(RULE_WORDS),
    reservedLow: Int32Array = new Int32Array(RESERVED_WORDS),
  ) {
    this.rules = rules;
    this.reservedLow = reservedLow;
  }

  /** Goes to another privilege level. */
  chooseCpl(cpl: number): void {
    const mode = cpl === 3 ? 1 : 0;
    this.rules.set(this.rulesByMode[mode]);
    this.errorBits.set(this.errorBitsByMode[mode]);
  }

  /** Recomputes all tables after a change of registers. */
  update(registers: PagingRegisters, cpl: number): void {
    for (let access = 0; access < ACCESS_KINDS; access++) {
      this.updateAccess(access as Access, registers, 0);
      this.updateAccess(access as Access, registers, 3);
    }
    this.chooseCpl(cpl);
    this.reservedHigh = reservedHighBits(registers.maxPhyAddr) | (registers.noExecute ? 0 : PTE_XD_HIGH);
    this.globalPages = registers.globalPages;
    this.globalFlag = registers.globalPages ? TR_GLOBAL : 0;
    const { reservedLow } = this;
    reservedLow[10] = 0x001f_e000;
    reservedLow[11] = registers.page1g ? 0x3fff_e000 : PTE_PAGE_SIZE;
    for (const level of [4, 5]) {
      reservedLow[level] = registers.reservedTopLow;
      reservedLow[8 + level] = registers.reservedTopLow | PTE_PAGE_SIZE;
    }
  }

  /** Which bits of the low word are reserved in an entry of a level with the low word `low`; bit 7 of a PTE is not PS. */
  reservedLowOf(low: number, level: number): number {
    return this.reservedLow[level | ((low & PTE_PAGE_SIZE) >> 4)];
  }

  /** Whether a translation with `flags` lets `access` use it from a TLB. */
  usable(access: Access, flags: number): boolean {
    const { rules } = this;
    const at = access << 2;
    return ((flags ^ rules[at]) & rules[at + 1]) === 0 && ((rules[at + 3] >>> (flags >> TR_KEY_SHIFT)) & 1) === 0;
  }

  /** The PK bit when the translation's protection key refuses the access, and -1 when all is allowed; else 0. */
  refusal(access: Access, flags: number): number {
    const { rules } = this;
    const at = access << 2;
    if (((rules[at + 3] >>> (flags >> TR_KEY_SHIFT)) & 1) !== 0) return PF_PROTECTION_KEY;
    return ((flags ^ rules[at]) & rules[at + 2]) === 0 ? -1 : 0;
  }

  private updateAccess(access: Access, registers: PagingRegisters, cpl: 0 | 3): void {
    const user = isUserAccess(access, cpl);
    const rules = this.rulesByMode[cpl === 3 ? 1 : 0];
    const errorBits = this.errorBitsByMode[cpl === 3 ? 1 : 0];
    const write = ACCESS_WRITES[access];
    const shadowStack = ACCESS_IS_SHADOW_STACK[access];
    const fetch = access === ACCESS_FETCH;
    const implicit = access === ACCESS_IMPLICIT_LOAD || access === ACCESS_IMPLICIT_STORE;
    let care = 0;
    let want = 0;
    if (user) {
      care |= TR_USER;
      want |= TR_USER;
    } else if (fetch ? registers.smep : registers.smap && (implicit || !registers.alignmentCheck)) {
      care |= TR_USER;
    }
    if (fetch) care |= TR_XD;
    if (shadowStack) {
      care |= TR_USER | TR_RW | TR_DIRTY | TR_UPPER_RW;
      want |= TR_DIRTY | TR_UPPER_RW;
    } else if (write) {
      want |= TR_RW | TR_DIRTY;
      if (user || registers.writeProtect) care |= TR_RW;
    }
    const at = access << 2;
    rules[at] = want;
    rules[at + 1] = (write ? care | TR_DIRTY : care) | (fetch ? TR_NO_FETCH : write ? TR_NO_WRITE : TR_NO_READ);
    rules[at + 2] = care;
    rules[at + 3] = fetch ? 0 : deniedKeys(registers, write, user);
    errorBits[access] =
      (write ? PF_WRITE : 0) |
      (user ? PF_USER : 0) |
      (shadowStack ? PF_SHADOW_STACK : 0) |
      (fetch && (registers.noExecute || registers.smep) ? PF_FETCH : 0);
  }
}

/** Address bits at or above MAXPHYADDR, in the high word. */
function reservedHighBits(maxPhyAddr: number): number {
  return PTE_ADDRESS_HIGH & ~(2 ** (maxPhyAddr - 32) - 1);
}

/** Keys whose AD, or WD for a write that it binds, is set (Intel SDM vol. 3A, 4.6.2). */
function deniedKeys(registers: PagingRegisters, write: boolean, user: boolean): number {
  if (!registers.pke && !registers.pks) return 0;
  let denied = 0;
  const writesBound = write && (user || registers.writeProtect);
  for (let key = 0; key < 16; key++) {
    const refuses = (rights: number): boolean =>
      ((rights >>> (key * 2)) & 1) !== 0 || (writesBound && ((rights >>> (key * 2 + 1)) & 1) !== 0);
    if (registers.pks && refuses(registers.pkrs)) denied |= 1 << key;
    if (registers.pke && refuses(registers.pkru)) denied |= 1 << (16 + key);
  }
  return denied;
}
