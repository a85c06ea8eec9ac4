/** The address spaces of a machine, as flushes and lazy TLB mode know them: `UserSpaces` (user-spaces.ts) makes them and switches. */
import type { FlushRecord } from "../flush/flush-accounts.ts";
import type { LineTable } from "../kernel/line-table.ts";
import type { KernelMm } from "../kernel-mm.ts";
import type { GlobalAsids } from "./global-asids.ts";
import type { MmStruct } from "./mm-struct.ts";
import type { TlbState } from "./tlb-state.ts";

/** A flush of one address space, as each CPU is told of it (`struct flush_tlb_info`). */
export interface FlushTlbInfo {
  readonly mm: MmStruct;
  /** The first address; 0 when everything goes. */
  readonly start: number;
  /** One past the last; `TLB_FLUSH_ALL` when everything goes. */
  readonly end: number;
  /** Generation of the address space that the flush leads to (`new_tlb_gen`). */
  readonly tlbGen: number;
  /** The CPU that flushes (`initiating_cpu`). */
  readonly initiator: number;
  /** Where the flush is booked; null without accounts. */
  readonly record: FlushRecord | null;
}

/** All address spaces of a machine, and which CPU runs on which. */
export interface AddressSpaces {
  /** What address spaces share with the kernel. */
  readonly kernel: KernelMm;
  /** The kernel's own. */
  readonly initMm: MmStruct;
  /** Whether ASIDs have PCIDs; otherwise every switch flushes. */
  readonly usesPcids: boolean;
  /** Whether user mode runs on page tables without the kernel (page-table isolation). */
  readonly isolation: boolean;
  /** ASIDs that mean the same on every CPU; only a policy that broadcasts deals them out. */
  readonly globalAsids: GlobalAsids;
  /** TLB state of each CPU. */
  readonly tlbStates: readonly TlbState[];
  /** Those of processes: whoever makes one adds it, and `mmdrop` takes it out. */
  readonly mms: Set<MmStruct>;
  /** The address space that each CPU has loaded. */
  readonly loaded: readonly MmStruct[];
  /** Lines that the CPUs of each address space share: `MM_LINES` from its context id times that on. */
  readonly mmLines: LineTable;
  /** The current CPU goes on with a thread of `mm`, or with a kernel thread (null), which borrows what is loaded. */
  switchTo(mm: MmStruct | null): void;
  /** The current CPU looks at whether each of `cpus` is in lazy mode. Returns those that are not (`tlb_is_not_lazy`). */
  notLazy(cpus: readonly number[]): readonly number[];
  /** What each CPU does for a flush (`flush_tlb_func`). */
  flushTlbFunc(cpu: number, flush: FlushTlbInfo): void;
}

/** What CPUs do with what they have loaded. */
export interface LoadedSpaces extends AddressSpaces {
  /** Shootdown interrupts taken by each CPU. */
  readonly shootdowns: Float64Array;
  /** Puts `next` on the CPU (`switch_mm_irqs_off`). @param record the flush whose handler does it; absent: none */
  switchMmIrqsOff(cpu: number, next: MmStruct, record?: FlushRecord | null): void;
  /** The CPU's idle thread, or a kernel thread, borrows what is loaded (`enter_lazy_tlb`). */
  enterLazyTlb(cpu: number): void;
  /** The current CPU reads the line of an address space's generation (`mm->context.tlb_gen`). */
  readGeneration(mm: MmStruct): void;
  /** Puts the CPU into the mask of an address space (1), or takes it out (0). */
  setCpumask(mm: MmStruct, cpu: number, value: number): void;
  /** Flushes all of the loaded address space (`flush_tlb_local`). */
  flushTlbLocal(cpu: number, record: FlushRecord | null): void;
  /** Flushes a page in the PCID that the loaded address space has in user mode (`flush_tlb_one_user`). */
  flushTlbOneUser(cpu: number, la: number, record: FlushRecord | null): void;
}
