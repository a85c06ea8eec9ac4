/** The operands of AMD's INVLPGB (AMD APM vol. 3, INVLPGB): what each field of rAX, ECX and EDX means, and what is refused. */
import { MachineUsageError } from "../isa/errors.ts";
import { GeneralProtectionFault } from "../isa/faults.ts";
import {
  isCanonical,
  type LinearAddressBits,
  linearAddressToBigInt,
  linearPageFromBigInt,
  PAGE_SIZE,
  PMD_SIZE,
} from "../isa/linear-address.ts";
import { checkReference } from "./access-check.ts";

/** The most pages one INVLPGB can name: CPUID Fn8000_0008_EDX[InvlpgbCountMax] + 1 on Zen 3. */
export const INVLPGB_PAGES_MAX = 8;

/** rAX: an address is given (bits 63:12); a PCID is (EDX[27:16]); an ASID is (EDX[15:0]). */
export const INVLPGB_VA = 1 << 0;
/** rAX: a PCID is given (EDX[27:16]). */
export const INVLPGB_PCID = 1 << 1;
/** rAX: an ASID is given (EDX[15:0]). */
export const INVLPGB_ASID = 1 << 2;
/** rAX: global translations too. */
export const INVLPGB_GLOBAL = 1 << 3;
/** rAX: only translations of pages, no cached entries that refer to tables. */
export const INVLPGB_FINAL_ONLY = 1 << 4;
/** rAX: nested translations too; reserved on a CPU that does not have them. */
export const INVLPGB_NESTED = 1 << 5;
/** ECX: pages of 2 MiB, not of 4 KiB. */
export const INVLPGB_2M = 2 ** 31;

/** The registers. */
export interface InvlpgbRegisters {
  /** 64 bits: the address and the flags above. */
  readonly rax: bigint;
  /** 32 bits. */
  readonly ecx: number;
  /** 32 bits. */
  readonly edx: number;
}

/** An INVLPGB in the terms of a program that wants one. */
export interface InvlpgbRequest {
  /** First linear address, a number in 48-bit form; absent: every address. */
  readonly la?: number | bigint;
  /** Pages from there on, 1 to {@link INVLPGB_PAGES_MAX}; 0 is 65,536, as the register holds one less. Default 1. */
  readonly pages?: number;
  /** Bytes from one page to the next: 4096 or 2 MiB. Default 4096. */
  readonly strideBytes?: number;
  /** Whose translations: 0, the host's, or a guest's. Default 0. A guest reaches its own whatever it gives. */
  readonly asid?: number;
  /** Only translations of this PCID, and global ones if they are included; absent: of every PCID. */
  readonly pcid?: number;
  /** Global translations too. */
  readonly includeGlobals: boolean;
  /** Only translations of pages, no cached entries that refer to tables. Default: these too. */
  readonly finalOnly?: boolean;
}

/** What an INVLPGB that was accepted removes. */
export interface InvlpgbBroadcast {
  /** First linear address, or wide page; null: every address. */
  readonly la: number | null;
  /** Pages from there on. */
  readonly pages: number;
  /** Bytes from one page to the next. */
  readonly strideBytes: number;
  /** null: of every ASID, the host's too. */
  readonly asid: number | null;
  /** null: of every PCID. */
  readonly pcid: number | null;
  /** Global translations too. */
  readonly includeGlobals: boolean;
  /** Only translations of pages. */
  readonly finalOnly: boolean;
}

/**
 * The registers for a request. An ASID is always given: Linux gives 0, the host's, so that no guest is flushed.
 * @throws MachineUsageError for what no register can hold
 */
export function encodeInvlpgb(request: InvlpgbRequest): InvlpgbRegisters {
  const { la, pages = 1, strideBytes = PAGE_SIZE, asid = 0, pcid, includeGlobals, finalOnly = false } = request;
  if (typeof la === "number") checkReference(la, 1);
  checkField("INVLPGB pages", pages, 0x1_0000);
  checkField("INVLPGB ASID", asid, 0xffff);
  if (pcid !== undefined) checkField("INVLPGB PCID", pcid, 0xffff);
  if (strideBytes !== PAGE_SIZE && strideBytes !== PMD_SIZE) {
    throw new MachineUsageError("INVLPGB stride", strideBytes, `${PAGE_SIZE} or ${PMD_SIZE} bytes`);
  }
  const flags =
    INVLPGB_ASID |
    (la === undefined ? 0 : INVLPGB_VA) |
    (pcid === undefined ? 0 : INVLPGB_PCID) |
    (includeGlobals ? INVLPGB_GLOBAL : 0) |
    (finalOnly ? INVLPGB_FINAL_ONLY : 0);
  const address = BigInt.asUintN(64, typeof la === "bigint" ? la : linearAddressToBigInt(la ?? 0));
  return {
    rax: (address & ~0xfffn) | BigInt(flags),
    ecx: ((pages - 1) & 0xffff) + (strideBytes === PMD_SIZE ? INVLPGB_2M : 0),
    edx: (pcid ?? 0) * 0x1_0000 + asid,
  };
}

/**
 * What the registers ask for.
 * @param pcidsEnabled CR4.PCIDE
 * @param bits of linear addresses
 * @throws GeneralProtectionFault for reserved bits, too many pages, an address that is not canonical, a PCID while there are none
 * @throws MachineUsageError for what is no content of a register
 */
export function decodeInvlpgb(
  { rax, ecx, edx }: InvlpgbRegisters,
  pcidsEnabled: boolean,
  bits: LinearAddressBits = 48,
): InvlpgbBroadcast {
  if (rax < 0n || rax >= 1n << 64n) throw new MachineUsageError("INVLPGB rAX", rax, "64 bits");
  checkField("INVLPGB ECX", ecx, 0xffff_ffff);
  checkField("INVLPGB EDX", edx, 0xffff_ffff);
  const refuse = (why: string) => new GeneralProtectionFault(`INVLPGB: ${why}`);
  const flags = Number(rax & 0xfffn);
  if ((flags & 0xfc0) !== 0) throw refuse("bits 11:6 of rAX are reserved");
  if ((flags & INVLPGB_NESTED) !== 0) throw refuse("this CPU cannot invalidate nested translations (bit 5 of rAX)");
  if ((ecx & 0x7fff_0000) !== 0) throw refuse("bits 30:16 of ECX are reserved");
  if (edx >>> 28 !== 0) throw refuse("bits 31:28 of EDX are reserved");
  const pages = (ecx & 0xffff) + 1;
  if (pages > INVLPGB_PAGES_MAX) throw refuse(`${pages} pages: ${INVLPGB_PAGES_MAX} are possible`);
  const hasAddress = (flags & INVLPGB_VA) !== 0;
  const address = rax & ~0xfffn;
  if (hasAddress && !isCanonical(address, bits)) throw refuse(`0x${address.toString(16)} is not canonical`);
  const pcid = (flags & INVLPGB_PCID) === 0 ? null : (edx >>> 16) & 0xfff;
  if (pcid !== null && pcid !== 0 && !pcidsEnabled) throw refuse(`PCID ${pcid} while CR4.PCIDE = 0`);
  return {
    la: hasAddress ? linearPageFromBigInt(address, bits) : null,
    pages,
    strideBytes: ecx >= INVLPGB_2M ? PMD_SIZE : PAGE_SIZE,
    asid: (flags & INVLPGB_ASID) === 0 ? null : edx & 0xffff,
    pcid,
    includeGlobals: (flags & INVLPGB_GLOBAL) !== 0,
    finalOnly: (flags & INVLPGB_FINAL_ONLY) !== 0,
  };
}

function checkField(name: string, value: number, max: number): void {
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw new MachineUsageError(name, value, `a whole number from 0 to ${max}`);
  }
}
