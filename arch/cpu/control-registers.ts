/**
 * Control registers and model-specific registers of a CPU, set through writes that check what the manual says is checked
 * and invalidate what it says is invalidated (Intel SDM vol. 3A, 2.5, 4.10.4.1; vol. 2B, MOV to control registers).
 */
import { GeneralProtectionFault, InvalidOpcode } from "../isa/faults.ts";
import {
  CR0_AM,
  CR0_CD,
  CR0_ET,
  CR0_MP,
  CR0_NE,
  CR0_NW,
  CR0_PE,
  CR0_PG,
  CR0_WP,
  CR3_LAM_U48,
  CR3_LAM_U57,
  CR4_CET,
  CR4_LA57,
  CR4_LAM_SUP,
  CR4_LASS,
  CR4_PAE,
  CR4_PCIDE,
  CR4_PGE,
  CR4_PKE,
  CR4_PKS,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LMA,
  EFER_LME,
  EFER_NXE,
  EFER_SCE,
  EFER_TCE,
  EFER_UAIE,
  MSR_EFER,
  MSR_PKRS,
} from "../isa/register-bits.ts";
import type { TableEntries, VendorRules } from "../isa/vendor.ts";
import type { CpuFeatures, Preset } from "../presets/preset.ts";
import { COUNT_MOV_CR3, COUNT_MOV_CR3_NO_FLUSH, COUNT_MOV_CR4_FLUSH } from "../time/perf-counters.ts";
import type { MemoryTypes } from "../walk/memory-type.ts";
import type { Mmu } from "./mmu.ts";
import { cr4BitsOf, eferBitsOf } from "./register-features.ts";
import { bitsOf, checkWord, has, keep, lowWord } from "./register-values.ts";

const CR0_ALL = CR0_PE + CR0_MP + 4 + 8 + CR0_ET + CR0_NE + CR0_WP + CR0_AM + CR0_NW + CR0_CD + CR0_PG;
/** Bit 63 of the source of MOV to CR3: keep the translations of the new PCID. */
const CR3_KEEP = 1n << 63n;
/** Where `lamUser` is in CR3, and its bit LAM_U57. */
const LAM_SHIFT = 61n;
const LAM_U57 = 1;

/** What the registers of one CPU hold. */
export interface RegisterValues {
  /** CR0: `CR0_*`. */
  readonly cr0: number;
  /** CR3: physical address of the top table, and the PCID in bits 11:0. */
  readonly cr3: number;
  /** Bits 62:61 of CR3: LAM_U57 (1) and LAM_U48 (2). */
  readonly lamUser: number;
  /** CR4: `CR4_*`. */
  readonly cr4: number;
  /** IA32_EFER: `EFER_*`. */
  readonly efer: number;
  /** PKRU: AD and WD of 16 keys. */
  readonly pkru: number;
  /** IA32_PKRS, as PKRU. */
  readonly pkrs: number;
  /** Current privilege level, 0 to 3. */
  readonly cpl: number;
  /** EFLAGS.AC. */
  readonly alignmentCheck: boolean;
}

/** The registers of one CPU. */
export class ControlRegisters {
  /** CR0: `CR0_*`. */
  cr0 = CR0_PG + CR0_AM + CR0_WP + CR0_NE + CR0_ET + CR0_MP + CR0_PE;
  /** CR3: physical address of the top table, and the PCID in bits 11:0. */
  cr3 = 0;
  /** Bits 62:61 of CR3: LAM_U57 (1) and LAM_U48 (2). */
  lamUser = 0;
  /** CR4: `CR4_*`. */
  cr4 = CR4_PAE;
  /** IA32_EFER: `EFER_*`. */
  efer = EFER_SCE + EFER_LME + EFER_LMA;
  /** PKRU: AD (bit 2k) and WD (bit 2k + 1) of key k. */
  pkru = 0;
  /** IA32_PKRS, as PKRU. */
  pkrs = 0;
  /** Current privilege level, 0 to 3. */
  cpl = 0;
  /** EFLAGS.AC. */
  alignmentCheck = false;

  private readonly mmu: Mmu;
  private readonly features: CpuFeatures;
  private readonly maxPhyAddr: number;
  private readonly preset: Preset;
  private readonly vendor: VendorRules;
  private readonly memoryTypes: MemoryTypes;
  private readonly spend: (cycles: number) => void;

  constructor(
    mmu: Mmu,
    features: CpuFeatures,
    maxPhyAddr: number,
    preset: Preset,
    vendor: VendorRules,
    memoryTypes: MemoryTypes,
    spend: (cycles: number) => void,
  ) {
    this.mmu = mmu;
    this.features = features;
    this.maxPhyAddr = maxPhyAddr;
    this.preset = preset;
    this.vendor = vendor;
    this.memoryTypes = memoryTypes;
    this.spend = spend;
  }

  /** What Linux has set once it runs: paging on, WP, PGE, NXE where there is such a thing. */
  reset(levels: 4 | 5): void {
    this.cr4 = CR4_PAE + (this.features.pge ? CR4_PGE : 0) + (levels === 5 ? CR4_LA57 : 0);
    this.efer += this.features.nx ? EFER_NXE : 0;
    this.chooseLevels(levels);
    this.update();
  }

  /** The cached entries that refer to tables which INVLPG, and INVLPGB of a page, remove (AMD APM vol. 2, 3.1.7). */
  get invlpgTableEntries(): TableEntries {
    return has(this.efer, EFER_TCE) ? "of the page" : this.vendor.invlpgTableEntries;
  }

  /** Those that INVPCID of one page removes. */
  get invpcidTableEntries(): TableEntries {
    return has(this.efer, EFER_TCE) ? "of the page" : this.vendor.invpcidTableEntries;
  }

  /** Recomputes what paging needs to know of the registers. */
  update(): void {
    const { mode } = this.mmu;
    const registers = {
      alignmentCheck: this.alignmentCheck,
      writeProtect: has(this.cr0, CR0_WP),
      noExecute: has(this.efer, EFER_NXE),
      smep: has(this.cr4, CR4_SMEP),
      smap: has(this.cr4, CR4_SMAP),
      pke: has(this.cr4, CR4_PKE),
      pks: has(this.cr4, CR4_PKS),
      globalPages: has(this.cr4, CR4_PGE),
      pkru: this.pkru,
      pkrs: this.pkrs,
      maxPhyAddr: this.maxPhyAddr,
      page1g: this.features.page1g,
      reservedTopLow: this.vendor.reservedTopLow,
    };
    mode.update(registers, this.cpl);
    this.updatePointers();
    this.mmu.fastPath.contextChanged();
  }

  private updatePointers(): void {
    const { lamUser, cr4, efer, alignmentCheck } = this;
    const lass = has(cr4, CR4_LASS);
    this.mmu.pointers.update(
      {
        lamUser: (lamUser & LAM_U57) !== 0 ? 57 : lamUser !== 0 ? 48 : 0,
        lamSupervisor: has(cr4, CR4_LAM_SUP),
        uai: has(efer, EFER_UAIE),
        lass,
        smap: has(cr4, CR4_SMAP),
        alignmentCheck,
      },
      this.cpl,
    );
    this.mmu.fastPath.refuseAddresses(lass);
  }

  /** Goes to another privilege level. */
  chooseCpl(cpl: number): void {
    this.cpl = cpl;
    this.mmu.mode.chooseCpl(cpl);
    this.mmu.pointers.chooseCpl(cpl);
    this.mmu.fastPath.contextChanged();
  }

  /** @throws GeneralProtectionFault unless the CPL is 0 */
  requirePrivilege(instruction: string): void {
    if (this.cpl !== 0) throw new GeneralProtectionFault(`${instruction} at CPL ${this.cpl}`);
  }

  /** MOV to CR0. Bits of the low word that are not there stay 0 (Intel SDM vol. 3A, 2.5); any of the high word is #GP. */
  writeCr0(source: number | bigint): void {
    this.requirePrivilege("MOV to CR0");
    const value = lowWord("CR0", source);
    const refuse = (why: string) => new GeneralProtectionFault(`MOV to CR0, 0x${value.toString(16)}: ${why}`);
    if (!has(value, CR0_PG) || !has(value, CR0_PE)) throw refuse("PG and PE cannot be cleared in 64-bit mode");
    if (has(value, CR0_NW) && !has(value, CR0_CD)) throw refuse("NW needs CD");
    if (!has(value, CR0_WP) && has(this.cr4, CR4_CET)) throw refuse("WP cannot be cleared while CR4.CET = 1");
    this.spend(this.preset.costs.movCr0.value);
    this.cr0 = keep(value, CR0_ALL) + (has(value, CR0_ET) ? 0 : CR0_ET);
    this.update();
  }

  /**
   * MOV to CR3, which removes the translations of the new PCID unless bit 63 or `keepTranslations` says to keep them (SDM vol. 3A,
   * 4.10.4.1).
   * @throws GeneralProtectionFault for reserved bits, and unless the CPL is 0
   */
  writeCr3(source: number | bigint, keepTranslations: boolean): void {
    this.requirePrivilege("MOV to CR3");
    const bits = bitsOf("CR3", source);
    const keepBit = keepTranslations || (bits & CR3_KEEP) !== 0n;
    const lam = this.features.lam ? bits & (CR3_LAM_U57 | CR3_LAM_U48) : 0n;
    const base = Number(bits & ~(CR3_KEEP | lam));
    const refuse = (why: string) => new GeneralProtectionFault(`MOV to CR3, 0x${bits.toString(16)}: ${why}`);
    if (base >= 2 ** this.maxPhyAddr) throw refuse(`bits at or above MAXPHYADDR (${this.maxPhyAddr}) are reserved`);
    const tagged = has(this.cr4, CR4_PCIDE);
    if (keepBit && !tagged) throw refuse("bit 63 is reserved while CR4.PCIDE = 0");
    const { mode, counts } = this.mmu;
    this.cr3 = base;
    this.lamUser = Number(lam >> LAM_SHIFT);
    if (this.features.lam) this.updatePointers();
    mode.rootFrame = Math.floor(base / 4096);
    this.mmu.choosePcid(tagged ? base % 4096 : 0);
    if (keepBit) {
      counts[COUNT_MOV_CR3_NO_FLUSH]++;
      this.spend(this.preset.costs.movCr3NoFlush.value);
      return;
    }
    counts[COUNT_MOV_CR3]++;
    this.spend(this.preset.costs.movCr3.value);
    this.mmu.invalidatePcid(this.mmu.pcid);
  }

  /** MOV from CR3, with the bits of linear-address masking; bit 63 reads as 0. */
  readCr3(): bigint {
    this.requirePrivilege("MOV from CR3");
    return BigInt(this.cr3) | (BigInt(this.lamUser) << LAM_SHIFT);
  }

  /**
   * MOV to CR4. Which changes remove translations is the vendor's rule (vendor.ts).
   * @throws GeneralProtectionFault for bits that this CPU does not have, and unless the CPL is 0
   */
  writeCr4(source: number | bigint): void {
    this.requirePrivilege("MOV to CR4");
    const value = lowWord("CR4", source);
    const refuse = (why: string) => new GeneralProtectionFault(`MOV to CR4, 0x${value.toString(16)}: ${why}`);
    const unknown = keep(value, 2 ** 32 - 1 - cr4BitsOf(this.features));
    if (unknown !== 0) throw refuse(`bits 0x${unknown.toString(16)} are reserved on this CPU`);
    if (!has(value, CR4_PAE)) throw refuse("PAE cannot be cleared in 64-bit mode");
    if (has(value, CR4_LA57) !== has(this.cr4, CR4_LA57)) throw refuse("LA57 cannot be changed in 64-bit mode");
    if (has(value, CR4_PCIDE) && !has(this.cr4, CR4_PCIDE) && this.cr3 % 4096 !== 0) {
      throw refuse(`PCIDE cannot be set while CR3[11:0] = 0x${(this.cr3 % 4096).toString(16)}`);
    }
    if (has(value, CR4_CET) && !has(this.cr0, CR0_WP)) throw refuse("CET cannot be set while CR0.WP = 0");
    const before = this.cr4;
    this.cr4 = value;
    this.spend(this.preset.costs.movCr4.value);
    const { cr4ChangeFlushesAll, cr4SetFlushesAll, cr4SetFlushesPcid } = this.vendor;
    const changed = before ^ value;
    if ((changed & (cr4ChangeFlushesAll | (value & cr4SetFlushesAll) | (before & CR4_PCIDE))) !== 0) {
      this.mmu.counts[COUNT_MOV_CR4_FLUSH]++;
      this.spend(this.preset.costs.movCr4Flush.value);
      this.mmu.invalidateAll();
    } else if ((changed & value & cr4SetFlushesPcid) !== 0) {
      this.mmu.counts[COUNT_MOV_CR4_FLUSH]++;
      this.spend(this.preset.costs.movCr4Flush.value);
      this.mmu.invalidatePcid(this.mmu.pcid);
    }
    this.mmu.choosePcid(has(value, CR4_PCIDE) ? this.cr3 % 4096 : 0);
    this.update();
  }

  /** WRPKRU, at any CPL. */
  writePkru(value: number): void {
    if (!has(this.cr4, CR4_PKE)) throw new InvalidOpcode("WRPKRU", "CR4.PKE = 0");
    checkWord("PKRU", value, 2 ** 32);
    this.spend(this.preset.costs.wrpkru.value);
    this.pkru = value;
    this.update();
  }

  /**
   * WRMSR of IA32_EFER, IA32_PKRS, IA32_PAT or an MTRR. A change of memory types removes all translations.
   * @throws GeneralProtectionFault for what the CPU refuses, and unless the CPL is 0
   */
  wrmsr(index: number, value: number | bigint): void {
    this.requirePrivilege("WRMSR");
    checkWord("number of an MSR", index, 2 ** 32);
    const bits = bitsOf(`MSR 0x${index.toString(16)}`, value);
    this.spend(this.preset.costs.wrmsr.value);
    if (index === MSR_EFER) this.writeEfer(bits);
    else if (index === MSR_PKRS) this.writePkrs(bits);
    else if (this.memoryTypes.write(index, bits)) this.mmu.invalidateAll();
  }

  /**
   * RDMSR of the same registers.
   * @throws GeneralProtectionFault for a register that this CPU does not have, and unless the CPL is 0
   */
  rdmsr(index: number): bigint {
    this.requirePrivilege("RDMSR");
    checkWord("number of an MSR", index, 2 ** 32);
    if (index === MSR_EFER) return BigInt(this.efer);
    if (index === MSR_PKRS && this.features.pks) return BigInt(this.pkrs);
    return this.memoryTypes.read(index);
  }

  /** A change of NXE removes all translations: what XD meant when they were cached is no longer what it means. */
  private writeEfer(bits: bigint): void {
    const { features, vendor } = this;
    const refuse = (why: string) => new GeneralProtectionFault(`WRMSR to IA32_EFER, 0x${bits.toString(16)}: ${why}`);
    const ignored = BigInt(vendor.eferReadAsZero);
    if ((bits & ~(BigInt(eferBitsOf(features)) | ignored)) !== 0n) throw refuse("reserved bits on this CPU");
    const value = Number(bits & ~ignored);
    if (!has(value, EFER_LME)) throw refuse("LME cannot be changed while CR0.PG = 1");
    if (!has(value, EFER_LMA) && vendor.eferLmaMustMatch) throw refuse("LMA must be written as it is");
    const changed = has(value, EFER_NXE) !== has(this.efer, EFER_NXE);
    this.efer = value + (has(value, EFER_LMA) ? 0 : EFER_LMA);
    if (changed) this.mmu.invalidateAll();
    this.update();
  }

  private writePkrs(bits: bigint): void {
    if (!this.features.pks) throw new GeneralProtectionFault("WRMSR to IA32_PKRS: this CPU has no PKS");
    if (bits >= 2n ** 32n) throw new GeneralProtectionFault("WRMSR to IA32_PKRS: bits 63:32 are reserved");
    this.pkrs = Number(bits);
    this.update();
  }

  /**
   * Sets registers without the checks and effects of the instructions that write them, for saved states; what paging derives from
   * them follows. `cr3` has the PCID in bits 11:0.
   */
  restore(values: RegisterValues): void {
    this.cr0 = values.cr0;
    this.cr3 = values.cr3;
    this.lamUser = values.lamUser;
    this.cr4 = values.cr4;
    this.efer = values.efer;
    this.pkru = values.pkru;
    this.pkrs = values.pkrs;
    this.cpl = values.cpl;
    this.alignmentCheck = values.alignmentCheck;
    this.chooseLevels(has(values.cr4, CR4_LA57) ? 5 : 4);
    this.mmu.mode.rootFrame = Math.floor(values.cr3 / 4096);
    this.mmu.choosePcid(has(values.cr4, CR4_PCIDE) ? values.cr3 % 4096 : 0);
    this.update();
  }

  private chooseLevels(levels: 4 | 5): void {
    this.mmu.mode.levels = levels;
    this.mmu.pointers.bits = levels === 5 ? 57 : 48;
  }
}
