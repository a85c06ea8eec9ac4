/**
 * Which page tables a PCID of a CPU stands for, as far as what is cached under it can still be used: what will be flushed before
 * its next use may be stale.
 */
import type { Cpu } from "../../arch/cpu/cpu.ts";
import { UPPER_HALF } from "../../arch/isa/linear-address.ts";
import type { KernelMm } from "../kernel-mm.ts";
import type { PageTables } from "../page-tables/page-tables.ts";
import { isGlobalAsid } from "../user/global-asids.ts";
import type { MmStruct } from "../user/mm-struct.ts";
import { UserSpaces } from "../user/user-spaces.ts";

/** From this PCID on they are those of user mode with page-table isolation. */
const USER_PCIDS = 2 ** 11;

/** The PCIDs of a machine. */
export class Contexts {
  private readonly mm: KernelMm;
  private readonly spaces: UserSpaces | null;
  private readonly known: readonly MmStruct[];

  constructor(mm: KernelMm) {
    this.mm = mm;
    this.spaces = mm.userSpaces instanceof UserSpaces ? mm.userSpaces : null;
    this.known = this.spaces === null ? [] : [this.spaces.initMm, ...this.spaces.mms];
  }

  /**
   * The page tables that translations of `la` cached under `pcid` must agree with: the kernel's for kernel addresses.
   * @returns null when the CPU flushes them before it uses them, or never uses them
   */
  tablesOf(cpu: Cpu, pcid: number, la: number): PageTables | null {
    const { tables } = this.mm;
    if (this.spaces === null) return pcid === cpu.mmu.pcid ? tables : null;
    const mm = this.contextOf(this.spaces, cpu, pcid, la < UPPER_HALF);
    if (mm === null) return null;
    return la < UPPER_HALF ? mm.tables : tables;
  }

  private contextOf(spaces: UserSpaces, cpu: Cpu, pcid: number, forUserHalf: boolean): MmStruct | null {
    const tlb = spaces.tlbStates[cpu.id];
    const loaded = spaces.loaded[cpu.id];
    // Without PCIDs every change of page tables flushes.
    if (!spaces.usesPcids) return pcid === cpu.mmu.pcid ? loaded : null;
    const asid = (pcid % USER_PCIDS) - 1;
    const ofUserMode = pcid >= USER_PCIDS;
    if (asid < 0 || (ofUserMode && (!spaces.isolation || tlb.owesUserFlush(asid)))) return null;
    if (asid === tlb.loadedAsid) {
      // A kernel thread that only borrows the address space uses no user addresses; the way back to user mode catches up.
      const isBehind = tlb.isLazy && !isGlobalAsid(asid) && tlb.tlbGen[asid] < loaded.tlbGen;
      return forUserHalf && isBehind ? null : loaded;
    }
    if (isGlobalAsid(asid)) {
      const mm = this.known.find((each) => each.globalAsid === asid) ?? null;
      // A CPU outside the mask flushes when it switches to the address space, where that is the policy's rule.
      const isBehind = this.mm.flushing.policy.globalAsidsFollowCpumask === true && mm?.cpumask[cpu.id] !== 1;
      return isBehind ? null : mm;
    }
    if (tlb.invalidateOther) return null;
    const mm = this.known.find((each) => each.ctxId === tlb.ctxId[asid]);
    // An ASID whose address space has ended, or has a global one now, is flushed when the next one gets it.
    if (mm === undefined || mm.globalAsid !== 0) return null;
    return tlb.tlbGen[asid] < mm.tlbGen ? null : mm;
  }
}
