/**
 * What the manuals say must become of a case, written from them (Intel SDM vol. 3C, 29.3; AMD APM vol. 2, 15.25; for the guest's own
 * tables SDM vol. 3A, 4.5 to 4.8) and nothing else: it has no caches, and imports nothing of the emulator.
 */
import { ABOVE, ACCESS, type Case, EPT, GUEST, NPT, type Setting, TABLE, UPPER } from "./cases.ts";

/** How an access ends. */
export const DONE = 0;
/** With a page fault of the guest; `code` is its error code. */
export const PAGE_FAULT = 1;
/** With an EPT violation; `code` is the exit qualification. */
export const VIOLATION = 2;
/** With an EPT misconfiguration; `code` is 0. */
export const MISCONFIGURATION = 3;
/** With a nested page fault; `code` is EXITINFO1. */
export const NESTED_FAULT = 4;

/** What is expected. Flags of entries: 1 accessed, 2 dirty. */
export interface Expectation {
  /** How the access ends. */
  outcome: number;
  /** With what code. */
  code: number;
  /** Whether a VM exit names the guest's table, and not the page. */
  atTable: boolean;
  /** Flags of the guest's last entry afterwards. */
  guest: number;
  /** Whether the guest's entry above it has A afterwards. */
  above: boolean;
  /** Flags of the second stage's last entry for the page afterwards. */
  second: number;
  /** Flags of the second stage's last entry for the guest's last table afterwards. */
  table: number;
}

/** What the second stage says of an access. */
interface Answer {
  readonly outcome: number;
  /** EPT: the rights of all entries, bits 0 to 3. NPT: P and RSVD. */
  readonly rights: number;
}

const [R, W, X, XU] = [1, 2, 4, 8];
const [PF_P, PF_W, PF_U, PF_RSVD, PF_I] = [1, 2, 4, 8, 16];

/** Fills in what is expected of a case. */
export function expect(setting: Setting, each: Case, expectation: Expectation): void {
  const isIntel = setting.vendor === "intel";
  const { accessed, dirty } = isIntel ? EPT : NPT;
  expectation.guest = ((each.guest & GUEST.accessed) !== 0 ? 1 : 0) | ((each.guest & GUEST.dirty) !== 0 ? 2 : 0);
  expectation.above = (each.above & ABOVE.accessed) !== 0;
  expectation.second = ((each.second & accessed) !== 0 ? 1 : 0) | ((each.second & dirty) !== 0 ? 2 : 0);
  expectation.table = each.table === TABLE.used ? 3 : 0;
  if ((each.access & ACCESS.twice) !== 0) oneAccess(setting, each, 0, expectation);
  oneAccess(setting, each, each.access, expectation);
}

function oneAccess(setting: Setting, each: Case, access: number, expectation: Expectation): void {
  const isUser = (access & ACCESS.user) !== 0;
  const isWrite = (access & ACCESS.write) !== 0;
  const isFetch = (access & ACCESS.fetch) !== 0;
  const isIntel = setting.vendor === "intel";
  const hasFlags = !isIntel || setting.accessedDirty;
  const cause = (isWrite ? PF_W : 0) | (isUser ? PF_U : 0) | (isFetch && (setting.nxe || setting.smep) ? PF_I : 0);
  const end = (outcome: number, code: number, atTable = false): void => {
    expectation.outcome = outcome;
    expectation.code = code;
    expectation.atTable = atTable;
  };

  // The guest's entries above the last ones are present, and the second stage lets their tables be written. The one above is used.
  expectation.above = true;

  // The table of the guest's last entry: with accessed and dirty flags, and on AMD always, reading it is a write.
  const tableAnswer = answerForTable(setting, each);
  const readNeed = hasFlags ? R | W : R;
  if (tableAnswer.outcome !== DONE || (tableAnswer.rights & readNeed) !== readNeed) {
    end(...exitAtTable(setting, tableAnswer, readNeed), true);
    return;
  }
  if (hasFlags) expectation.table = 3;

  if ((each.guest & GUEST.present) === 0) {
    end(PAGE_FAULT, cause);
    return;
  }
  if ((each.guest & GUEST.reserved) !== 0 || ((each.guest & GUEST.nx) !== 0 && !setting.nxe)) {
    end(PAGE_FAULT, cause | PF_P | PF_RSVD);
    return;
  }
  const writable = (each.guest & GUEST.write) !== 0 && (each.above & ABOVE.write) !== 0;
  const userPage = (each.guest & GUEST.user) !== 0;
  const noExecute = (each.guest & GUEST.nx) !== 0;
  const refused =
    (isUser && !userPage) ||
    (isWrite && !writable && (isUser || setting.writeProtect)) ||
    (isFetch && noExecute) ||
    (isFetch && !isUser && userPage && setting.smep);
  if (refused) {
    end(PAGE_FAULT, cause | PF_P);
    return;
  }

  // A and D of the guest's last entry. If one is to be set, its table is written.
  const wanted = isWrite ? 3 : 1;
  if ((expectation.guest & wanted) !== wanted) {
    if ((tableAnswer.rights & W) === 0) {
      end(...exitAtTable(setting, tableAnswer, R | W), true);
      return;
    }
    expectation.guest |= wanted;
  }

  // The page itself.
  const answer = answerForPage(setting, each);
  const need = isFetch ? (userPage ? XU : X) : isWrite ? W : R;
  if (answer.outcome !== DONE || (answer.rights & need) !== need) {
    const seen = { isWrite, isFetch, userPage, writable, noExecute };
    end(...(isIntel ? exitOfEpt(setting, answer, seen) : exitOfNested(answer, isWrite, isFetch, 2 ** 32)));
    return;
  }
  if (hasFlags) expectation.second |= isWrite ? 3 : 1;
  end(DONE, 0);
}

/** What the second stage says of the guest's last table. Entries above its last one allow everything. */
function answerForTable({ vendor }: Setting, { table }: Case): Answer {
  if (table === TABLE.absent) return { outcome: vendor === "intel" ? VIOLATION : NESTED_FAULT, rights: 0 };
  if (table === TABLE.misconfigured) {
    return vendor === "intel"
      ? { outcome: MISCONFIGURATION, rights: 0 }
      : { outcome: NESTED_FAULT, rights: PF_P | PF_RSVD };
  }
  return { outcome: DONE, rights: table === TABLE.readOnly ? R | X | XU : R | W | X | XU };
}

function answerForPage(setting: Setting, each: Case): Answer {
  return setting.vendor === "intel" ? answerOfEpt(setting, each) : answerOfNested(setting, each);
}

function answerOfEpt({ modeBased, executeOnly }: Setting, { second, upper }: Case): Answer {
  if (upper === UPPER.absent) return { outcome: VIOLATION, rights: 0 };
  const isPresent = (second & (EPT.read | EPT.write | EPT.execute | (modeBased ? EPT.executeUser : 0))) !== 0;
  if (!isPresent) return { outcome: VIOLATION, rights: 0 };
  const canRead = (second & EPT.read) !== 0;
  const canWrite = (second & EPT.write) !== 0;
  const isMisconfigured =
    (!canRead && canWrite) ||
    (!canRead && !executeOnly) ||
    (second & EPT.reserved) !== 0 ||
    (second & EPT.badType) !== 0;
  if (isMisconfigured) return { outcome: MISCONFIGURATION, rights: 0 };
  let rights = (canRead ? R : 0) | (canWrite ? W : 0) | ((second & EPT.execute) !== 0 ? X : 0);
  // Without mode-based control bit 2 is for all addresses, and bit 10 ignored.
  if ((second & (modeBased ? EPT.executeUser : EPT.execute)) !== 0) rights |= XU;
  if (upper === UPPER.noWrite) rights &= ~W;
  if (upper === UPPER.noFetch) rights &= ~(X | XU);
  return { outcome: DONE, rights };
}

function answerOfNested({ nxe }: Setting, { second, upper }: Case): Answer {
  const reserved = { outcome: NESTED_FAULT, rights: PF_P | PF_RSVD };
  if (upper === UPPER.absent) return { outcome: NESTED_FAULT, rights: 0 };
  // XD is reserved while the host's EFER.NXE is 0. The upper entry is read first.
  const upperXd = upper === UPPER.noFetch;
  if (upperXd && !nxe) return reserved;
  if ((second & NPT.present) === 0) return { outcome: NESTED_FAULT, rights: 0 };
  if ((second & NPT.reserved) !== 0 || ((second & NPT.nx) !== 0 && !nxe)) return reserved;
  if ((second & NPT.user) === 0) return { outcome: DONE, rights: 0 };
  const canWrite = (second & NPT.write) !== 0 && upper !== UPPER.noWrite;
  const canFetch = (second & NPT.nx) === 0 && !upperXd;
  return { outcome: DONE, rights: R | (canWrite ? W : 0) | (canFetch ? X | XU : 0) };
}

/** A VM exit at the guest's table: bits 0 and 1 of the qualification for what the access was. */
function exitAtTable({ vendor, modeBased }: Setting, answer: Answer, need: number): [number, number] {
  if (vendor === "amd") return exitOfNested(answer, true, false, 2 ** 33);
  if (answer.outcome === MISCONFIGURATION) return [MISCONFIGURATION, 0];
  return [VIOLATION, need | (rightsShown(answer.rights, modeBased) << 3) | 0x80];
}

function exitOfEpt(
  { modeBased }: Setting,
  answer: Answer,
  seen: { isWrite: boolean; isFetch: boolean; userPage: boolean; writable: boolean; noExecute: boolean },
): [number, number] {
  if (answer.outcome === MISCONFIGURATION) return [MISCONFIGURATION, 0];
  const access = seen.isFetch ? 4 : seen.isWrite ? 2 : 1;
  const advanced = (seen.userPage ? 0x200 : 0) | (seen.writable ? 0x400 : 0) | (seen.noExecute ? 0x800 : 0);
  return [VIOLATION, access | (rightsShown(answer.rights, modeBased) << 3) | 0x180 | advanced];
}

/** Bits 3 to 5, and 6 with mode-based control. */
function rightsShown(rights: number, modeBased: boolean): number {
  return modeBased ? rights : rights & (R | W | X);
}

function exitOfNested(answer: Answer, isWrite: boolean, isFetch: boolean, where: number): [number, number] {
  const entry = answer.outcome === DONE ? PF_P : answer.rights;
  return [NESTED_FAULT, (entry | PF_U | (isWrite ? PF_W : 0) | (isFetch ? PF_I : 0)) + where];
}
