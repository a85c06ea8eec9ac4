/**
 * Memory types: IA32_PAT chooses one by the PWT, PCD and PAT bits of a translation, the MTRRs one by physical address, and
 * the two combine to the effective type (Intel SDM vol. 3A, 11.5.2.2 table 11-7, 11.11, 11.12).
 */
import { GeneralProtectionFault } from "../isa/faults.ts";
import type { VendorRules } from "../isa/vendor.ts";
import type { CpuFeatures } from "../presets/preset.ts";

/** Uncacheable. */
const TYPE_UC = 0;
/** Write combining. */
const TYPE_WC = 1;
/** Write-through. */
const TYPE_WT = 4;
/** Write-protected. */
const TYPE_WP = 5;
/** Write-back. */
const TYPE_WB = 6;
/** Uncacheable, unless an MTRR says WC (PAT only). */
const TYPE_UC_MINUS = 7;

/** Names of the types, by encoding. */
export const MEMORY_TYPE_NAMES = ["UC", "WC", "", "", "WT", "WP", "WB", "UC-"] as const;

const MSR_PAT = 0x277;
const MSR_MTRR_CAP = 0xfe;
const MSR_MTRR_DEF_TYPE = 0x2ff;
const MSR_MTRR_PHYSBASE0 = 0x200;
/** The fixed-range registers and, for each, the first address and the bytes of each of its eight ranges. */
const FIXED_RANGES: ReadonlyMap<number, readonly [number, number]> = new Map([
  [0x250, [0, 0x1_0000]],
  [0x258, [0x8_0000, 0x4000]],
  [0x259, [0xa_0000, 0x4000]],
  ...Array.from({ length: 8 }, (_, i): [number, readonly [number, number]] => [
    0x268 + i,
    [0xc_0000 + i * 0x8000, 0x1000],
  ]),
]);
/** The fixed ranges after reset: write-back. */
const FIXED_AT_RESET: ReadonlyMap<number, bigint> = new Map(
  [...FIXED_RANGES.keys()].map((index) => [index, 0x0606_0606_0606_0606n]),
);
/** IA32_PAT after reset: WB, WT, UC-, UC, twice. */
const PAT_AT_RESET = 0x0007_0406_0007_0406n;
const PAT_VALID = [TYPE_UC, TYPE_WC, TYPE_WT, TYPE_WP, TYPE_WB, TYPE_UC_MINUS];
const MTRR_VALID = [TYPE_UC, TYPE_WC, TYPE_WT, TYPE_WP, TYPE_WB];

/** PAT and MTRRs of one CPU. Firmware has left the MTRRs on, with write-back as the default type. */
export class MemoryTypes {
  private readonly features: CpuFeatures;
  private readonly addressMask: bigint;
  private pat = PAT_AT_RESET;
  private defType = 0xc06n;
  private readonly variableRanges: number;
  private readonly base: bigint[];
  private readonly mask: bigint[];
  private fixed = FIXED_AT_RESET;

  constructor(features: CpuFeatures, maxPhyAddr: number, vendor: VendorRules) {
    this.features = features;
    this.variableRanges = vendor.variableMtrrs;
    this.base = new Array<bigint>(vendor.variableMtrrs).fill(0n);
    this.mask = new Array<bigint>(vendor.variableMtrrs).fill(0n);
    this.addressMask = (1n << BigInt(maxPhyAddr)) - 1n;
  }

  /**
   * RDMSR of a PAT or MTRR register.
   * @throws GeneralProtectionFault for a register that this CPU does not have
   */
  read(index: number): bigint {
    this.check(index);
    if (index === MSR_PAT) return this.pat;
    if (index === MSR_MTRR_CAP) return BigInt(this.variableRanges) | (1n << 8n) | (1n << 10n);
    if (index === MSR_MTRR_DEF_TYPE) return this.defType;
    const range = (index - MSR_MTRR_PHYSBASE0) >> 1;
    if (range >= 0 && range < this.variableRanges) return ((index & 1) === 0 ? this.base : this.mask)[range];
    return this.fixed.get(index) ?? 0n;
  }

  /**
   * WRMSR of a PAT or MTRR register; returns whether translations cached before must go.
   * @throws GeneralProtectionFault for a register that this CPU does not have, a reserved bit, or a type that does not exist
   */
  write(index: number, value: bigint): boolean {
    this.check(index);
    const refuse = (why: string) =>
      new GeneralProtectionFault(`WRMSR 0x${index.toString(16)}, 0x${value.toString(16)}: ${why}`);
    if (index === MSR_MTRR_CAP) throw refuse("the register is read-only");
    if (index === MSR_PAT || this.fixed.has(index)) {
      const valid = index === MSR_PAT ? PAT_VALID : MTRR_VALID;
      for (let i = 0; i < 8; i++)
        if (!valid.includes(byte(value, i))) throw refuse(`type ${byte(value, i)} is reserved`);
      if (index === MSR_PAT) this.pat = value;
      else this.fixed = new Map(this.fixed).set(index, value);
      return true;
    }
    if (!MTRR_VALID.includes(byte(value, 0)) && (index === MSR_MTRR_DEF_TYPE || (index & 1) === 0)) {
      throw refuse(`type ${byte(value, 0)} is reserved`);
    }
    if (index === MSR_MTRR_DEF_TYPE) {
      if ((value & ~0xcffn) !== 0n) throw refuse("reserved bits");
      this.defType = value;
      return true;
    }
    const allowed = (this.addressMask & ~0xfffn) | ((index & 1) === 0 ? 0xffn : 0x800n);
    if ((value & ~allowed) !== 0n) throw refuse("reserved bits");
    ((index & 1) === 0 ? this.base : this.mask)[(index - MSR_MTRR_PHYSBASE0) >> 1] = value;
    return true;
  }

  /** Numbers of those PAT and MTRR registers that this CPU has and that can be written, ascending. */
  writableRegisters(): number[] {
    const mtrrs = Array.from({ length: 2 * this.variableRanges }, (_, i) => MSR_MTRR_PHYSBASE0 + i);
    const all = [MSR_PAT, MSR_MTRR_DEF_TYPE, ...mtrrs, ...FIXED_RANGES.keys()].sort((a, b) => a - b);
    return all.filter((index) => (index === MSR_PAT ? this.features.pat : this.features.mtrr));
  }

  /** The type that the PAT gives an index (PAT, PCD, PWT). Without PAT, PCD and PWT alone choose, as after reset. */
  patType(index: number): number {
    return this.features.pat ? byte(this.pat, index) : byte(PAT_AT_RESET, index & 3);
  }

  /** The type that the MTRRs give a physical address: WB when there are none. */
  mtrrType(physical: number): number {
    if (!this.features.mtrr) return TYPE_WB;
    if ((this.defType & 0x800n) === 0n) return TYPE_UC;
    if (physical < 0x10_0000 && (this.defType & 0x400n) !== 0n) return this.fixedType(physical);
    const address = BigInt(physical);
    let type = -1;
    for (let i = 0; i < this.variableRanges; i++) {
      const mask = this.mask[i] & ~0xfffn;
      if ((this.mask[i] & 0x800n) === 0n || (address & mask) !== (this.base[i] & mask)) continue;
      type = type === -1 ? byte(this.base[i], 0) : overlap(type, byte(this.base[i], 0));
    }
    return type === -1 ? byte(this.defType, 0) : type;
  }

  /** The effective type of a translation to `physical` with a PAT index. */
  effectiveType(patIndex: number, physical: number): number {
    return combineTypes(this.patType(patIndex), this.mtrrType(physical));
  }

  private fixedType(physical: number): number {
    for (const [index, [first, sizeBytes]] of FIXED_RANGES) {
      if (physical >= first && physical < first + 8 * sizeBytes) {
        return byte(this.fixed.get(index) ?? 0n, Math.floor((physical - first) / sizeBytes));
      }
    }
    return TYPE_UC;
  }

  private check(index: number): void {
    const mtrr =
      index === MSR_MTRR_CAP ||
      index === MSR_MTRR_DEF_TYPE ||
      FIXED_RANGES.has(index) ||
      (index >= MSR_MTRR_PHYSBASE0 && index < MSR_MTRR_PHYSBASE0 + 2 * this.variableRanges);
    if ((index === MSR_PAT && this.features.pat) || (mtrr && this.features.mtrr)) return;
    throw new GeneralProtectionFault(`MSR 0x${index.toString(16)}: this CPU has no such register`);
  }
}

/** Two variable ranges that overlap: UC wins, WT over WB; other pairs are undefined, and here the stricter, UC. */
function overlap(a: number, b: number): number {
  if (a === b) return a;
  if ((a === TYPE_WT && b === TYPE_WB) || (a === TYPE_WB && b === TYPE_WT)) return TYPE_WT;
  return TYPE_UC;
}

/**
 * Intel SDM vol. 3A, table 11-7: PAT and MTRR types to the effective type. Where the table marks a combination as
 * implementation-defined, this is the value it gives.
 */
export function combineTypes(pat: number, mtrr: number): number {
  switch (pat) {
    case TYPE_WC:
      return TYPE_WC;
    case TYPE_UC_MINUS:
      return mtrr === TYPE_WC || mtrr === TYPE_WP ? TYPE_WC : TYPE_UC;
    case TYPE_WT:
    case TYPE_WP:
      return mtrr === TYPE_UC || mtrr === TYPE_WC ? TYPE_UC : pat;
    case TYPE_WB:
      return mtrr;
    default:
      return TYPE_UC;
  }
}

function byte(value: bigint, index: number): number {
  return Number((value >> BigInt(index * 8)) & 0xffn);
}
