/**
 * Guests on one CPU: VM entries and exits (Intel SDM vol. 3C, chapters 27 and 28; AMD APM vol. 2, 15.5), and the instructions that
 * invalidate what is cached of guests: INVEPT and INVVPID (SDM vol. 3C, 31.3), INVLPGA (APM vol. 3). What each removes is in SDM vol.
 * 3C, 29.4.3, and APM vol. 2, 15.16.
 */

import type { Access } from "../isa/access.ts";
import { decodeEptp, EptRules } from "../isa/ept.ts";
import { MachineUsageError } from "../isa/errors.ts";
import { GeneralProtectionFault, InvalidOpcode } from "../isa/faults.ts";
import { isCanonical, linearAddressToBigInt, WIDE_PAGES } from "../isa/linear-address.ts";
import * as bits from "../isa/register-bits.ts";
import { EVERY_PCID } from "../isa/translation.ts";
import { EptMisconfiguration, EptViolation, type VmExit, VmFail } from "../isa/vm-exits.ts";
import * as counters from "../time/perf-counters.ts";
import { GuestNumbers, NO_ROOT } from "../tlb/guest-numbers.ts";
import { GuestPhysicalCaches } from "../tlb/guest-physical-caches.ts";
import { GuestWalker } from "../walk/guest-walk.ts";
import type { MemoryTypes } from "../walk/memory-type.ts";
import { SecondStage, type SecondStageFormat } from "../walk/second-stage.ts";
import { EptFormat, NestedTableFormat } from "../walk/second-stage-formats.ts";
import { canonicalPage } from "./access-check.ts";
import type { ControlRegisters, RegisterValues } from "./control-registers.ts";
import type { CpuParts } from "./cpu-parts.ts";
import { valuesOf } from "./guest-registers.ts";
import type { Mmu, RunningGuest } from "./mmu.ts";
import { cr4BitsOf, eferBitsOf } from "./register-features.ts";
import { has, keep } from "./register-values.ts";
import type { SecondStagePointer, Vcpu } from "./vcpu.ts";
import * as vcpus from "./vcpu.ts";
import { exitOf } from "./vm-exit-information.ts";

/** VM-instruction error numbers (SDM vol. 3C, 31.4). */
const INVALID_CONTROLS = 7;
const INVALID_OPERAND = 28;
/** Exit reason of a VM entry that fails because of the guest's state: bit 31, and 33 (SDM vol. 3D, appendix C). */
const INVALID_GUEST_STATE = 0x8000_0021;
/** VMEXIT_INVALID. */
const INVALID_VMCB = -1;

/** The guest that runs, and what VM exit gives back to the host. */
interface Running {
  readonly vcpu: Vcpu;
  readonly host: RegisterValues;
  readonly hostPat: bigint;
}

/** What of a second stage was found valid. */
interface CheckedStage {
  readonly root: number;
  readonly format: SecondStageFormat;
}

/** Guests of one CPU. */
export class Virtualization {
  private readonly mmu: Mmu;
  private readonly registers: ControlRegisters;
  private readonly memoryTypes: MemoryTypes;
  private readonly parts: CpuParts;
  private readonly spend: (cycles: number) => void;
  /** Made when the CPU, or the one whose TLBs it shares, first runs a guest. */
  private physicalCaches: GuestPhysicalCaches | null;
  /** The numbers by which its TLBs know guests. */
  readonly numbers: GuestNumbers;
  private running: Running | null = null;
  /** The second stage of the last VM entry, and the registers of the host that it was read by. */
  private checked: {
    readonly pointer: SecondStagePointer;
    readonly cr4: number;
    readonly efer: number;
    readonly stage: CheckedStage;
  } | null = null;

  constructor(
    mmu: Mmu,
    registers: ControlRegisters,
    memoryTypes: MemoryTypes,
    parts: CpuParts,
    spend: (cycles: number) => void,
  ) {
    this.mmu = mmu;
    this.registers = registers;
    this.memoryTypes = memoryTypes;
    this.parts = parts;
    this.spend = spend;
    this.numbers = parts.shared?.numbers ?? new GuestNumbers();
    this.physicalCaches = parts.shared?.guestPhysical ?? null;
  }

  /** The virtual CPU that runs; null in the host. */
  get vcpu(): Vcpu | null {
    return this.running?.vcpu ?? null;
  }

  /** The caches of guest-physical mappings; null before the first guest. */
  get guestPhysicalCaches(): GuestPhysicalCaches | null {
    return this.physicalCaches;
  }

  /**
   * VM entry: goes on with a virtual CPU.
   * @throws VmFail when its settings are not valid
   * @throws GeneralProtectionFault at CPL 1 to 3
   * @throws MachineUsageError in a guest
   */
  enter(vcpu: Vcpu): void {
    const { mmu, registers, memoryTypes, parts } = this;
    this.requireHost("a VM entry");
    const stage = this.checkStage(vcpu);
    const host = valuesOf(registers);
    const values = vcpu.registersFor(host);
    this.checkRegisters(values);
    mmu.counts[counters.COUNT_VM_ENTRY]++;
    this.spend(parts.preset.virtualization.costs.vmEntry.value);
    if (vcpu.id === 0) this.flushUntagged();
    // AMD's TLBs do not look at nCR3.
    const number = this.numberOf(vcpu.id, parts.preset.vendor === "intel" ? (stage?.root ?? NO_ROOT) : NO_ROOT);
    this.obeyTlbControl(vcpu, number);
    const hostPat = parts.features.pat ? memoryTypes.read(bits.MSR_PAT) : vcpu.pat;
    mmu.enterGuest(this.guestOf(vcpu, number, stage));
    this.running = { vcpu, host, hostPat };
    this.swapFaultAddress(vcpu);
    if (vcpu.pat !== hostPat) memoryTypes.write(bits.MSR_PAT, vcpu.pat);
    registers.restore(values);
  }

  /** What the unit must know of a guest. */
  private guestOf({ id }: Vcpu, number: number, stage: CheckedStage | null): RunningGuest {
    const { mmu, parts } = this;
    const secondStage = stage === null ? null : this.secondStageOf(stage, number);
    const walker = new GuestWalker(secondStage, parts.memory, mmu.mode, mmu.structures, mmu.walkCaches);
    const numbers = id === 0 ? [0, ...this.numbers.ofId(0)] : this.numbers.ofId(id);
    return { number, numbers, walker, leave: (access, la) => this.leave(walker, access, la) };
  }

  /**
   * VM exit for a reason that is not an access to memory: an interrupt, HLT, a hypercall.
   * @throws MachineUsageError in the host
   */
  exit(): void {
    const { running, mmu, registers, memoryTypes, parts } = this;
    if (running === null) throw new MachineUsageError("a VM exit", "in the host", "a guest that runs");
    const { vcpu, host, hostPat } = running;
    mmu.counts[counters.COUNT_VM_EXIT]++;
    this.spend(parts.preset.virtualization.costs.vmExit.value);
    vcpu.saved = valuesOf(registers);
    if (parts.features.pat) {
      vcpu.pat = memoryTypes.read(bits.MSR_PAT);
      if (vcpu.pat !== hostPat) memoryTypes.write(bits.MSR_PAT, hostPat);
    }
    this.swapFaultAddress(vcpu);
    this.running = null;
    mmu.leaveGuest(this.hostNumbers());
    if (vcpu.id === 0) this.flushUntagged();
    registers.restore(host);
  }

  /**
   * INVEPT: combined and guest-physical mappings of one EPTP's root (type 1), or of all (type 2).
   * @throws InvalidOpcode on a CPU of AMD
   * @throws VmFail for another type, or an EPTP that is not valid
   */
  invept(type: number, eptp: bigint): void {
    this.requireVmx("INVEPT");
    const { mmu, numbers, parts } = this;
    mmu.counts[counters.COUNT_INVEPT]++;
    this.spend(parts.preset.virtualization.costs.invept.value);
    if (type !== 1 && type !== 2) throw new VmFail(INVALID_OPERAND, `INVEPT type ${type}`);
    if (type === 2) {
      mmu.invalidateAll(numbers.ofRoots());
      this.physicalCaches?.clear();
      return;
    }
    const pointer = decodeEptp(eptp, parts.maxPhyAddr, parts.preset.virtualization.features);
    if (typeof pointer === "string") throw new VmFail(INVALID_OPERAND, `INVEPT: ${pointer}`);
    const ofRoot = numbers.ofRoot(pointer.rootFrame);
    mmu.invalidateAll(ofRoot);
    if (ofRoot.length > 0) this.physicalCaches?.dropGuest(ofRoot[0]);
  }

  /**
   * INVVPID: linear and combined mappings of one address and VPID (type 0), of one VPID (1), of all VPIDs but 0 (2), of one VPID but
   * for its global translations (3).
   * @throws InvalidOpcode on a CPU without VPIDs
   * @throws VmFail for another type, VPID 0 where one is named, or an address that is not canonical
   */
  invvpid(type: number, vpid: number, la: number | bigint): void {
    this.requireVmx("INVVPID");
    const { mmu, numbers, parts } = this;
    if (!parts.preset.virtualization.features.vpid) throw new InvalidOpcode("INVVPID", "this CPU has no VPIDs");
    mmu.counts[counters.COUNT_INVVPID]++;
    this.spend(parts.preset.virtualization.costs.invvpid.value);
    if (![0, 1, 2, 3].includes(type)) throw new VmFail(INVALID_OPERAND, `INVVPID type ${type}`);
    if (!Number.isInteger(vpid) || vpid < 0 || vpid > 0xffff) {
      throw new VmFail(INVALID_OPERAND, `INVVPID descriptor with VPID ${vpid}: bits 63:16 are reserved`);
    }
    if (type !== 2 && vpid === 0) throw new VmFail(INVALID_OPERAND, `INVVPID type ${type} of VPID 0`);
    if (type === 0) mmu.invalidatePage(this.operand(la), EVERY_PCID, true, "of the page", numbers.ofId(vpid));
    else if (type === 1) mmu.invalidateAll(numbers.ofId(vpid));
    else if (type === 2) mmu.invalidateAll(numbers.ofOtherIds());
    else mmu.invalidateNonGlobal(numbers.ofId(vpid));
  }

  /**
   * INVLPGA: translations of one address under an ASID, global ones too (AMD APM vol. 3).
   * @throws InvalidOpcode on a CPU of Intel
   */
  invlpga(la: number | bigint, asid: number): void {
    const { mmu, registers, parts } = this;
    if (parts.preset.vendor !== "amd") throw new InvalidOpcode("INVLPGA", "this CPU has no SVM");
    registers.requirePrivilege("INVLPGA");
    this.requireHost("INVLPGA");
    mmu.counts[counters.COUNT_INVLPGA]++;
    this.spend(parts.preset.virtualization.costs.invlpga.value);
    mmu.invalidatePage(this.operand(la), EVERY_PCID, true, registers.invlpgTableEntries, this.numbersOf(asid));
  }

  /** The numbers of an ASID or VPID; of 0, the host. */
  numbersOf(id: number): number[] {
    return id === 0 ? [0] : this.numbers.ofId(id);
  }

  /** CR2 is not part of what VM entries and exits change; each hypervisor saves it, and so does this. */
  private swapFaultAddress(vcpu: Vcpu): void {
    const { mmu } = this;
    [mmu.faultAddress, vcpu.faultAddress] = [vcpu.faultAddress, mmu.faultAddress];
    [mmu.faultOffset, vcpu.faultOffset] = [vcpu.faultOffset, mmu.faultOffset];
  }

  private leave(walker: GuestWalker, access: Access, la: number): VmExit {
    const { mmu, parts } = this;
    const { offset } = mmu.pointers;
    const linear = la < WIDE_PAGES ? la : linearAddressToBigInt(la) + BigInt(offset);
    const exit = exitOf(walker, access, la < WIDE_PAGES ? la % 4096 : offset, linear, mmu.cpu, parts);
    if (exit instanceof EptMisconfiguration) {
      mmu.counts[counters.COUNT_EPT_MISCONFIGURATION]++;
    } else {
      const isEpt = exit instanceof EptViolation;
      mmu.counts[isEpt ? counters.COUNT_EPT_VIOLATION : counters.COUNT_NESTED_PAGE_FAULT]++;
      walker.stage?.forget(walker.exitFrame);
    }
    this.exit();
    return exit;
  }

  /** VM entries and exits without a VPID: everything of VPID 0, the host's own. */
  private flushUntagged(): void {
    if (this.parts.preset.vendor === "intel") this.mmu.invalidateAll([0, ...this.numbers.ofId(0)]);
  }

  private obeyTlbControl(vcpu: Vcpu, number: number): void {
    const { mmu } = this;
    switch (vcpu.tlbControl) {
      case vcpus.TLB_CONTROL_ALL:
        mmu.invalidateAll([0, ...this.numbers.all()]);
        this.physicalCaches?.clear();
        break;
      case vcpus.TLB_CONTROL_GUEST:
        mmu.invalidateAll([number]);
        this.physicalCaches?.dropGuest(number);
        break;
      case vcpus.TLB_CONTROL_GUEST_NON_GLOBAL:
        mmu.invalidateNonGlobal([number]);
        this.physicalCaches?.dropGuest(number);
        break;
    }
  }

  /** The number of a tag. When there are no more, everything of all guests goes, as a TLB may always do. */
  private numberOf(id: number, root: number): number {
    const { numbers, mmu } = this;
    const known = numbers.find(id, root);
    if (known !== 0) return known;
    if (numbers.isFull) {
      mmu.forgetGuests();
      this.physicalCaches?.clear();
      numbers.clear();
    }
    return numbers.add(id, root);
  }

  /** Numbers that the host's own invalidations reach: on Intel its VPID is 0, as that of guests without one. */
  private hostNumbers(): number[] {
    return this.parts.preset.vendor === "intel" ? [0, ...this.numbers.ofId(0)] : [0];
  }

  private secondStageOf({ root, format }: CheckedStage, number: number): SecondStage {
    const { mmu, parts, numbers } = this;
    const caches = this.ownPhysicalCaches();
    const tag = parts.preset.vendor === "intel" ? numbers.ofRoot(root)[0] : number;
    return new SecondStage(format, root, tag, parts.memory, caches, mmu.walkCaches);
  }

  /** The caches of guest-physical mappings, made if there were none. */
  ownPhysicalCaches(): GuestPhysicalCaches {
    this.physicalCaches ??= new GuestPhysicalCaches(this.parts.preset.virtualization.guestPhysicalCaches);
    return this.physicalCaches;
  }

  /** What a VM entry checks of VPID, ASID and the second stage, which is looked at anew only when it is another than at the last. */
  private checkStage(vcpu: Vcpu): CheckedStage | null {
    const { checked, registers } = this;
    this.checkId(vcpu);
    const { secondStage } = vcpu;
    if (secondStage === null) return null;
    const { cr4, efer } = registers;
    if (checked?.pointer === secondStage && checked.cr4 === cr4 && checked.efer === efer) return checked.stage;
    const stage = this.parts.preset.vendor === "amd" ? this.nestedStage(secondStage) : this.eptStage(secondStage);
    this.checked = { pointer: secondStage, cr4, efer, stage };
    return stage;
  }

  private checkId({ id, tlbControl }: Vcpu): void {
    const { preset } = this.parts;
    const { features } = preset.virtualization;
    if (preset.vendor === "amd") {
      if (id === 0) throw new VmFail(INVALID_VMCB, "ASID 0 is the host's");
      if (![0, 1, 3, 7].includes(tlbControl)) throw new VmFail(INVALID_VMCB, `TLB_CONTROL ${tlbControl}`);
      return;
    }
    if (tlbControl !== 0) throw new MachineUsageError("tlbControl", tlbControl, "0: VMX has no such field");
    if (id !== 0 && !features.vpid) throw new VmFail(INVALID_CONTROLS, "this CPU has no VPIDs");
  }

  private eptStage(pointer: NonNullable<SecondStagePointer>): CheckedStage {
    const { preset, maxPhyAddr } = this.parts;
    const { features } = preset.virtualization;
    if (!("eptp" in pointer)) throw new MachineUsageError("second stage", "nestedCr3", "eptp: the CPU is of Intel");
    const decoded = decodeEptp(pointer.eptp, maxPhyAddr, features);
    if (typeof decoded === "string") throw new VmFail(INVALID_CONTROLS, decoded);
    const modeBased = pointer.modeBasedExecute ?? false;
    if (modeBased && !features.modeBasedExecute) {
      throw new VmFail(INVALID_CONTROLS, "this CPU has no mode-based execute control");
    }
    return {
      root: decoded.rootFrame,
      format: new EptFormat(new EptRules(maxPhyAddr, features, modeBased), decoded),
    };
  }

  private nestedStage(pointer: NonNullable<SecondStagePointer>): CheckedStage {
    const { registers, parts } = this;
    if (!("nestedCr3" in pointer)) throw new MachineUsageError("second stage", "eptp", "nestedCr3: the CPU is of AMD");
    const { nestedCr3 } = pointer;
    if (!Number.isInteger(nestedCr3) || nestedCr3 < 0 || nestedCr3 >= 2 ** parts.maxPhyAddr) {
      throw new VmFail(INVALID_VMCB, `nCR3 0x${nestedCr3.toString(16)}`);
    }
    const format = new NestedTableFormat({
      levels: has(registers.cr4, bits.CR4_LA57) ? 5 : 4,
      noExecute: has(registers.efer, bits.EFER_NXE),
      maxPhyAddr: parts.maxPhyAddr,
      page1g: parts.features.page1g,
    });
    return { root: Math.floor(nestedCr3 / 4096), format };
  }

  /** What a VM entry checks of the guest's registers (SDM vol. 3C, 27.3.1.1; APM vol. 2, 15.5.1 "Canonicalization and Consistency Checks"). */
  private checkRegisters({ cr0, cr3, cr4, efer, lamUser }: RegisterValues): void {
    const { features, maxPhyAddr, preset } = this.parts;
    const isLongMode =
      has(cr0, bits.CR0_PG) && has(cr4, bits.CR4_PAE) && has(efer, bits.EFER_LME) && has(efer, bits.EFER_LMA);
    if (!isLongMode)
      throw new MachineUsageError("registers of a guest", "no 64-bit mode", "CR0.PG, CR4.PAE, EFER.LME, LMA");
    const errorNumber = preset.vendor === "amd" ? INVALID_VMCB : INVALID_GUEST_STATE;
    const refuse = (register: string, value: number, why: string): VmFail =>
      new VmFail(errorNumber, `the guest's ${register} 0x${value.toString(16)}: ${why}`);
    if (cr3 < 0 || cr3 >= 2 ** maxPhyAddr) throw refuse("CR3", cr3, `bits at or above ${maxPhyAddr} are reserved`);
    if (lamUser !== 0 && !features.lam) throw refuse("CR3", cr3, "LAM_U48 or LAM_U57 on a CPU without them");
    const unknown = keep(cr4, 2 ** 32 - 1 - cr4BitsOf(features));
    if (unknown !== 0) throw refuse("CR4", cr4, `bits 0x${unknown.toString(16)} are reserved on this CPU`);
    if (has(cr4, bits.CR4_CET) && !has(cr0, bits.CR0_WP)) throw refuse("CR4", cr4, "CET without CR0.WP");
    const absent = keep(efer, 2 ** 32 - 1 - eferBitsOf(features));
    if (absent !== 0) throw refuse("EFER", efer, `bits 0x${absent.toString(16)} are reserved on this CPU`);
  }

  private requireVmx(instruction: string): void {
    if (this.parts.preset.vendor !== "intel") throw new InvalidOpcode(instruction, "this CPU has no VMX");
    this.registers.requirePrivilege(instruction);
    this.requireHost(instruction);
  }

  private requireHost(what: string): void {
    if (this.running !== null) {
      throw new MachineUsageError(what, "in a guest", "the host: guests of guests are not modelled");
    }
    if (this.registers.cpl !== 0) throw new GeneralProtectionFault(`${what} at CPL ${this.registers.cpl}`);
  }

  /**
   * The address of an operand.
   * @throws VmFail, on AMD GeneralProtectionFault, when it is not canonical
   */
  private operand(la: number | bigint): number {
    const { bits: width } = this.mmu.pointers;
    if (typeof la === "bigint" && !isCanonical(la, width) && this.parts.preset.vendor === "intel") {
      throw new VmFail(INVALID_OPERAND, `INVVPID of 0x${la.toString(16)}, which is not canonical`);
    }
    return canonicalPage("INVLPGA", la, width);
  }
}
