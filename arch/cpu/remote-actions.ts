/**
 * Intel's Remote Action Request, RAR (white paper "Remote Action Request", document 341431): a CPU that is signalled carries out in
 * microcode what tables in memory ask of it, between two instructions of whatever it runs. No interrupt handler runs.
 *
 *     IA32_RAR_PAYLOAD_BASE  ->  payload table, one for all CPUs: 64 payloads of 64 bytes, each says what is to be done
 *     IA32_RAR_ACT_VEC       ->  action vector of this CPU: 64 bytes, each says whether this CPU has yet to do that payload
 *
 * Whoever asks writes a payload, marks it pending in the action vector of each CPU concerned, and signals these through the APIC. A
 * CPU overwrites the mark when it is done. Numbers of registers and fields: Linux's series "Intel RAR TLB invalidation" (LKML, 2025).
 */
import { GeneralProtectionFault } from "../isa/faults.ts";
import { LINEAR_SPACE_BYTES, linearAddressFromBigInt } from "../isa/linear-address.ts";
import type { PhysicalMemory } from "../memory/physical-memory.ts";
import type { CpuFeatures, Preset } from "../presets/preset.ts";
import type { ControlRegisters } from "./control-registers.ts";
import type { Mmu } from "./mmu.ts";
import { decodeRarPayload, RAR_INVPCID, RAR_INVPG, RAR_SUBTYPES, type RarPayload } from "./rar-payload.ts";

/** IA32_RAR_CTRL. */
export const MSR_RAR_CTRL = 0xed;
/** IA32_RAR_ACT_VEC: physical address of the CPU's action vector. */
export const MSR_RAR_ACT_VEC = 0xee;
/** IA32_RAR_PAYLOAD_BASE: physical address of the payload table. */
export const MSR_RAR_PAYLOAD_BASE = 0xef;
/** IA32_RAR_INFO, read-only: bits 63:32 are the number of the last payload. */
export const MSR_RAR_INFO = 0xf0;
/** IA32_RAR_CTRL: remote actions are on. */
export const RAR_CTRL_ENABLE = 2 ** 31;
/** IA32_RAR_CTRL: they are carried out also while EFLAGS.IF = 0. */
export const RAR_CTRL_IGNORE_IF = 2 ** 30;

/** Payloads of a table, and bytes of an action vector. */
export const RAR_PAYLOADS = 64;
/** Bytes of a payload. */
export const RAR_PAYLOAD_BYTES = 64;
/** A byte of an action vector: done. */
export const RAR_SUCCESS = 0x00;
/** To be done. */
export const RAR_PENDING = 0x01;
/** Refused: the CPU cannot do what the payload asks for. */
export const RAR_FAILURE = 0x80;

/** What the registers of one CPU hold. */
export interface RarRegisters {
  readonly control: number;
  /** Physical address of the action vector. */
  readonly actionVector: number;
  /** Physical address of the payload table. */
  readonly payloadBase: number;
}

/** Remote actions of one CPU. */
export class RemoteActions {
  private control = 0;
  private actionVector = 0;
  private payloadBase = 0;
  private readonly mmu: Mmu;
  private readonly registers: ControlRegisters;
  private readonly features: CpuFeatures;
  private readonly preset: Preset;
  private readonly memory: PhysicalMemory;
  private readonly spend: (cycles: number) => void;

  constructor(
    mmu: Mmu,
    registers: ControlRegisters,
    features: CpuFeatures,
    preset: Preset,
    memory: PhysicalMemory,
    spend: (cycles: number) => void,
  ) {
    this.mmu = mmu;
    this.registers = registers;
    this.features = features;
    this.preset = preset;
    this.memory = memory;
    this.spend = spend;
  }

  /** Whether this CPU has the register with this number. */
  hasRegister(msr: number): boolean {
    return this.features.rar && msr >= MSR_RAR_CTRL && msr <= MSR_RAR_INFO;
  }

  /**
   * WRMSR to one of the registers. That tables must be aligned to their size is assumed: Linux aligns them so.
   * @throws GeneralProtectionFault for reserved bits, a table that is not aligned, IA32_RAR_INFO, and unless the CPL is 0
   */
  wrmsr(msr: number, value: number | bigint): void {
    this.registers.requirePrivilege("WRMSR");
    const bits = BigInt.asUintN(64, BigInt(value));
    const refuse = (why: string) =>
      new GeneralProtectionFault(`WRMSR to MSR 0x${msr.toString(16)}, 0x${bits.toString(16)}: ${why}`);
    if (msr === MSR_RAR_INFO) throw refuse("IA32_RAR_INFO is read-only");
    this.spend(this.preset.costs.wrmsr.value);
    if (msr === MSR_RAR_CTRL) {
      if ((bits & ~BigInt(RAR_CTRL_ENABLE + RAR_CTRL_IGNORE_IF)) !== 0n) throw refuse("reserved bits");
      this.control = Number(bits);
      return;
    }
    const bytes = msr === MSR_RAR_ACT_VEC ? RAR_PAYLOADS : RAR_PAYLOADS * RAR_PAYLOAD_BYTES;
    if (bits % BigInt(bytes) !== 0n) throw refuse(`is not aligned to ${bytes} bytes`);
    if (!this.memory.has(Number(bits / 4096n))) throw refuse("there is no memory");
    if (msr === MSR_RAR_ACT_VEC) this.actionVector = Number(bits);
    else this.payloadBase = Number(bits);
  }

  /** RDMSR of one of the registers. @throws GeneralProtectionFault unless the CPL is 0 */
  rdmsr(msr: number): bigint {
    this.registers.requirePrivilege("RDMSR");
    if (msr === MSR_RAR_CTRL) return BigInt(this.control);
    if (msr === MSR_RAR_ACT_VEC) return BigInt(this.actionVector);
    if (msr === MSR_RAR_PAYLOAD_BASE) return BigInt(this.payloadBase);
    return BigInt(RAR_PAYLOADS - 1) << 32n;
  }

  /** Whether a signal makes this CPU act; else it is lost. */
  get isEnabled(): boolean {
    return this.control >= RAR_CTRL_ENABLE;
  }

  /** Whether it acts also while interrupts are off. */
  get ignoresInterruptFlag(): boolean {
    return this.control % RAR_CTRL_ENABLE >= RAR_CTRL_IGNORE_IF;
  }

  /**
   * This CPU takes a signal: it carries out each pending payload of its action vector, in ascending order, and marks it done.
   * @param around called for each with its number and with what carries it out, which it must call once
   */
  take(around: (payload: number, act: () => void) => void = (_, act) => act()): void {
    if (!this.isEnabled) return;
    this.spend(this.preset.costs.remoteAction.value);
    const { memory, actionVector } = this;
    const frame = Math.floor(actionVector / 4096);
    for (let payload = 0; payload < RAR_PAYLOADS; payload++) {
      const at = (actionVector % 4096) + payload;
      if (memory.readByte(frame, at) !== RAR_PENDING) continue;
      around(payload, () => {
        memory.writeByte(frame, at, this.carryOut(payload) ? RAR_SUCCESS : RAR_FAILURE);
      });
    }
  }

  /** What the registers hold, for saved states. */
  capture(): RarRegisters {
    return { control: this.control, actionVector: this.actionVector, payloadBase: this.payloadBase };
  }

  /** Sets the registers without checks and costs, for saved states. */
  restore({ control, actionVector, payloadBase }: RarRegisters): void {
    this.control = control;
    this.actionVector = actionVector;
    this.payloadBase = payloadBase;
  }

  /** Carries out a payload; false for one that is not possible here (requests of virtual machines, WRMSR, reserved bits). */
  private carryOut(number: number): boolean {
    const payload = decodeRarPayload(this.memory, this.payloadBase + number * RAR_PAYLOAD_BYTES);
    if (payload === null) return false;
    if (payload.type === RAR_INVPCID) return this.invpcid(payload);
    // RAR_INVPG is for CPUs that have the table loaded which the payload names; the other kind is for all.
    const concernsThis = payload.type !== RAR_INVPG || BigInt(this.registers.cr3) === payload.cr3;
    return !concernsThis || this.invpg(payload);
  }

  /** As INVPCID would, of each of the pages. */
  private invpcid({ subtype, la, pages, pageBytes, cr3 }: RarPayload): boolean {
    const { mmu, registers } = this;
    const { costs } = this.preset;
    const pcid = Number(cr3 & 0xfffn);
    if (subtype === RAR_SUBTYPES.addresses) {
      for (let i = 0; i < pages; i++) {
        this.spend(costs.invpcidAddress.value);
        mmu.invalidatePage(pageAfter(la, i * pageBytes), pcid, false, registers.invpcidTableEntries);
      }
    } else if (subtype === RAR_SUBTYPES.onePcid) {
      this.spend(costs.invpcidContext.value);
      mmu.invalidatePcid(pcid);
    } else this.invalidateAll(subtype === RAR_SUBTYPES.all);
    return true;
  }

  /** As INVLPG or MOV to CR3 would. */
  private invpg({ subtype, la, pages, pageBytes }: RarPayload): boolean {
    const { mmu, registers } = this;
    if (subtype === RAR_SUBTYPES.onePcid) return false;
    if (subtype === RAR_SUBTYPES.addresses) {
      for (let i = 0; i < pages; i++) {
        this.spend(this.preset.costs.invlpg.value);
        mmu.invalidatePage(pageAfter(la, i * pageBytes), mmu.pcid, true, registers.invlpgTableEntries);
      }
    } else this.invalidateAll(subtype === RAR_SUBTYPES.all);
    return true;
  }

  private invalidateAll(globals: boolean): void {
    const { invpcidAll, invpcidAllNonGlobal } = this.preset.costs;
    this.spend((globals ? invpcidAll : invpcidAllNonGlobal).value);
    if (globals) this.mmu.invalidateAll();
    else this.mmu.invalidateNonGlobal();
  }
}

/** The linear address (48 bits) `bytes` after `la`. */
function pageAfter(la: bigint, bytes: number): number {
  return (linearAddressFromBigInt(la) + bytes) % LINEAR_SPACE_BYTES;
}
