/**
 * From an address as a program gives it to what paging translates: which addresses the CPU accepts in its present mode, before any
 * page table is looked at. A pointer is masked (LAM, UAI), must then be canonical, and must be in the right half (LASS).
 *
 * Sources: canonical addresses, Intel SDM vol. 1, 3.3.7.1. Linear-address masking (LAM), SDM vol. 1, "Linear-Address Pre-Processing":
 * bit 63 says whether CR3.LAM_U57 and LAM_U48 or CR4.LAM_SUP rules; data accesses only. Linear-address space separation (LASS), ibid.
 * and vol. 3A, 4.6: #GP before paging. Upper-address ignore (UAI), AMD APM vol. 2, 5.10.
 */
import {
  ACCESS_FETCH,
  ACCESS_IMPLICIT_LOAD,
  ACCESS_IMPLICIT_STORE,
  ACCESS_KINDS,
  type Access,
  isUserAccess,
} from "../isa/access.ts";
import { MachineUsageError } from "../isa/errors.ts";
import { GeneralProtectionFault } from "../isa/faults.ts";
import {
  formatLinearAddress,
  isCanonical,
  isUpperHalf,
  type LinearAddressBits,
  linearAddressToBigInt,
  linearPageFromBigInt,
  pageBehind,
  WIDE_PAGES,
} from "../isa/linear-address.ts";
import { checkReference, checkShadowStackAlignment } from "./access-check.ts";

const BIT_63 = 1n << 63n;
/** Bits of addresses that upper-address ignore leaves. */
const UAI_BITS = 57;

/** What the registers say of pointers. */
export interface PointerRegisters {
  /** Width of the user pointers' addresses that CR3 asks for: 48 (LAM_U48), 57 (LAM_U57), or 0 for no masking. */
  readonly lamUser: 0 | LinearAddressBits;
  /** CR4.LAM_SUP. */
  readonly lamSupervisor: boolean;
  /** EFER.UAIE. */
  readonly uai: boolean;
  /** CR4.LASS. */
  readonly lass: boolean;
  /** CR4.SMAP. */
  readonly smap: boolean;
  /** EFLAGS.AC. */
  readonly alignmentCheck: boolean;
}

/** The rules of one CPU. */
export class Pointers {
  /** Width of linear addresses. */
  bits: LinearAddressBits = 48;
  /** After `check`: where in its page the access begins. */
  offset = 0;
  /** Of the wide page that `resolve` returned last, until `check`: where in it the address lies. */
  private wideOffset = 0;
  private lamUser: 0 | LinearAddressBits = 0;
  private lamSupervisor = false;
  private uai = false;
  /** Kinds of access (bits) that LASS refuses in the lower half and in the upper, at CPL 0 to 2 and then at CPL 3. */
  private readonly lassByMode = [
    { lower: 0, upper: 0 },
    { lower: 0, upper: 0 },
  ];
  private lass = this.lassByMode[0];

  /** Recomputes the rules after a change of registers. */
  update(registers: PointerRegisters, cpl: number): void {
    this.lamUser = registers.lamUser;
    this.lamSupervisor = registers.lamSupervisor;
    this.uai = registers.uai;
    this.lassByMode.forEach((refused, mode) => {
      refused.lower = 0;
      refused.upper = 0;
      for (let access = 0; access < ACCESS_KINDS && registers.lass; access++) {
        if (isUserAccess(access as Access, mode === 1 ? 3 : 0)) refused.upper |= 1 << access;
        else if (lassRefusesSupervisor(access as Access, registers)) refused.lower |= 1 << access;
      }
    });
    this.chooseCpl(cpl);
  }

  /** Goes to another privilege level. */
  chooseCpl(cpl: number): void {
    this.lass = this.lassByMode[cpl === 3 ? 1 : 0];
  }

  /**
   * The 48-bit form of the 64-bit address of an access, once masked. Of a wide one, its page; the `check` that comes next knows the
   * offset.
   * @throws GeneralProtectionFault when it is not canonical
   * @throws MachineUsageError for what is no bigint
   */
  resolve(access: Access, address: bigint): number {
    if (typeof address !== "bigint") throw new MachineUsageError("linear address", address, "a number or a bigint");
    const pointer = BigInt.asUintN(64, address);
    const masked = access === ACCESS_FETCH ? pointer : this.masked(pointer);
    if (!isCanonical(masked, this.bits)) throw this.notCanonical(pointer);
    const page = linearPageFromBigInt(masked, this.bits);
    const offset = Number(masked & 0xfffn);
    if (page < WIDE_PAGES) return page + offset;
    this.wideOffset = offset;
    return page;
  }

  /**
   * Checks an access before any of its pages is translated: the address of every byte must be canonical, and in a half that LASS
   * allows. An access that goes on past the highest address does so at address 0.
   * @returns the second page of an access that crosses into one; else -1
   * @throws GeneralProtectionFault for what the CPU refuses
   * @throws MachineUsageError when `la` is no address, or the size not 1 to 8 bytes
   */
  check(access: Access, la: number, sizeBytes: number): number {
    const offset = la < WIDE_PAGES ? (la | 0) & 4095 : this.wideOffset;
    this.wideOffset = 0;
    this.offset = offset;
    checkReference(la, sizeBytes, this.bits);
    checkShadowStackAlignment(access, offset, sizeBytes);
    this.checkHalf(access, la);
    if (offset + sizeBytes <= 4096) return -1;
    const next = pageBehind(la < WIDE_PAGES ? la - offset : la, this.bits);
    if (next < 0) throw new GeneralProtectionFault("the access crosses into non-canonical addresses");
    this.checkHalf(access, next);
    return next;
  }

  /** A pointer of a data access with its metadata masked: canonical, if it may be used. */
  private masked(pointer: bigint): bigint {
    if (this.uai) return BigInt.asUintN(64, BigInt.asIntN(UAI_BITS, pointer));
    if ((pointer & BIT_63) === 0n) {
      return this.lamUser === 0 ? pointer : BigInt.asUintN(this.lamUser, pointer);
    }
    const { bits } = this;
    return this.lamSupervisor ? pointer | (BIT_63 - (1n << BigInt(bits))) : pointer;
  }

  /** What a half, or LAM_U48 beside five levels, refuses an access to a page. */
  private checkHalf(access: Access, la: number): void {
    const { lower, upper } = this.lass;
    if ((((isUpperHalf(la) ? upper : lower) >>> access) & 1) !== 0) {
      const half = isUpperHalf(la) ? "a user access to the upper half" : "a supervisor access to the lower half";
      throw new GeneralProtectionFault(`LASS: ${half} of addresses`);
    }
    // LAM_U48 checks bit 47 of user pointers, with five levels too.
    const isWideUser = la >= WIDE_PAGES && this.lamUser === 48 && access !== ACCESS_FETCH && !isUpperHalf(la);
    if (isWideUser) throw this.notCanonical(linearAddressToBigInt(la) + BigInt(this.offset));
  }

  private notCanonical(pointer: bigint): GeneralProtectionFault {
    return new GeneralProtectionFault(`${formatLinearAddress(pointer)} is not canonical in ${this.bits} bits`);
  }
}

/** Whether LASS keeps a kind of supervisor access out of the lower half: data only with SMAP, and not where EFLAGS.AC allows them. */
function lassRefusesSupervisor(access: Access, { smap, alignmentCheck }: PointerRegisters): boolean {
  if (access === ACCESS_FETCH) return true;
  const isImplicit = access === ACCESS_IMPLICIT_LOAD || access === ACCESS_IMPLICIT_STORE;
  return smap && (isImplicit || !alignmentCheck);
}
