/**
 * Checks of an access before any address is translated: what a program that uses the library may ask of a CPU, and what
 * instructions check themselves.
 */
import { ACCESS_IS_SHADOW_STACK, ACCESS_KINDS, ACCESS_USER_SHADOW_STACK_STORE, type Access } from "../isa/access.ts";
import { MachineUsageError } from "../isa/errors.ts";
import { GeneralProtectionFault, InvalidOpcode } from "../isa/faults.ts";
import {
  formatLinearAddress,
  isCanonical,
  isWidePage,
  LINEAR_SPACE_BYTES,
  type LinearAddressBits,
  linearPageFromBigInt,
  PAGE_SIZE,
} from "../isa/linear-address.ts";
import { CR4_CET } from "../isa/register-bits.ts";

/** The registers that say which instructions a CPU carries out: `ControlRegisters`. */
export interface PrivilegeRegisters {
  /** CR4: `CR4_*`. */
  readonly cr4: number;
  /** @throws GeneralProtectionFault at CPL 1 to 3 */
  requirePrivilege(instruction: string): void;
}

/**
 * @param bits of linear addresses; with 57, `la` may also be a wide page
 * @throws MachineUsageError when `la` is no linear address of 48 bits or the size is not 1 to 8 bytes
 */
export function checkReference(la: number, sizeBytes: number, bits: LinearAddressBits = 48): void {
  if (!Number.isInteger(la) || la < 0 || la >= LINEAR_SPACE_BYTES) {
    if (bits !== 57 || !isWidePage(la)) {
      throw new MachineUsageError("linear address", la, "a whole number from 0 to 2^48 - 1 (64-bit forms as bigint)");
    }
  }
  if (!Number.isInteger(sizeBytes) || sizeBytes < 1 || sizeBytes > 8) {
    throw new MachineUsageError("access size", sizeBytes, "1 to 8 bytes");
  }
}

/**
 * The page (linear-address.ts) of an address that an instruction is given; a number is its 48-bit form.
 * @throws MachineUsageError for what is no address
 * @throws GeneralProtectionFault when the address (a bigint) is not canonical
 */
export function canonicalPage(instruction: string, address: number | bigint, bits: LinearAddressBits): number {
  if (typeof address === "bigint") {
    if (isCanonical(address, bits)) return linearPageFromBigInt(address, bits);
    throw new GeneralProtectionFault(`${instruction} of ${formatLinearAddress(address)}, which is not canonical`);
  }
  checkReference(address, 1, bits);
  // The low 32 bits say where in a page it is: the remainder of a larger number takes V8 a call.
  return address - ((address | 0) & (PAGE_SIZE - 1));
}

/**
 * What the instruction that makes an access checks before its operand: CR4.CET, then, of WRUSS, the CPL (Intel SDM vol. 2D,
 * WRUSSD/WRUSSQ; AMD APM vol. 3, WRUSS).
 * @throws MachineUsageError when there is no such kind of access
 * @throws InvalidOpcode for a shadow-stack access while CR4.CET = 0
 * @throws GeneralProtectionFault for WRUSS at CPL 1 to 3
 */
export function checkAccess(access: Access, registers: PrivilegeRegisters): void {
  if (!Number.isInteger(access) || access < 0 || access >= ACCESS_KINDS) {
    throw new MachineUsageError("kind of access", access, `a whole number from 0 to ${ACCESS_KINDS - 1}`);
  }
  if (!ACCESS_IS_SHADOW_STACK[access]) return;
  if ((registers.cr4 & CR4_CET) === 0) throw new InvalidOpcode("shadow-stack access", "CR4.CET = 0");
  if (access === ACCESS_USER_SHADOW_STACK_STORE) registers.requirePrivilege("WRUSS");
}

/**
 * The address of a shadow-stack access is a multiple of 4 bytes, as SSP is; that of an 8-byte WRUSS, of 8 (Intel SDM vol. 2D,
 * WRUSSD/WRUSSQ).
 * @throws GeneralProtectionFault when it is not
 */
export function checkShadowStackAlignment(access: Access, la: number, sizeBytes: number): void {
  if (!ACCESS_IS_SHADOW_STACK[access]) return;
  const alignment = access === ACCESS_USER_SHADOW_STACK_STORE && sizeBytes > 4 ? 8 : 4;
  if (la % alignment !== 0) throw new GeneralProtectionFault(`shadow-stack access not aligned to ${alignment} bytes`);
}
