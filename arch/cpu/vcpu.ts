/** A virtual CPU: what a hypervisor keeps of one between VM entries, the part of a VMCS or VMCB that paging looks at. */

import { MachineUsageError } from "../isa/errors.ts";
import type { RegisterValues } from "./control-registers.ts";
import { freshValues } from "./guest-registers.ts";

/** The second stage of a virtual CPU: Intel's, AMD's, or none. */
export type SecondStagePointer =
  | {
      /** The EPTP, 64 bits (`encodeEptp`). */
      readonly eptp: bigint;
      /** Whether "mode-based execute control for EPT" is 1. Default: no. */
      readonly modeBasedExecute?: boolean;
    }
  /** nCR3: physical address of the top nested table. Levels and EFER.NXE are those of the host at VMRUN. */
  | { readonly nestedCr3: number }
  /** Neither: the guest's own CR3 leads to tables of the machine's addresses, as with shadow paging. */
  | null;

/** Settings of a virtual CPU. */
export interface VcpuConfig {
  /** Intel's VPID: 1 to 65535, or 0 for "enable VPID" = 0. AMD's ASID: 1 to 65535. */
  readonly id: number;
  /** Its second stage. */
  readonly secondStage: SecondStagePointer;
  /**
   * Registers at the first VM entry. Default: 64-bit mode with paging on and CPL 0; CR0.WP, CR4.PAE and CR4.PGE, EFER.NXE set; CR3 0; the
   * host's levels of paging.
   */
  readonly registers?: Partial<RegisterValues>;
  /** IA32_PAT, which VM entry loads and VM exit saves. Default: that after reset. */
  readonly pat?: bigint;
}

/** What a VMRUN does to TLBs first (AMD APM vol. 2, 15.16.2, TLB_CONTROL). */
export const TLB_CONTROL_NOTHING = 0;
/** Removes everything, of all ASIDs. */
export const TLB_CONTROL_ALL = 1;
/** Removes this guest's entries. */
export const TLB_CONTROL_GUEST = 3;
/** Removes this guest's entries that are not global. */
export const TLB_CONTROL_GUEST_NON_GLOBAL = 7;

/** IA32_PAT after reset. */
const PAT_AT_RESET = 0x0007_0406_0007_0406n;

/** One virtual CPU. `Cpu.enterGuest` runs it. */
export class Vcpu {
  /** VPID or ASID; a hypervisor may change it between VM entries. */
  id: number;
  /** Its second stage; a hypervisor may change it between VM entries. */
  secondStage: SecondStagePointer;
  /** TLB_CONTROL of the VMCB, for AMD: what the next VM entries remove first. The hypervisor clears it again. */
  tlbControl = TLB_CONTROL_NOTHING;
  /** Registers while it does not run; null before the first VM entry has filled in those that were not given. */
  saved: RegisterValues | null = null;
  /** CR2 while it does not run, as `Mmu.faultAddress` and `faultOffset` have it. */
  faultAddress = 0;
  /** Its offset, if it is in a wide page (arch/isa/linear-address.ts). */
  faultOffset = 0;
  /** IA32_PAT while it does not run. */
  pat: bigint;
  private readonly given: Partial<RegisterValues>;

  /** @throws MachineUsageError for a VPID or ASID that is none */
  constructor(config: VcpuConfig) {
    if (!Number.isInteger(config.id) || config.id < 0 || config.id > 0xffff) {
      throw new MachineUsageError("VPID or ASID", config.id, "a whole number from 0 to 65535");
    }
    this.id = config.id;
    this.secondStage = config.secondStage;
    this.given = config.registers ?? {};
    this.pat = config.pat ?? PAT_AT_RESET;
  }

  /** The registers that the next VM entry loads; those not given, as the host has them at the first. */
  registersFor(host: RegisterValues): RegisterValues {
    if (this.saved !== null) return this.saved;
    return { ...freshValues(host), ...this.given };
  }
}
