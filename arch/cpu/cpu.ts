/**
 * A CPU as a program sees it: memory accesses (cpu-memory.ts), control registers, invalidation instructions.
 */

import { MachineUsageError } from "../isa/errors.ts";
import { PAGE_SIZE } from "../isa/linear-address.ts";
import { CR4_PGE } from "../isa/register-bits.ts";
import { type CounterSnapshot, snapshotCounters } from "../time/perf-counters.ts";
import { FlushAttribution } from "../tlb/flush-attribution.ts";
import type { MEMORY_TYPE_NAMES } from "../walk/memory-type.ts";
import { type ProbeResult, probe } from "../walk/probe.ts";
import { canonicalPage } from "./access-check.ts";
import { BulkTouch } from "./bulk-touch.ts";
import { CpuMemory } from "./cpu-memory.ts";
import type { CpuParts, SharedCaches } from "./cpu-parts.ts";
import { IndependentAccesses } from "./independent-accesses.ts";
import { Invalidations } from "./invalidations.ts";
import { RemoteActions } from "./remote-actions.ts";
import type { Vcpu } from "./vcpu.ts";
import { Virtualization } from "./virtualization.ts";

/** One logical processor in 64-bit mode. */
export class Cpu extends CpuMemory {
  /** INVLPG, INVPCID, INVLPGB, TLBSYNC. */
  readonly invalidations: Invalidations;
  /** Intel's remote actions: what other CPUs have this one do. */
  readonly remoteActions: RemoteActions;
  /** VM entries and exits; INVEPT, INVVPID, INVLPGA. */
  readonly virtualization: Virtualization;
  /** Many translations one after another. */
  readonly bulk: BulkTouch;
  /** Accesses that do not wait for each other, as those of a copy. */
  readonly independent: IndependentAccesses;
  private readonly parts: CpuParts;

  /** @param cpus all CPUs of the machine, for instructions that reach others; it may be filled later */
  constructor(id: number, parts: CpuParts, cpus: readonly Cpu[]) {
    super(id, parts);
    const { preset, features, memory } = parts;
    const spend = (cycles: number) => this.spend(cycles);
    this.parts = parts;
    this.bulk = new BulkTouch(this);
    this.independent = new IndependentAccesses(this, parts.loop.clockCycles.subarray(id, id + 1), preset);
    this.invalidations = new Invalidations(this.mmu, this.registers, features, preset, cpus, spend);
    this.remoteActions = new RemoteActions(this.mmu, this.registers, features, preset, memory, spend);
    this.virtualization = new Virtualization(this.mmu, this.registers, this.memoryTypes, parts, spend);
  }

  /**
   * VM entry (VMLAUNCH, VMRESUME, VMRUN): the CPU goes on as a virtual CPU. What programs do with it is the guest's doing then, registers
   * too, until `exitGuest`, or until an access needs the hypervisor and throws a `VmExit`: then it is in the host again.
   * @throws VmFail when the virtual CPU's settings are not valid
   */
  enterGuest(vcpu: Vcpu): void {
    this.virtualization.enter(vcpu);
  }

  /** VM exit for another reason than an access to memory: an interrupt, HLT, a hypercall. The CPU is in the host then. */
  exitGuest(): void {
    this.virtualization.exit();
  }

  /** What other virtual CPUs of the same physical CPU have too. */
  get caches(): SharedCaches {
    const { mmu, virtualization } = this;
    const attributeFlushes = () => this.attributeFlushes();
    return {
      mmu,
      numbers: virtualization.numbers,
      guestPhysical: virtualization.ownPhysicalCaches(),
      attributeFlushes,
    };
  }

  /** The virtual CPU that runs; null in the host. */
  get vcpu(): Vcpu | null {
    return this.virtualization.vcpu;
  }

  /** INVEPT of type 1 (the EPTP's root) or 2 (all). @throws VmFail, InvalidOpcode */
  invept(type: number, eptp: bigint): void {
    this.virtualization.invept(type, eptp);
  }

  /** INVVPID of type 0 (address), 1 (one VPID), 2 (all but VPID 0) or 3 (one, but global translations). @throws VmFail, InvalidOpcode */
  invvpid(type: number, vpid: number, la: number | bigint = 0): void {
    this.virtualization.invvpid(type, vpid, la);
  }

  /** INVLPGA: the page of `la` under an ASID, 0 for the host's. @throws InvalidOpcode */
  invlpga(la: number | bigint, asid: number): void {
    this.virtualization.invlpga(la, asid);
  }

  /**
   * INVLPG: removes what is cached for the page of `la` in the current PCID, and global translations of it. For an address that
   * is not canonical (a bigint) it does nothing.
   * @throws GeneralProtectionFault at CPL 1 to 3
   */
  invlpg(la: number | bigint): void {
    this.invalidations.invlpg(la);
  }

  /**
   * INVPCID of type 0 (address), 1 (one PCID), 2 (all with globals) or 3 (all but globals). Only type 0 looks at `la`.
   * @throws InvalidOpcode on a CPU without it
   * @throws GeneralProtectionFault for what the CPU refuses
   */
  invpcid(type: number, pcid: number, la: number | bigint): void {
    this.invalidations.invpcid(type, pcid, la);
  }

  /** Removes every translation, global ones included, the way `__flush_tlb_all` does: INVPCID, or CR4.PGE toggled. */
  flushTlbAll(): void {
    const { cr4 } = this.registers;
    if (this.parts.features.invpcid) {
      this.invalidations.invpcid(2, 0, 0);
    } else if ((cr4 & CR4_PGE) !== 0) {
      this.registers.writeCr4(cr4 - CR4_PGE);
      this.registers.writeCr4(cr4);
    } else {
      this.registers.writeCr3(this.registers.cr3, false);
    }
  }

  /** MOV to CR0 of up to 64 bits. @throws GeneralProtectionFault for what the CPU refuses */
  writeCr0(value: number | bigint): void {
    this.registers.writeCr0(value);
  }

  /**
   * MOV to CR3: the top table's address, with the PCID in bits 11:0 under CR4.PCIDE. Bit 63 of a bigint, or
   * `keepTranslations`, keeps what is cached for that PCID.
   * @throws GeneralProtectionFault for what the CPU refuses
   */
  writeCr3(value: number | bigint, keepTranslations = false): void {
    this.registers.writeCr3(value, keepTranslations);
  }

  /** MOV from CR3: all of it, with the bits of linear-address masking. */
  readCr3(): bigint {
    return this.registers.readCr3();
  }

  /** MOV to CR4 of up to 64 bits. @throws GeneralProtectionFault for what the CPU refuses */
  writeCr4(value: number | bigint): void {
    this.registers.writeCr4(value);
  }

  /** WRMSR: IA32_EFER, IA32_PAT, IA32_PKRS, MTRRs, IA32_RAR_*. @throws GeneralProtectionFault for what the CPU refuses */
  wrmsr(index: number, value: number | bigint): void {
    if (this.remoteActions.hasRegister(index)) this.remoteActions.wrmsr(index, value);
    else this.registers.wrmsr(index, value);
  }

  /** RDMSR. @throws GeneralProtectionFault for a register that the CPU does not have */
  rdmsr(index: number): bigint {
    const { remoteActions, registers } = this;
    return remoteActions.hasRegister(index) ? remoteActions.rdmsr(index) : registers.rdmsr(index);
  }

  /** WRPKRU. @throws InvalidOpcode while CR4.PKE = 0 */
  writePkru(value: number): void {
    this.registers.writePkru(value);
  }

  /** CR0: `CR0_*`. */
  get cr0(): number {
    return this.registers.cr0;
  }

  /** The linear address of the last page fault: in 48-bit form; with five levels of paging all 64 bits of it. */
  get cr2(): number | bigint {
    return this.mmu.cr2;
  }

  /** CR3: physical address of the top table, and the PCID in bits 11:0. */
  get cr3(): number {
    return this.registers.cr3;
  }

  /** CR4: `CR4_*`. */
  get cr4(): number {
    return this.registers.cr4;
  }

  /** The current privilege level; 3 is user mode. */
  get cpl(): number {
    return this.registers.cpl;
  }

  /** Goes to another privilege level, as an interrupt, SYSCALL or IRET would. */
  setCpl(cpl: number): void {
    if (![0, 1, 2, 3].includes(cpl)) throw new MachineUsageError("CPL", cpl, "0, 1, 2 or 3");
    if (cpl !== this.registers.cpl) this.registers.chooseCpl(cpl);
  }

  /** Sets or clears EFLAGS.AC (STAC, CLAC, POPF): with CR4.SMAP, explicit supervisor accesses to user pages need it. */
  setAlignmentCheck(on: boolean): void {
    this.registers.alignmentCheck = on;
    this.registers.update();
  }

  /**
   * Walks the page tables for `la` without any effect, and explains every level; in a guest, those of both dimensions.
   * @throws GeneralProtectionFault for an address (a bigint) that is not canonical
   */
  probe(la: number | bigint): ProbeResult {
    const { mode, pointers, guest } = this.mmu;
    const page = canonicalPage("a probe", la, pointers.bits);
    const offset = typeof la === "bigint" ? Number(la & 0xfffn) : la % PAGE_SIZE;
    return probe(page, offset, this.parts.memory, mode, this.memoryTypes, guest?.walker.stage ?? null);
  }

  /** The effective memory type of `la`'s translation in the page tables; null when there is none. */
  memoryType(la: number | bigint): (typeof MEMORY_TYPE_NAMES)[number] | null {
    return this.probe(la).memoryType;
  }

  /** All counters by name. */
  counters(): CounterSnapshot {
    return snapshotCounters(this.mmu.counts);
  }

  /**
   * Begins to attribute page walks to the flushes that made them necessary, or goes on with it. Accesses of the CPU then take the host
   * longer from the first removal of a translation on: docs/mmu.md.
   */
  attributeFlushes(): FlushAttribution {
    const { mmu } = this;
    if (mmu.attribution !== null) return mmu.attribution;
    const attribution = this.parts.shared?.attributeFlushes() ?? new FlushAttribution(this.parts.preset, mmu.tlbs);
    mmu.watch(attribution, () => this.recordHitsApart());
    return attribution;
  }
}
