/**
 * What the manuals say must become of a case, written from them (Intel SDM vol. 3A, 4.5 to 4.8; AMD APM vol. 2, 5.3 to 5.6 and
 * 8.4.2) and nothing else: it imports nothing of the emulator. A physical-address width of 36 bits makes bits 36 and 51 reserved.
 */
import { ACCESS, type Case, PDE, PTE, type Setting, UPPER } from "./cases.ts";

/** What is expected. */
export interface Expectation {
  /** The error code of the page fault; -1 for none. */
  errorCode: number;
  /** The case bits of the entries afterwards. */
  pte: number;
  pde: number;
}

const P = 1;
const W = 2;
const U = 4;
const RSVD = 8;
const I = 16;
const PK = 32;

/** Fills in what is expected of a case. */
export function expect(setting: Setting, each: Case, expectation: Expectation): void {
  expectation.pte = each.pte;
  expectation.pde = each.pde;
  if ((each.access & ACCESS.twice) !== 0) oneAccess(setting, each, 0, expectation);
  oneAccess(setting, each, each.access, expectation);
}

function oneAccess(setting: Setting, each: Case, access: number, expectation: Expectation): void {
  const isUser = (access & ACCESS.user) !== 0;
  const isWrite = (access & ACCESS.write) !== 0;
  const isFetch = (access & ACCESS.fetch) !== 0;
  const cause = (isWrite ? W : 0) | (isUser ? U : 0) | (isFetch && (setting.nxe || setting.smep) ? I : 0);
  const { pde, pte } = each;

  // Bit 7 of a PML4E is reserved; bit 8 is ignored by Intel and must be zero on AMD. In PDPTEs and PDEs both ignore bit 8.
  const reservedInPml4e = UPPER.pml4eBit7 | (setting.vendor === "amd" ? UPPER.pml4eBit8 : 0);
  if ((each.upper & reservedInPml4e) !== 0) {
    expectation.errorCode = cause | P | RSVD;
    return;
  }
  if ((pde & PDE.present) === 0) {
    expectation.errorCode = cause;
    return;
  }
  if ((pde & (PDE.bit51 | PDE.bit36 | PDE.bit13)) !== 0 || ((pde & PDE.nx) !== 0 && !setting.nxe)) {
    expectation.errorCode = cause | P | RSVD;
    return;
  }
  let writable = !each.readOnlyPdpte && (pde & PDE.write) !== 0;
  let userPage = (pde & PDE.user) !== 0;
  let executable = (pde & PDE.nx) === 0;
  const isLarge = (pde & PDE.large) !== 0;
  if (!isLarge) {
    expectation.pde |= PDE.accessed;
    if ((pte & PTE.present) === 0) {
      expectation.errorCode = cause;
      return;
    }
    if ((pte & (PTE.bit51 | PTE.bit36)) !== 0 || ((pte & PTE.nx) !== 0 && !setting.nxe)) {
      expectation.errorCode = cause | P | RSVD;
      return;
    }
    writable &&= (pte & PTE.write) !== 0;
    userPage &&= (pte & PTE.user) !== 0;
    executable &&= (pte & PTE.nx) === 0;
  }

  const writeRuleBinds = isUser || setting.writeProtect;
  const keyRefuses =
    setting.pke &&
    userPage &&
    each.key &&
    !isFetch &&
    (setting.accessDisable || (isWrite && setting.writeDisable && writeRuleBinds));
  const refused =
    keyRefuses ||
    (isUser && !userPage) ||
    (isWrite && !writable && writeRuleBinds) ||
    (isFetch && !executable) ||
    (isFetch && !isUser && userPage && setting.smep);
  if (refused) {
    expectation.errorCode = cause | P | (keyRefuses ? PK : 0);
    return;
  }
  expectation.errorCode = -1;
  if (isLarge) expectation.pde |= PDE.accessed | (isWrite ? PDE.dirty : 0);
  else expectation.pte |= PTE.accessed | (isWrite ? PTE.dirty : 0);
}
