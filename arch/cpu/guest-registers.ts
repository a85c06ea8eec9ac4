/** Registers of a CPU as plain data, for who keeps them: VM entries and exits. */

import * as registers from "../isa/register-bits.ts";
import type { ControlRegisters, RegisterValues } from "./control-registers.ts";
import { keep } from "./register-values.ts";

/** CR0 as Linux has it once it runs. */
const CR0_RUNNING =
  registers.CR0_PG +
  registers.CR0_AM +
  registers.CR0_WP +
  registers.CR0_NE +
  registers.CR0_ET +
  registers.CR0_MP +
  registers.CR0_PE;

/** What the registers hold now. */
export function valuesOf(from: ControlRegisters): RegisterValues {
  const { cr0, cr3, lamUser, cr4, efer, pkru, pkrs, cpl, alignmentCheck } = from;
  return { cr0, cr3, lamUser, cr4, efer, pkru, pkrs, cpl, alignmentCheck };
}

/** What a guest's registers hold that nobody has set: 64-bit mode with paging on, and of CR4 and EFER what the host has of the basics. */
export function freshValues(host: RegisterValues): RegisterValues {
  const cr4 = keep(host.cr4, registers.CR4_PAE + registers.CR4_PGE + registers.CR4_LA57);
  const efer = keep(host.efer, registers.EFER_SCE + registers.EFER_LME + registers.EFER_LMA + registers.EFER_NXE);
  return { cr0: CR0_RUNNING, cr3: 0, lamUser: 0, cr4, efer, pkru: 0, pkrs: 0, cpl: 0, alignmentCheck: false };
}
