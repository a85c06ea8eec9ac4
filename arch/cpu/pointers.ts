/**
 * From an address as a program gives it to what paging translates: which addresses the CPU accepts in its present mode, before any
 * page table is looked at.
 */
import type { Access } from "../isa/access.ts";
import { MachineUsageError } from "../isa/errors.ts";
import { GeneralProtectionFault } from "../isa/faults.ts";
import {
  formatLinearAddress,
  isCanonical,
  type LinearAddressBits,
  linearPageFromBigInt,
  pageBehind,
  WIDE_PAGES,
} from "../isa/linear-address.ts";
import { checkReference, checkShadowStackAlignment } from "./access-check.ts";

/** The rules of one CPU. */
export class Pointers {
  /** Width of linear addresses. */
  bits: LinearAddressBits = 48;
  /** After `check`: where in its page the access begins. */
  offset = 0;
  /** Of the wide page that `resolve` returned last, until `check`: where in it the address lies. */
  private wideOffset = 0;

  /**
   * The 48-bit form of a 64-bit address. Of a wide one, its page; the `check` that comes next knows the offset.
   * @throws GeneralProtectionFault when it is not canonical
   * @throws MachineUsageError for what is no bigint
   */
  resolve(address: bigint): number {
    if (typeof address !== "bigint") throw new MachineUsageError("linear address", address, "a number or a bigint");
    const { bits } = this;
    if (!isCanonical(address, bits)) {
      throw new GeneralProtectionFault(`${formatLinearAddress(address)} is not canonical in ${bits} bits`);
    }
    const page = linearPageFromBigInt(address, bits);
    const offset = Number(address & 0xfffn);
    if (page < WIDE_PAGES) return page + offset;
    this.wideOffset = offset;
    return page;
  }

  /**
   * Checks an access before any of its pages is translated: the address of every byte must be canonical (Intel SDM vol. 1, 3.3.7.1).
   * An access that goes on past the highest address does so at address 0.
   * @returns the second page of an access that crosses into one; else -1
   * @throws GeneralProtectionFault for what the CPU refuses
   * @throws MachineUsageError when `la` is no address, or the size not 1 to 8 bytes
   */
  check(access: Access, la: number, sizeBytes: number): number {
    const offset = la < WIDE_PAGES ? la % 4096 : this.wideOffset;
    this.wideOffset = 0;
    this.offset = offset;
    checkReference(la, sizeBytes, this.bits);
    checkShadowStackAlignment(access, offset, sizeBytes);
    if (offset + sizeBytes <= 4096) return -1;
    const next = pageBehind(la < WIDE_PAGES ? la - offset : la, this.bits);
    if (next < 0) throw new GeneralProtectionFault("the access crosses into non-canonical addresses");
    return next;
  }
}
