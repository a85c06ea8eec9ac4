/**
 * What the manuals say must become of a case of the pointer matrix, written from them and nothing else; it imports nothing of the emulator.
 * Masking: Intel SDM vol. 3A, "Linear-Address Masking"; AMD APM vol. 2, 5.10 "Upper Address Ignore". Canonical addresses: SDM vol. 1,
 * 3.3.7.1. Linear-address space separation, rights, SMAP and SMEP: SDM vol. 3A, chapter on paging. The second stage: SDM vol. 3C, 29.3; APM
 * vol. 2, 15.25.
 */
import { ACCESS_BYTES, LEAF, type PointerCase, type PointerSetting } from "./pointer-cases.ts";

/** How an access ends. */
export type PointerOutcome = "done" | "#GP" | "#PF" | "EPT violation" | "nested page fault";

/** What is expected. Flags of entries: 1 accessed, 2 dirty. */
export interface PointerExpectation {
  outcome: PointerOutcome;
  /** Error code, exit qualification or EXITINFO1; 0 for others. */
  code: number;
  /** The linear address that is reported: CR2, or with an EPT violation the guest-linear address; else null. */
  linear: bigint | null;
  /** The pages that the access uses, in its order, and the flags of the entry of each afterwards. */
  pages: { readonly page: bigint; flags: number }[];
  /** Flags of the second stage's entry afterwards, which maps all pages and had none. */
  second: number;
}

const [PF_P, PF_W, PF_U, PF_I] = [1, 2, 4, 16];
const ALL_BITS = 2n ** 64n;

/** Whether the manuals leave open what becomes of a case: LAM_U48 masks to 48 bits, and the access goes on to byte 2^47, with 57 bits canonical. */
export function isLeftOpen({ levels, lamU48, lamU57 }: PointerSetting, { pointer, kind }: PointerCase): boolean {
  const crosses = pointer % 2n ** 48n < 2n ** 47n && (pointer % 2n ** 48n) + BigInt(ACCESS_BYTES) > 2n ** 47n;
  return levels === 5 && lamU48 && !lamU57 && kind !== "fetch" && pointer < 2n ** 63n && crosses;
}

/** What is expected of a case. */
export function expectPointer(setting: PointerSetting, each: PointerCase): PointerExpectation {
  const { leaf, kind } = each;
  const initial = ((leaf & LEAF.accessed) !== 0 ? 1 : 0) | ((leaf & LEAF.dirty) !== 0 ? 2 : 0);
  const expected: PointerExpectation = { outcome: "#GP", code: 0, linear: null, pages: [], second: 0 };
  const address = kind === "fetch" ? each.pointer : masked(setting, each.pointer);
  if (address === null) return expected;
  const pages = new Set<bigint>();
  for (let i = 0n; i < BigInt(ACCESS_BYTES); i++) {
    const byte = (address + i) % ALL_BITS;
    if (!isCanonical(byte, setting.levels) || lassRefuses(setting, each, byte)) return expected;
    pages.add(byte - (byte % 4096n));
  }
  for (const page of pages) expected.pages.push({ page, flags: initial });

  const isWrite = kind.endsWith("store");
  const isFetch = kind === "fetch";
  const isUser = each.cpl === 3 && !kind.startsWith("implicit");
  const isPresent = (leaf & LEAF.present) !== 0;
  if (!isPresent || rightsRefuse(setting, each, isUser)) {
    expected.outcome = "#PF";
    expected.code = (isPresent ? PF_P : 0) | (isWrite ? PF_W : 0) | (isUser ? PF_U : 0) | (isFetch ? PF_I : 0);
    expected.linear = address;
    return expected;
  }
  const used = isWrite ? 3 : 1;
  if (each.place === "native") {
    expected.outcome = "done";
    for (const each of expected.pages) each.flags |= used;
    return expected;
  }

  // The second stage is asked of the first page when the guest's entry has its flags.
  const rights = { all: 7, "no write": 5, "no fetch": 3, absent: 0 }[each.place];
  const need = isFetch ? 4 : isWrite ? 2 : 1;
  if ((rights & need) !== 0) {
    expected.outcome = "done";
    for (const each of expected.pages) each.flags |= used;
    expected.second = setting.vendor === "amd" || each.accessedDirty ? used : 0;
    return expected;
  }
  expected.pages[0].flags |= used;
  if (setting.vendor === "amd") {
    expected.outcome = "nested page fault";
    const present = each.place === "absent" ? 0 : PF_P;
    expected.code = 2 ** 32 + (present | PF_U | (isWrite ? PF_W : 0) | (isFetch ? PF_I : 0));
    return expected;
  }
  expected.outcome = "EPT violation";
  const advanced =
    ((leaf & LEAF.user) !== 0 ? 0x200 : 0) |
    ((leaf & LEAF.write) !== 0 ? 0x400 : 0) |
    ((leaf & LEAF.nx) !== 0 ? 0x800 : 0);
  expected.code = need | (rights << 3) | 0x180 | advanced;
  expected.linear = address;
  return expected;
}

function isCanonical(address: bigint, levels: 4 | 5): boolean {
  const upper = address >> (levels === 5 ? 56n : 47n);
  return upper === 0n || upper === (levels === 5 ? 0xffn : 0x1_ffffn);
}

/** The linear address that the pointer of a data access stands for; null for one that masking refuses. */
function masked({ levels, lamU48, lamU57, lamSup, uai }: PointerSetting, pointer: bigint): bigint | null {
  const isUpper = pointer >= 2n ** 63n;
  const bit = (number: bigint): boolean => ((pointer >> number) & 1n) === 1n;
  // Bits above `top` become what that one is.
  const extended = (top: bigint): bigint => {
    const low = pointer % 2n ** (top + 1n);
    return bit(top) ? ALL_BITS - 2n ** (top + 1n) + low : low;
  };
  if (uai) return extended(56n);
  if (isUpper) {
    if (!lamSup) return pointer;
    const top = levels === 5 ? 56n : 47n;
    return bit(top) ? extended(top) : null;
  }
  if (lamU57) {
    // With four levels bits 56:47 have to be 0, with five bit 56.
    const mustBeZero = levels === 5 ? (pointer >> 56n) & 1n : (pointer >> 47n) & 0x3ffn;
    return mustBeZero === 0n ? pointer % 2n ** 57n : null;
  }
  if (lamU48) return bit(47n) ? null : pointer % 2n ** 48n;
  return pointer;
}

function lassRefuses(
  { lass, smap }: PointerSetting,
  { kind, cpl, alignmentCheck }: PointerCase,
  byte: bigint,
): boolean {
  if (!lass) return false;
  const isUpper = byte >= 2n ** 63n;
  const isImplicit = kind.startsWith("implicit");
  if (cpl === 3 && !isImplicit) return isUpper;
  if (isUpper) return false;
  return kind === "fetch" || (smap && (isImplicit || !alignmentCheck));
}

function rightsRefuse(
  { smap, smep }: PointerSetting,
  { leaf, kind, alignmentCheck }: PointerCase,
  isUser: boolean,
): boolean {
  const userPage = (leaf & LEAF.user) !== 0;
  if (isUser && !userPage) return true;
  if (kind === "fetch") return (leaf & LEAF.nx) !== 0 || (!isUser && userPage && smep);
  if (!isUser && userPage && smap && (kind.startsWith("implicit") || !alignmentCheck)) return true;
  return kind.endsWith("store") && (leaf & LEAF.write) === 0;
}
