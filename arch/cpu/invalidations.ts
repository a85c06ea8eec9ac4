/**
 * The instructions that invalidate translations: INVLPG, INVPCID (Intel SDM vol. 2A and vol. 3A, 4.10.4.1), and AMD's INVLPGB
 * with TLBSYNC (AMD APM vol. 3).
 */

import { MachineUsageError } from "../isa/errors.ts";
import { GeneralProtectionFault, InvalidOpcode } from "../isa/faults.ts";
import { isCanonical, LINEAR_SPACE_BYTES, orderOfPage, pageOfOrder } from "../isa/linear-address.ts";
import { CR4_PCIDE } from "../isa/register-bits.ts";
import { EVERY_PCID } from "../isa/translation.ts";
import type { TableEntries } from "../isa/vendor.ts";
import type { CpuFeatures, Preset } from "../presets/preset.ts";
import { COUNT_INVLPG, COUNT_INVLPGB, COUNT_INVPCID } from "../time/perf-counters.ts";
import { canonicalPage } from "./access-check.ts";
import type { ControlRegisters } from "./control-registers.ts";
import {
  decodeInvlpgb,
  encodeInvlpgb,
  type InvlpgbBroadcast,
  type InvlpgbRegisters,
  type InvlpgbRequest,
} from "./invlpgb-operands.ts";
import type { Mmu } from "./mmu.ts";
import type { Virtualization } from "./virtualization.ts";

/** A broadcast, and which entries that refer to tables it removes. */
export interface IssuedBroadcast {
  /** What it removes. */
  readonly broadcast: InvlpgbBroadcast;
  /** Which entries that refer to tables it removes. */
  readonly tables: TableEntries;
}

/** A CPU that broadcasts reach (`Cpu`). */
export interface BroadcastTarget {
  readonly mmu: Mmu;
  readonly virtualization: Virtualization;
}

/** The invalidation instructions of one CPU. */
export class Invalidations {
  private readonly mmu: Mmu;
  private readonly registers: ControlRegisters;
  private readonly features: CpuFeatures;
  private readonly preset: Preset;
  private readonly cpus: readonly BroadcastTarget[];
  private readonly spend: (cycles: number) => void;
  private readonly invlpgCycles: number;
  /** Broadcasts that other CPUs have not carried out yet. */
  private pending: IssuedBroadcast[] = [];

  constructor(
    mmu: Mmu,
    registers: ControlRegisters,
    features: CpuFeatures,
    preset: Preset,
    cpus: readonly BroadcastTarget[],
    spend: (cycles: number) => void,
  ) {
    this.mmu = mmu;
    this.registers = registers;
    this.features = features;
    this.preset = preset;
    this.cpus = cpus;
    this.spend = spend;
    this.invlpgCycles = preset.costs.invlpg.value;
  }

  /** INVLPG. For an address that is not canonical it does nothing (Intel SDM vol. 2A, INVLPG). */
  invlpg(la: number | bigint): void {
    const { mmu, registers } = this;
    registers.requirePrivilege("INVLPG");
    const { bits } = mmu.pointers;
    const isIgnored = typeof la === "bigint" && !isCanonical(la, bits);
    const page = isIgnored ? 0 : canonicalPage("INVLPG", la, bits);
    mmu.counts[COUNT_INVLPG]++;
    this.spend(this.invlpgCycles);
    if (!isIgnored) mmu.invalidatePage(page, mmu.pcid, true, registers.invlpgTableEntries);
  }

  /**
   * INVPCID. With CR4.PCIDE = 0 the only PCID is 0. The address is looked at by type 0 only, the PCID by types 0 and 1, but bits
   * 63:12 of the descriptor must be zero for all (Intel SDM vol. 2A, INVPCID).
   */
  invpcid(type: number, pcid: number, address: number | bigint): void {
    if (!this.features.invpcid) throw new InvalidOpcode("INVPCID", "this CPU does not have it");
    this.registers.requirePrivilege("INVPCID");
    checkField("INVPCID type", type);
    if (type > 3) throw new GeneralProtectionFault(`INVPCID type ${type}: 0 to 3 exist`);
    checkField("INVPCID descriptor's PCID", pcid);
    if (pcid > 4095) throw new GeneralProtectionFault(`INVPCID descriptor with PCID ${pcid}: bits 63:12 are reserved`);
    if (type < 2 && pcid !== 0 && (this.registers.cr4 & CR4_PCIDE) === 0) {
      throw new GeneralProtectionFault(`INVPCID type ${type} of PCID ${pcid} while CR4.PCIDE = 0`);
    }
    const la = type === 0 ? canonicalPage("INVPCID type 0", address, this.mmu.pointers.bits) : 0;
    const { costs } = this.preset;
    this.mmu.counts[COUNT_INVPCID + type]++;
    if (type === 0) {
      this.spend(costs.invpcidAddress.value);
      this.mmu.invalidatePage(la, pcid, false, this.registers.invpcidTableEntries);
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
   * @throws MachineUsageError for a request that cannot be put into the instruction's registers
   * @throws InvalidOpcode on a CPU without it
   * @throws GeneralProtectionFault for what the CPU refuses
   */
  invlpgb(request: InvlpgbRequest): void {
    this.requireInvlpgb("INVLPGB");
    this.invlpgbRegisters(encodeInvlpgb(request));
  }

  /**
   * INVLPGB with its registers as they are; otherwise as {@link invlpgb}. The EFER.TCE of this CPU decides for all of them which
   * entries that refer to tables go (AMD APM vol. 2, 3.1.7).
   */
  invlpgbRegisters(operands: InvlpgbRegisters): void {
    this.requireInvlpgb("INVLPGB");
    const { mmu, registers } = this;
    const decoded = decodeInvlpgb(operands, (registers.cr4 & CR4_PCIDE) !== 0, mmu.pointers.bits);
    const { vcpu } = this.cpus[mmu.cpu].virtualization;
    // A guest reaches no other ASID than its own (AMD APM vol. 3, INVLPGB).
    const broadcast = vcpu === null ? decoded : { ...decoded, asid: vcpu.id };
    mmu.counts[COUNT_INVLPGB]++;
    this.spend(this.preset.costs.invlpgb.value);
    const issued: IssuedBroadcast = { broadcast, tables: broadcast.finalOnly ? "none" : registers.invlpgTableEntries };
    carryOut(this.cpus[mmu.cpu], issued);
    this.pending.push(issued);
  }

  /** INVLPGBs of this CPU since its last TLBSYNC, in order: other CPUs may still have to carry them out. */
  get unsynced(): readonly IssuedBroadcast[] {
    return this.pending;
  }

  /** Replaces them, for saved states. */
  setUnsynced(broadcasts: readonly IssuedBroadcast[]): void {
    this.pending = [...broadcasts];
  }

  /** TLBSYNC: waits until every CPU has carried out the INVLPGBs of this one. */
  tlbsync(): void {
    this.requireInvlpgb("TLBSYNC");
    this.spend(this.preset.costs.tlbsync.value);
    for (const cpu of this.cpus) {
      if (cpu.mmu === this.mmu) continue;
      for (const issued of this.pending) carryOut(cpu, issued);
    }
    this.pending = [];
  }

  private requireInvlpgb(instruction: string): void {
    if (!this.features.invlpgb) throw new InvalidOpcode(instruction, "this CPU does not have it");
    this.registers.requirePrivilege(instruction);
  }
}

/** Removes from the caches of one CPU what a broadcast names. */
function carryOut({ mmu, virtualization }: BroadcastTarget, { broadcast, tables }: IssuedBroadcast): void {
  const { la, pages, strideBytes, asid, pcid, includeGlobals } = broadcast;
  const numbers = asid === null ? [0, ...virtualization.numbers.all()] : virtualization.numbersOf(asid);
  if (la === null) {
    if (pcid === null && includeGlobals) mmu.invalidateAll(numbers);
    else if (pcid === null) mmu.invalidateNonGlobal(numbers);
    else mmu.invalidatePcid(pcid, numbers);
    if (pcid !== null && includeGlobals) mmu.invalidateGlobal(numbers);
    return;
  }
  const isWide = mmu.pointers.bits === 57;
  for (let i = 0; i < pages; i++) {
    const page = isWide
      ? pageOfOrder((orderOfPage(la) + i * strideBytes) % 2 ** 57)
      : (la + i * strideBytes) % LINEAR_SPACE_BYTES;
    mmu.invalidatePage(page, pcid ?? EVERY_PCID, includeGlobals, tables, numbers);
  }
}

function checkField(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 0) throw new MachineUsageError(name, value, "a whole number, 0 or more");
}
