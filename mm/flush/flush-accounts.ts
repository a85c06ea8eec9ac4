/**
 * What each flush cost, whom, and why: one record a flush, with its parts, and through the purge that caused it the frees that fed
 * it. One part, refills, comes from the tags of the entries that the flush removed
 * (`arch/tlb/flush-attribution.ts`) and grows as long as the machine runs.
 */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { Machine } from "../../arch/machine.ts";
import { INTERRUPTED_RUNNING } from "../../arch/time/event-loop.ts";
import type { FlushAttribution } from "../../arch/tlb/flush-attribution.ts";
import type { CallBill } from "../kernel/smp.ts";
import { ADDRESS_MAX, USER_END } from "../lib/memory-layout.ts";
import { FreeLedger } from "./free-ledger.ts";

/**
 * Why a flush was made: the drain work (too many pages lazily freed), an `overflow` of address space, `vm_unmap_aliases`,
 * one `vunmap` (eager freeing), a page table that gave way to a large page, attributes of kernel pages that were changed, a large page that was
 * split for that, small ones put together again, a user address space (`munmap`, `mprotect`, `madvise`, `fork`, a
 * page copied after it, its end, or another caller), a context switch, page-table isolation without PCIDs, global ASIDs to be used again, or a caller
 * of its own.
 */
export const FLUSH_CAUSES = [
  "drain",
  "overflow",
  "aliases",
  "vunmap",
  "table freed",
  "set_memory",
  "page split",
  "pages joined",
  "munmap",
  "mprotect",
  "madvise",
  "fork",
  "copy",
  "exit",
  "user",
  "context switch",
  "isolation",
  "ASIDs used up",
  "call",
] as const;

/** One of {@link FLUSH_CAUSES}. */
export type FlushCause = (typeof FLUSH_CAUSES)[number];

/** One flush. Cycles are of the emulated CPUs. */
export class FlushRecord implements CallBill {
  /** Number of the flush, from 1; refills are known by it. */
  readonly id: number;
  readonly cause: FlushCause;
  readonly policy: string;
  /** [start, end) as it was asked for. */
  readonly start: number;
  readonly end: number;
  /** Whether whole TLBs were flushed. */
  readonly full: boolean;
  /** The CPU that flushed, and its clock when it began. */
  readonly cpu: number;
  readonly atCycles: number;
  /** First part: work of the CPU that flushed. */
  workCycles = 0;
  /** Second part: its wait for acknowledgements. */
  waitCycles = 0;
  /** Third part: cycles of the CPUs that were interrupted, or that flushed when they came back to the kernel. */
  stolenCycles = 0;
  /** Of these, cycles of CPUs that were neither idle nor waiting. */
  stolenFromRunningCycles = 0;
  /** Cycles that all of these CPUs waited for cache lines meanwhile: no part of the others. */
  lineCycles = 0;
  /** CPUs that were interrupted. */
  interrupted = 0;
  /** CPUs that took the flush later, at their next kernel entry. */
  deferred = 0;
  /** Stolen cycles by CPU; null unless asked for. */
  readonly stolenFrom: Float64Array | null;
  /** Frees whose areas this flush made usable again: pages, and how many. */
  freedPages = 0;
  frees = 0;

  constructor(
    id: number,
    cause: FlushCause,
    policy: string,
    start: number,
    end: number,
    full: boolean,
    cpu: number,
    atCycles: number,
    stolenFrom: Float64Array | null,
  ) {
    this.id = id;
    this.cause = cause;
    this.policy = policy;
    this.start = start;
    this.end = end;
    this.full = full;
    this.cpu = cpu;
    this.atCycles = atCycles;
    this.stolenFrom = stolenFrom;
  }

  /** Why whole TLBs were flushed: the range is above the ceiling, or has no bounds; null when it went page by page. */
  get fullBecause(): "ceiling" | "no bounds" | null {
    if (!this.full) return null;
    return this.end >= ADDRESS_MAX || (this.start === 0 && this.end === USER_END) ? "no bounds" : "ceiling";
  }

  /** Pages of the range, holes included. */
  get pages(): number {
    return Math.ceil((this.end - this.start) / PAGE_SIZE);
  }

  /** The handler of its interrupt took so many cycles of a CPU that it found running, waiting or idle (`INTERRUPTED_*`). */
  stolen(cpu: number, cycles: number, found: number): void {
    this.interrupted++;
    this.take(cpu, cycles);
    if (found === INTERRUPTED_RUNNING) this.stolenFromRunningCycles += cycles;
  }

  /** The microcode of `cpu` flushed (RAR): cycles are gone, but nothing was interrupted. `found`: one of the `INTERRUPTED_` values. */
  actedRemotely(cpu: number, cycles: number, found: number): void {
    this.take(cpu, cycles);
    if (found === INTERRUPTED_RUNNING) this.stolenFromRunningCycles += cycles;
  }

  /** `cpu` flushed when it came back to the kernel. */
  paidLater(cpu: number, cycles: number): void {
    this.take(cpu, cycles);
    this.stolenFromRunningCycles += cycles;
  }

  private take(cpu: number, cycles: number): void {
    this.stolenCycles += cycles;
    if (this.stolenFrom !== null) this.stolenFrom[cpu] += cycles;
  }
}

/** The parts of one flush, or of several, none of which is in another. */
export interface FlushCost {
  workCycles: number;
  waitCycles: number;
  stolenCycles: number;
  /** Waits of all CPUs concerned for cache lines that moved on the flush's behalf. */
  lineCycles: number;
  refillCycles: number;
  /** Page walks that made up the refills. */
  refills: number;
}

const NO_COST: Readonly<FlushCost> = {
  workCycles: 0,
  waitCycles: 0,
  stolenCycles: 0,
  lineCycles: 0,
  refillCycles: 0,
  refills: 0,
};

/** What to keep. */
export interface FlushAccountsOptions {
  /** Follow refills; slows every access down. Default true. */
  readonly refills?: boolean;
  /** Keep stolen cycles by CPU in every record. Default false. */
  readonly perCpu?: boolean;
}

/** All flushes of a machine since it was made. */
export class FlushAccounts {
  readonly records: FlushRecord[] = [];
  /** Every free that went through a lazy list. */
  readonly frees = new FreeLedger();
  private readonly machine: Machine;
  /** Callers of areas that are being freed. */
  private readonly callers = new Map<number, string>();
  /** By CPU; empty when refills are not attributed. */
  readonly attributions: readonly FlushAttribution[];
  /** Each once: CPUs that share TLBs share one. */
  private readonly distinct: ReadonlySet<FlushAttribution>;
  /** Whether records keep what was taken from each CPU. */
  readonly perCpu: boolean;

  constructor(machine: Machine, options: FlushAccountsOptions = {}) {
    this.machine = machine;
    this.perCpu = options.perCpu ?? false;
    this.attributions = options.refills === false ? [] : machine.cpus.map((cpu) => cpu.attributeFlushes());
    this.distinct = new Set(this.attributions);
  }

  /** Opens the record of a flush by the current CPU, or by `cpu`. */
  begin(
    cause: FlushCause,
    policy: string,
    start: number,
    end: number,
    full: boolean,
    cpu: number = this.machine.loop.currentCpu,
  ): FlushRecord {
    const { loop } = this.machine;
    const stolenFrom = this.perCpu ? new Float64Array(loop.cpus) : null;
    const id = this.records.length + 1;
    const record = new FlushRecord(id, cause, policy, start, end, full, cpu, loop.clockCycles[cpu], stolenFrom);
    this.records.push(record);
    return record;
  }

  /** Runs an invalidation of `cpu`'s TLB in the name of a flush. */
  attributed(record: FlushRecord, cpu: number, invalidate: (cpu: number) => void): void {
    if (this.attributions.length === 0) {
      invalidate(cpu);
      return;
    }
    const attribution = this.attributions[cpu];
    attribution.currentFlush = record.id;
    invalidate(cpu);
    attribution.currentFlush = 0;
  }

  /** Runs an invalidation that reaches every CPU's TLB at once in the name of a flush. */
  attributedEverywhere(record: FlushRecord, invalidate: () => void): void {
    for (const attribution of this.attributions) attribution.currentFlush = record.id;
    invalidate();
    for (const attribution of this.attributions) attribution.currentFlush = 0;
  }

  /** Says on whose behalf `area`, which has a vm_struct, is about to be freed: its caller when it was made. */
  freedFor(area: number, caller: string): void {
    this.callers.set(area, caller === "" ? "caller unknown" : caller);
  }

  /** An area was freed lazily. */
  freed(area: number, start: number, end: number): void {
    const { loop } = this.machine;
    const origin = this.callers.get(area) ?? "vm_map_ram";
    this.callers.delete(area);
    this.frees.add(area, start, (end - start) / PAGE_SIZE, origin, loop.currentCpu, loop.nowCycles());
  }

  /** The areas freed lazily that a flush makes usable again: each of their frees is known by it from now on. */
  feed(record: FlushRecord, area: number): void {
    const pages = this.frees.flushed(area, record.id);
    if (pages === 0) return;
    record.frees++;
    record.freedPages += pages;
  }

  /** The parts of one flush, refills up to now. */
  costOf(record: FlushRecord): FlushCost {
    let refillCycles = 0;
    let refills = 0;
    for (const attribution of this.distinct) {
      const cost = attribution.costOf(record.id);
      refillCycles += cost.walkCycles;
      refills += cost.refills;
    }
    const { workCycles, waitCycles, stolenCycles, lineCycles } = record;
    return { workCycles, waitCycles, stolenCycles, lineCycles, refillCycles, refills };
  }

  /** The parts of all flushes together; `select` chooses some. */
  total(select: (record: FlushRecord) => boolean = () => true): FlushCost {
    const sum: FlushCost = { ...NO_COST };
    for (const record of this.records) if (select(record)) addCost(sum, this.costOf(record), 1);
    return sum;
  }

  /** Walks that refilled flushed entries but that no flush of a known number explains: 0 but for flushes by others. */
  get unexplainedWalks(): number {
    return [...this.distinct].reduce((sum, each) => sum + each.unexplainedWalks, 0);
  }

  /**
   * What each origin of frees pays: the cost of each purge's flush, shared out among the frees that fed it by their pages.
   * Flushes that no free fed are under their cause, in parentheses.
   */
  costByOrigin(): Map<string, FlushCost & { frees: number; pages: number }> {
    const byOrigin = new Map<string, FlushCost & { frees: number; pages: number }>();
    const entryOf = (origin: string) => {
      let entry = byOrigin.get(origin);
      if (entry === undefined) {
        entry = { frees: 0, pages: 0, ...NO_COST };
        byOrigin.set(origin, entry);
      }
      return entry;
    };
    const costs = this.records.map((record) => this.costOf(record));
    this.records.forEach((record, i) => {
      if (record.freedPages === 0) addCost(entryOf(`(${record.cause})`), costs[i], 1);
    });
    const { frees } = this;
    for (let i = 0; i < frees.length; i++) {
      const entry = entryOf(frees.originOf(i));
      const pages = frees.pages[i];
      entry.frees++;
      entry.pages += pages;
      const flush = frees.flush[i];
      if (flush > 0) addCost(entry, costs[flush - 1], pages / this.records[flush - 1].freedPages);
    }
    return byOrigin;
  }
}

function addCost(sum: FlushCost, cost: FlushCost, share: number): void {
  sum.workCycles += cost.workCycles * share;
  sum.waitCycles += cost.waitCycles * share;
  sum.stolenCycles += cost.stolenCycles * share;
  sum.lineCycles += cost.lineCycles * share;
  sum.refillCycles += cost.refillCycles * share;
  sum.refills += cost.refills * share;
}
