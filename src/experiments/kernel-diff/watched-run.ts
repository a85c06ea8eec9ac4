/** What a kernel did in a run, as figures that two versions can be compared by. */
import { ACTIVITY_IDLE } from "../../../arch/index.ts";
import { snapshotVmalloc } from "../../../mm/index.ts";
import { EventCounter } from "../../events/event-counter.ts";
import { teeEvents } from "../../events/tee-events.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { costParts, totalCycles } from "../../report/flush-costs.ts";

/** The parts that figures belong to. */
export type FigurePart = "areas" | "flushes" | "tables" | "frames" | "cycles";

/** A figure of a run. */
export interface RunFigure {
  readonly part: FigurePart;
  readonly name: string;
  readonly value: number;
}

/** What was seen of a run. */
export interface WatchedRun {
  readonly figures: readonly RunFigure[];
  /** Addresses of areas, and first frames of mappings, in their order on each CPU. */
  readonly addresses: readonly (readonly number[])[];
  readonly frames: readonly (readonly number[])[];
  /** Lazily freed pages after each free and each purge: milliseconds and pages. */
  readonly lazyPages: readonly (readonly [number, number])[];
}

/** Names of the figures that count what is elsewhere than in the run that a run is compared with. */
export const AT_ANOTHER_ADDRESS = "areas at another address";
export const AT_ANOTHER_FRAME = "mappings that begin at another frame";

/** Watches a kernel from now on. */
export class RunWatcher extends EventCounter {
  private readonly kernel: Kernel;
  private readonly addresses: number[][];
  private readonly frames: number[][];
  private readonly lazyPages: [number, number][] = [];
  private rangesGivenBack = 0;
  private readonly before: Readonly<Record<"set" | "cleared" | "allocated" | "freed", number>>;

  constructor(kernel: Kernel) {
    super();
    this.kernel = kernel;
    this.addresses = kernel.machine.cpus.map(() => []);
    this.frames = kernel.machine.cpus.map(() => []);
    const { tables, pages, vm } = kernel;
    this.before = {
      set: tables.leavesSet,
      cleared: tables.leavesCleared,
      allocated: pages.allocatedPages,
      freed: pages.freedPages,
    };
    vm.flushing.keepAccounts();
    vm.events = vm.events === null ? this : teeEvents([this, vm.events]);
  }

  override alloc(addr: number, size: number, align: number, start: number, end: number, f: number, failed: boolean) {
    super.alloc(addr, size, align, start, end, f, failed);
    if (!failed) this.addresses[this.kernel.machine.loop.currentCpu].push(addr);
  }

  override free(start: number, end: number, lazyNr: number): void {
    super.free(start, end, lazyNr);
    this.noteLazy(lazyNr);
  }

  override purge(start: number, end: number, areas: number, _full?: boolean, _nodes?: number, lazyNr = 0): void {
    super.purge(start, end, areas);
    this.noteLazy(lazyNr);
  }

  override merge(): void {
    this.rangesGivenBack++;
  }

  override decayVa(): void {
    this.rangesGivenBack++;
  }

  override mapPages(_start?: number, _end?: number, _shift?: number, _low?: number, _high?: number, frame = 0): void {
    this.frames[this.kernel.machine.loop.currentCpu].push(frame);
  }

  private noteLazy(lazyNr: number): void {
    const { loop, preset } = this.kernel.machine;
    this.lazyPages.push([loop.nowCycles() / preset.frequencyGhz.value / 1e6, lazyNr]);
  }

  /** What has been seen. Figures of what is elsewhere are added by who compares. */
  seen(): WatchedRun {
    const { addresses, frames, lazyPages } = this;
    return { figures: [...this.counts(), ...this.cycles()], addresses, frames, lazyPages };
  }

  private counts(): RunFigure[] {
    const { kernel, before } = this;
    const { tables, pages, vm } = kernel;
    const { vmstat } = vm.flushing;
    const interrupted = vm.flushing.keepAccounts().records.reduce((sum, record) => sum + record.interrupted, 0);
    const byPart: Readonly<Record<Exclude<FigurePart, "cycles">, Readonly<Record<string, number>>>> = {
      areas: {
        "areas allocated": this.areasAllocated,
        "allocations that failed": this.areasFailed,
        "areas from pools": this.areasFromPools,
        "areas freed": this.areasFreed,
        "ranges given back to the free tree": this.rangesGivenBack,
        "free ranges at the end": snapshotVmalloc(vm).free.length,
        "vmap blocks made": this.blocksMade,
        "vmap blocks freed": this.blocksFreed,
      },
      flushes: {
        purges: this.purges,
        drains: this.drains,
        "areas purged": this.areasPurged,
        "flushes of whole TLBs": this.fullFlushes,
        "flushes page by page": this.rangeFlushes,
        "pages flushed one by one": this.pagesFlushedOneByOne,
        "CPUs interrupted": interrupted,
        nr_tlb_remote_flush: vmstat.remoteFlush,
        nr_tlb_remote_flush_received: vmstat.remoteFlushReceived,
        "most lazily freed pages": this.lazyPagesMax,
      },
      tables: {
        "tables allocated": this.tablesAllocated,
        "tables freed": this.tablesFreed,
        "tables at the end": tables.tables.reduce((sum, count) => sum + count, 0),
        "entries set": tables.leavesSet - before.set,
        "entries cleared": tables.leavesCleared - before.cleared,
      },
      frames: {
        "frames allocated": pages.allocatedPages - before.allocated,
        "frames freed": pages.freedPages - before.freed,
        "frames in use at the end": pages.allocatedPages - pages.freedPages,
      },
    };
    return Object.entries(byPart).flatMap(([part, figures]) =>
      Object.entries(figures).map(([name, value]) => ({ part: part as FigurePart, name, value })),
    );
  }

  private cycles(): RunFigure[] {
    const { machine, vm } = this.kernel;
    const cost = vm.flushing.keepAccounts().total();
    const { workCycles, waitCycles, stolenCycles, lineCycles, refillCycles } = costParts(cost);
    const activities = machine.loop.accounts.total();
    let busy = 0;
    for (const cycles of activities.values()) busy += cycles;
    const idle = machine.cpus.reduce((sum, _, cpu) => sum + machine.loop.accounts.cycles(cpu, ACTIVITY_IDLE), 0);
    const figures = {
      "flushing, in all": totalCycles(cost),
      "flushing: work": workCycles,
      "flushing: wait": waitCycles,
      "flushing: stolen": stolenCycles,
      "flushing: lines": lineCycles,
      "flushing: refills": refillCycles,
      "all CPUs, not idle": busy - idle,
      ...Object.fromEntries([...activities].map(([name, cycles]) => [`activity: ${name}`, cycles])),
    };
    return Object.entries(figures).map(([name, value]) => ({ part: "cycles", name, value: Math.round(value) }));
  }
}

/** How many items of a run are not what they are in the run that it is compared with: CPU by CPU, one after the other. */
export function elsewhere(run: readonly (readonly number[])[], other: readonly (readonly number[])[]): number {
  let count = 0;
  run.forEach((items, cpu) => {
    const others = other[cpu] ?? [];
    items.forEach((item, i) => {
      if (item !== others[i]) count++;
    });
  });
  return count;
}
