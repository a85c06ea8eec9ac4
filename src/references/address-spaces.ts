/** The traced processes: an address space each, filled as it is touched, and the CPUs that run their threads. */

import { type CounterSnapshot, type Cpu, CR4_PCIDE } from "../../arch/index.ts";
import { sumCounters } from "../../arch/time/perf-counters.ts";
import type { Kernel } from "../machine/kernel.ts";
import { DemandPaging } from "./demand-paging.ts";
import { PageRules } from "./page-rules.ts";
import type { ReferenceThread } from "./reference-batch.ts";

/** PCIDs that there are: address spaces beyond as many share them, with a flush at each switch. */
const PCIDS = 4096;
/** Levels of page tables that there may be. */
const LEVELS = 5;

/** A traced process. */
export interface AddressSpace {
  /** From 0, in the order in which they appear. */
  readonly number: number;
  readonly paging: DemandPaging;
}

/** Who runs where. */
export class AddressSpaces {
  private readonly kernel: Kernel;
  private readonly rules: PageRules;
  private readonly spaces = new Map<number, AddressSpace>();
  private readonly threads = new Set<number>();
  /** The address space that each CPU is in. */
  private readonly current: (AddressSpace | null)[];
  /** The CPU that ran last on each physical one. */
  private readonly lastOn: number[] = [];

  /** @param pages rules of page sizes (page-rules.ts). @throws ValueError for what are none */
  constructor(kernel: Kernel, pages: string) {
    this.kernel = kernel;
    this.rules = new PageRules(pages);
    this.current = kernel.machine.cpus.map(() => null);
  }

  /** Brings the thread's CPU into its address space, in user mode; threads share the CPUs in turn. */
  enter({ tid, pid, stream }: ReferenceThread): { readonly cpu: Cpu; readonly space: AddressSpace } {
    const { cpus } = this.kernel.machine;
    const id = stream % cpus.length;
    const cpu = cpus[id];
    const space = this.spaceOf(pid);
    this.threads.add(tid);
    this.takePhysicalCpu(id);
    if (this.current[id] !== space) {
      this.switchTo(cpu, space);
      this.current[id] = space;
    }
    return { cpu, space };
  }

  /** With fewer physical CPUs than vCPUs the one that comes next may run where another did. */
  private takePhysicalCpu(id: number): void {
    const { host, machine } = this.kernel;
    if (host === null) return;
    const physical = id % machine.config.physicalCpus;
    const before = this.lastOn[physical];
    this.lastOn[physical] = id;
    if (before !== undefined && before !== id) host.takeTurn(id);
  }

  /** Processes and threads so far. */
  get processCount(): number {
    return this.spaces.size;
  }

  /** Threads so far. */
  get threadCount(): number {
    return this.threads.size;
  }

  /** CPUs that ran something. */
  get busyCpus(): readonly Cpu[] {
    return this.kernel.machine.cpus.filter((_, id) => this.current[id] !== null);
  }

  /** The fraction of the entries of their second-level TLBs that hold a translation (first-level ones where there are none). */
  get filled(): number {
    const last = this.busyCpus.flatMap(({ mmu: { tlbs } }) => (tlbs.second.length > 0 ? tlbs.second : tlbs.first));
    const slots = last.reduce((sum, tlb) => sum + tlb.slots, 0);
    return last.reduce((sum, tlb) => sum + tlb.count, 0) / slots;
  }

  /** Counters of all CPUs together. */
  counters(): CounterSnapshot {
    return sumCounters(this.kernel.machine.cpus.map((cpu) => cpu.counters()));
  }

  /** Cycles of all CPUs' clocks together. */
  get cycles(): number {
    return this.kernel.machine.loop.clockCycles.reduce((sum, cycles) => sum + cycles, 0);
  }

  /** Bytes of memory given to the processes. */
  get mappedBytes(): number {
    return this.sum(({ paging }) => paging.sizeBytes);
  }

  /** Page tables of all processes by level; index 1 PTE tables to 4 top tables. */
  get tablesByLevel(): number[] {
    const all = [...this.spaces.values()].map(({ paging }) => paging.tables.tables);
    return Array.from({ length: LEVELS + 1 }, (_, level) => all.reduce((sum, each) => sum + each[level], 0));
  }

  /** Bytes of all their page tables. */
  get tableBytes(): number {
    return this.sum(({ paging }) => paging.tables.tablePages * 4096);
  }

  private sum(of: (space: AddressSpace) => number): number {
    return [...this.spaces.values()].reduce((sum, space) => sum + of(space), 0);
  }

  private spaceOf(pid: number): AddressSpace {
    const known = this.spaces.get(pid);
    if (known !== undefined) return known;
    if (this.spaces.size === 1) this.usePcids();
    const space = { number: this.spaces.size, paging: new DemandPaging(this.kernel, this.rules) };
    this.spaces.set(pid, space);
    return space;
  }

  /** With more than one process, CPUs that have PCIDs use them; the first process has PCID 0 and keeps what is cached for it. */
  private usePcids(): void {
    const { cpus, features } = this.kernel.machine;
    if (!features.pcid) return;
    for (const cpu of cpus) {
      cpu.setCpl(0);
      cpu.writeCr4(cpu.cr4 + CR4_PCIDE);
      cpu.setCpl(3);
    }
  }

  /** As `switch_mm_irqs_off` does it: with PCIDs what is cached for the others stays. */
  private switchTo(cpu: Cpu, { number, paging }: AddressSpace): void {
    cpu.setCpl(0);
    const hasPcids = (cpu.cr4 & CR4_PCIDE) !== 0;
    cpu.writeCr3(paging.tables.rootFrame * 4096 + (hasPcids ? number % PCIDS : 0), hasPcids && number < PCIDS);
    cpu.setCpl(3);
  }
}
