/** Values that programs write to registers: their bits, checked. */
import { MachineUsageError } from "../isa/errors.ts";
import { GeneralProtectionFault } from "../isa/faults.ts";

/** Whether a bit (a power of two below 2^32) is set in a register. */
export function has(register: number, bit: number): boolean {
  return ((register >>> 0) & bit) !== 0;
}

/** The bits of a mask, as an unsigned word. */
export function keep(value: number, mask: number): number {
  return ((value | 0) & (mask | 0)) >>> 0;
}

/** @throws MachineUsageError for what is no whole number below `limit` */
export function checkWord(register: string, value: number, limit: number): void {
  if (!Number.isInteger(value) || value < 0 || value >= limit) {
    throw new MachineUsageError(register, value, `a whole number from 0 to ${(limit - 1).toString()}`);
  }
}

/**
 * The 64 bits of a number or a bigint, which may be given as a signed one.
 * @throws MachineUsageError for what is not 64 bits, or no whole number
 */
export function bitsOf(register: string, value: number | bigint): bigint {
  if (typeof value === "bigint") {
    if (value >= -(1n << 63n) && value < 1n << 64n) return BigInt.asUintN(64, value);
    throw new MachineUsageError(register, value, "64 bits");
  }
  checkWord(register, value, 2 ** 53);
  return BigInt(value);
}

/**
 * The 32 bits of a value for CR0 or CR4.
 * @throws GeneralProtectionFault when any of bits 63:32 is 1 (Intel SDM vol. 3A, 2.5; AMD APM vol. 2, 3.1.1 and 3.1.3)
 */
export function lowWord(register: string, value: number | bigint): number {
  if (typeof value === "number" && value < 2 ** 32) {
    checkWord(register, value, 2 ** 32);
    return value;
  }
  const bits = bitsOf(register, value);
  if (bits < 2n ** 32n) return Number(bits);
  throw new GeneralProtectionFault(`MOV to ${register}, 0x${bits.toString(16)}: bits 63:32 are reserved`);
}
