/**
 * The instructions that invalidate translations: INVLPG, INVPCID (Intel SDM vol. 2A and vol. 3A, 4.10.4.1), and AMD's INVLPGB
 * with TLBSYNC (AMD APM vol. 3).
 */

import { GeneralProtectionFault, InvalidOpcode, MachineUsageError } from "../isa/faults.ts";
import { isCanonical, linearAddressFromBigInt } from "../isa/linear-address.ts";
import type { CpuFeatures, Preset } from "../presets/preset.ts";
import { COUNT_INVLPG, COUNT_INVLPGB, COUNT_INVPCID } from "../time/perf-counters.ts";
import { type ControlRegisters, CR4_PCIDE } from "./control-registers.ts";
import type { Cpu } from "./cpu.ts";
import type { Mmu } from "./mmu.ts";

/** What one INVLPGB removes on every CPU. */
export interface InvlpgbRequest {
  /** First linear address; absent: every address. */
  readonly la?: number;
  /** Pages from there on, 1 to {@link INVLPGB_PAGES_MAX}. */
  readonly pages?: number;
  /** Bytes from one page to the next: 4096 or 2 MiB. */
  readonly strideBytes?: number;
  /** Only translations of this PCID; absent: of every PCID. */
  readonly pcid?: number;
  /** Global translations too. */
  readonly includeGlobals: boolean;
}

/** The most pages one INVLPGB can name: CPUID Fn8000_0008_EDX[InvlpgbCountMax] + 1 on Zen 3. */
export const INVLPGB_PAGES_MAX = 8;

/** The invalidation instructions of one CPU. */
export class Invalidations {
  private readonly mmu: Mmu;
  private readonly registers: ControlRegisters;
  private readonly features: CpuFeatures;
  private readonly preset: Preset;
  private readonly cpus: readonly Cpu[];
  private readonly spend: (cycles: number) => void;
  /** Broadcasts that other CPUs have not carried out yet. */
  private pending: InvlpgbRequest[] = [];

  constructor(
    mmu: Mmu,
    registers: ControlRegisters,
    features: CpuFeatures,
    preset: Preset,
    cpus: readonly Cpu[],
    spend: (cycles: number) => void,
  ) {
    this.mmu = mmu;
    this.registers = registers;
    this.features = features;
    this.preset = preset;
    this.cpus = cpus;
    this.spend = spend;
  }

  /** INVLPG. */
  invlpg(la: number | bigint): void {
    this.registers.requirePrivilege("INVLPG");
    this.mmu.counts[COUNT_INVLPG]++;
    this.spend(this.preset.costs.invlpg.value);
    if (typeof la === "number") this.mmu.invalidatePage(la);
    else if (isCanonical(la)) this.mmu.invalidatePage(linearAddressFromBigInt(la));
  }

  /** INVPCID. With CR4.PCIDE = 0 the only PCID is 0 (Intel SDM vol. 2A, INVPCID). */
  invpcid(type: number, pcid: number, la: number): void {
    if (!this.features.invpcid) throw new InvalidOpcode("INVPCID", "this CPU does not have it");
    this.registers.requirePrivilege("INVPCID");
    if (![0, 1, 2, 3].includes(type)) throw new GeneralProtectionFault(`INVPCID type ${type}: 0 to 3 exist`);
    if (!Number.isInteger(pcid) || pcid < 0) {
      throw new MachineUsageError("INVPCID descriptor's PCID", pcid, "a whole number from 0 to 4095");
    }
    if (pcid > 4095) throw new GeneralProtectionFault(`INVPCID descriptor with PCID ${pcid}: bits 63:12 are reserved`);
    if (type < 2 && pcid !== 0 && (this.registers.cr4 & CR4_PCIDE) === 0) {
      throw new GeneralProtectionFault(`INVPCID type ${type} of PCID ${pcid} while CR4.PCIDE = 0`);
    }
    const { costs } = this.preset;
    this.mmu.counts[COUNT_INVPCID + type]++;
    if (type === 0) {
      this.spend(costs.invpcidAddress.value);
      this.mmu.invalidatePageInPcid(la, pcid);
    } else if (type === 1) {
      this.spend(costs.invpcidContext.value);
      this.mmu.invalidatePcid(pcid);
    } else if (type === 2) {
      this.spend(costs.invpcidAll.value);
      this.mmu.invalidateAll();
    } else {
      this.spend(costs.invpcidAllNonGlobal.value);
      this.mmu.invalidateNonGlobal();
    }
  }

  /**
   * INVLPGB: invalidates on this CPU now, and on all others no later than this CPU's next TLBSYNC. The other CPUs of this
   * machine take as long as they may, so that a missing TLBSYNC shows.
   */
  invlpgb(request: InvlpgbRequest): void {
    if (!this.features.invlpgb) throw new InvalidOpcode("INVLPGB", "this CPU does not have it");
    this.registers.requirePrivilege("INVLPGB");
    const pages = request.pages ?? 1;
    if (!Number.isInteger(pages) || pages < 1 || pages > INVLPGB_PAGES_MAX) {
      throw new GeneralProtectionFault(`INVLPGB of ${pages} pages: 1 to ${INVLPGB_PAGES_MAX} are possible`);
    }
    this.mmu.counts[COUNT_INVLPGB]++;
    this.spend(this.preset.costs.invlpgb.value);
    carryOut(this.mmu, request);
    this.pending.push(request);
  }

  /** TLBSYNC: waits until every CPU has carried out the INVLPGBs of this one. */
  tlbsync(): void {
    if (!this.features.invlpgb) throw new InvalidOpcode("TLBSYNC", "this CPU does not have it");
    this.registers.requirePrivilege("TLBSYNC");
    this.spend(this.preset.costs.tlbsync.value);
    for (const cpu of this.cpus) {
      if (cpu.mmu === this.mmu) continue;
      for (const request of this.pending) carryOut(cpu.mmu, request);
    }
    this.pending = [];
  }
}

function carryOut(mmu: Mmu, request: InvlpgbRequest): void {
  const { la, pcid, includeGlobals } = request;
  if (la === undefined) {
    if (pcid !== undefined) mmu.invalidatePcid(pcid);
    else if (includeGlobals) mmu.invalidateAll();
    else mmu.invalidateNonGlobal();
    return;
  }
  const strideBytes = request.strideBytes ?? 4096;
  for (let i = 0; i < (request.pages ?? 1); i++) {
    mmu.invalidatePageEverywhere(la + i * strideBytes, pcid ?? -1, includeGlobals);
  }
}
