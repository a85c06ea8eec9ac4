/**
 * What all of the kernel's memory management stands on: the machine, its frames, the kernel's page tables, and how they are
 * flushed. Allocators of kernel addresses (`vmalloc/`) and user address spaces (`user/`) are built on it.
 */
import { PAGE_SIZE, PMD_SIZE } from "../arch/isa/linear-address.ts";
import { PTE_GLOBAL } from "../arch/isa/pte.ts";
import type { Machine } from "../arch/machine.ts";
import type { EventLoop } from "../arch/time/event-loop.ts";
import { type FlushPolicy, INVLPGB_POLICY, IPI_POLICY } from "./flush/flush-policy.ts";
import { Flushing, type FlushingConfig } from "./flush/flushing.ts";
import { Rar } from "./flush/rar.ts";
import { UnflushedRanges } from "./flush/unflushed-ranges.ts";
import { MEMCG_LEVELS_MAX, MemCgroup } from "./frames/mem-cgroup.ts";
import type { PageAllocator } from "./frames/page-allocator.ts";
import { PageLines } from "./frames/page-lines.ts";
import { Reclaim } from "./frames/reclaim.ts";
import type { FaultInjection } from "./kernel/fault-injection.ts";
import { type BugName, type Bugs, bugsOn } from "./kernel/historical-bugs.ts";
import { IrqSpinLock } from "./kernel/irq-spin-lock.ts";
import { checkKernelCosts, type KernelCosts } from "./kernel/kernel-costs.ts";
import type { UsePath } from "./kernel/kernel-paths.ts";
import { LineTable } from "./kernel/line-table.ts";
import type { SpinLock } from "./kernel/lock.ts";
import { Lockdep } from "./kernel/lockdep.ts";
import { LocksInMemory } from "./kernel/locks-in-memory.ts";
import { newSpinLock, type SpinlockKind, useSpinlocks } from "./kernel/spinlocks.ts";
import type { FlushEvents, PageTableEvents } from "./kernel/vmalloc-events.ts";
import { type SleepObserver, wakesThreads } from "./kernel/wake-up.ts";
import { ConfigError } from "./lib/config-error.ts";
import type { KernelLog } from "./lib/kernel-log.ts";
import type { AddressRange } from "./lib/memory-layout.ts";
import { MemoryTypes } from "./page-tables/memtype.ts";
import type { PageTables } from "./page-tables/page-tables.ts";
import { KmemCaches } from "./slab/kmem-caches.ts";
import type { KernelVersion } from "./versions/kernel-version.ts";
import { DEFAULT_KERNEL_VERSION } from "./versions/kernel-versions.ts";

/** Bytes that the entries of one line map: eight pages. */
const ENTRY_LINE_BYTES = 8 * PAGE_SIZE;
/** Lines of entries of the kernel's page tables at most: those of 2 GiB, beyond which addresses share them. */
const ENTRY_LINES_MAX = 2 ** 16;

/** What a {@link KernelMm} is made of. */
export interface KernelMmParts {
  readonly machine: Machine;
  /** All frames of the machine. */
  readonly pages: PageAllocator;
  /** The kernel's own page tables. */
  readonly tables: PageTables;
  readonly log: KernelLog;
  readonly faults: FaultInjection;
  readonly costs: KernelCosts;
  /** What the version of the kernel decides; the default version when absent. */
  readonly version?: KernelVersion;
  /** How flushes reach the CPUs; Linux's default when absent. */
  readonly flushing?: FlushingConfig;
  /** Whether locking is checked (`CONFIG_PROVE_LOCKING`). Default: no. */
  readonly proveLocking?: boolean | undefined;
  /** Levels of the memory cgroup of all tasks, 0 to `MEMCG_LEVELS_MAX`; none when absent. */
  readonly memcgLevels?: number | undefined;
  /** How spinlocks are taken; queued when absent. */
  readonly spinlocks?: SpinlockKind | undefined;
  /** Bugs that Linux has had and that are to be there; none when absent. */
  readonly bugs?: readonly BugName[] | undefined;
}

/** The kernel's memory management below its allocators. */
export class KernelMm {
  readonly machine: Machine;
  readonly loop: EventLoop;
  readonly pages: PageAllocator;
  /** The kernel's own page tables (`init_mm.pgd`). */
  readonly tables: PageTables;
  readonly log: KernelLog;
  readonly faults: FaultInjection;
  readonly costs: KernelCosts;
  /** Caches of small objects. */
  readonly slabs: KmemCaches;
  /** What the version of the kernel decides. */
  readonly version: KernelVersion;
  readonly flushing: Flushing;
  /** What gives memory back when it is short. */
  readonly reclaim: Reclaim;
  /** Locks that programs have put into memory which they map. */
  readonly locksInMemory: LocksInMemory;
  /** What checks locking; null where nothing does. */
  readonly lockdep: Lockdep | null;
  /** Which of Linux's former bugs are there. */
  readonly bugs: Bugs;
  /** How physical ranges of devices are cached where they are mapped. */
  readonly memoryTypes = new MemoryTypes();
  /** ANDed to the low word of every kernel page (`__default_kernel_pte_mask`): takes global away with page-table isolation. */
  readonly kernelPteMask: number;

  /** Told where kernel code uses memory of the kernel's own; null where its translations cost nothing (`user/working-set.ts`). */
  usePath: UsePath | null = null;

  /** Where the lines of pages are. */
  readonly pageLines: PageLines;
  /** `zone->lock` of each zone, with the free lists that it guards. */
  readonly zoneLocks: readonly IrqSpinLock[];

  /** Where the kernel has mapped memory of its own, beside the direct map and what allocators map. */
  readonly ownRanges: AddressRange[] = [];

  /** All user address spaces, once somebody makes one: a `UserSpaces` (`user/`), of which nothing here needs to know more. */
  userSpaces: object | null = null;
  /** Told when threads sleep, so that their CPUs only borrow their address spaces meanwhile; null until somebody makes one. */
  sleepObserver: SleepObserver | null = null;

  /** `cpa_lock`, once attributes of kernel pages have been changed. */
  private attributesLock: SpinLock | null = null;
  /** The lines of the entries of the kernel's page tables: neighbours in address space share some, whichever CPU uses them. */
  private readonly entryLines: LineTable;
  private observer: (FlushEvents & PageTableEvents) | null = null;

  /** @throws ConfigError for costs, and for settings of flushing, that are not possible */
  constructor(parts: KernelMmParts) {
    const { machine, costs } = parts;
    checkKernelCosts(costs);
    this.machine = machine;
    this.loop = machine.loop;
    useSpinlocks(this.loop, parts.spinlocks ?? "queued");
    this.pages = parts.pages;
    this.tables = parts.tables;
    this.log = parts.log;
    this.faults = parts.faults;
    this.costs = costs;
    this.slabs = new KmemCaches(this.pages, this.loop, costs);
    this.locksInMemory = new LocksInMemory(this.loop, parts.log);
    this.reclaim = new Reclaim(this.loop);
    this.pages.wakeupKswapd = () => this.reclaim.wakeupKswapd();
    this.lockdep = parts.proveLocking === true ? new Lockdep(parts.machine.loop, parts.log) : null;
    this.version = parts.version ?? DEFAULT_KERNEL_VERSION;
    const policy = parts.flushing?.policy ?? defaultFlushPolicy(machine, this.version);
    this.bugs = bugsOn(parts.bugs ?? []);
    const flushFreedTables = parts.flushing?.flushFreedTables === true && !this.bugs.freedTablesLeaveOtherPcids;
    this.flushing = new Flushing(machine, costs, { ...parts.flushing, policy, flushFreedTables });
    wakesThreads(this);
    if (policy.usesRar === true) this.flushing.rar = new Rar(machine, this.pages, this.flushing.smp, costs);
    if (this.version.blocks.aliasesScan === "free lists") this.flushing.unflushed = new UnflushedRanges();
    this.flushing.smp.acknowledgesEarly = this.bugs.earlyAcknowledgement;
    this.entryLines = new LineTable(this.loop.lines, entryLines(machine));
    const freeLists = this.loop.lines.make(this.pages.zones.length);
    this.zoneLocks = this.pages.zones.map(
      (_, zone) => new IrqSpinLock("&zone->lock", this.loop, costs.lock, freeLists + zone),
    );
    const lines = new PageLines(this.loop, costs.pages, machine.preset);
    this.pageLines = lines;
    this.pages.keepLines(lines);
    this.pages.beforeZone = (zone) => this.zoneLocks[zone].aboutToTake();
    this.pages.onZone = (zone, blocks) => {
      const { cycles, lineCycles } = lines.takeHeld();
      this.zoneLocks[zone].hold(blocks * costs.pages.buddyCycles + cycles, lineCycles);
    };
    const { memcgLevels = 0 } = parts;
    if (!Number.isInteger(memcgLevels) || memcgLevels < 0 || memcgLevels > MEMCG_LEVELS_MAX) {
      throw new ConfigError("memcgLevels", memcgLevels, `a whole number from 0 to ${MEMCG_LEVELS_MAX}`);
    }
    if (memcgLevels > 0) {
      this.pages.memcg = new MemCgroup(this.loop, costs, memcgLevels, this.version.lruReleasePages);
    }
    this.kernelPteMask = this.flushing.isolation ? ~PTE_GLOBAL : -1;
  }

  /** Serializes changes of the attributes of kernel pages (`cpa_lock`). Made when it is first used. */
  get cpaLock(): SpinLock {
    this.attributesLock ??= newSpinLock("cpa_lock", this.loop, this.costs.lock);
    return this.attributesLock;
  }

  /** Whether attributes of kernel pages have ever been changed. */
  get hasCpaLock(): boolean {
    return this.attributesLock !== null;
  }

  /** The current CPU has taken `pages` pages off its list; waiting for their lines, and zeroing, is charged where that happens. */
  spendOnPages(pages: number): void {
    this.loop.spend(pages * this.costs.pages.listCycles);
  }

  /** The current CPU puts `pages` pages back on its list. */
  spendOnFreedPages(pages: number): void {
    this.loop.spend(pages * this.costs.pages.listCycles);
  }

  /** The current CPU puts `pages` pages back on its list as a batch. */
  spendOnFreedBatch(pages: number): void {
    this.loop.spend(pages * this.costs.pages.freeBatchCycles);
  }

  /** The current CPU writes the entries of [start, end) in the kernel's page tables. */
  spendOnEntries(start: number, end: number): void {
    const tables = Math.ceil((end - start) / PMD_SIZE);
    this.loop.spend(
      ((end - start) / PAGE_SIZE) * this.costs.entryWriteCycles + tables * this.costs.pages.tableWalkCycles,
    );
    this.writeEntryLines(start, end);
  }

  /** The lines of the entries of [start, end) come to the current CPU, which writes them. */
  writeEntryLines(start: number, end: number): void {
    if (this.loop.lines.isAlone) return;
    this.entryLines.writeAll(Math.floor(start / ENTRY_LINE_BYTES), Math.floor((end - 1) / ENTRY_LINE_BYTES));
  }

  /** Is told of each change of the kernel's page tables and of each flush; null when nothing observes. */
  get events(): (FlushEvents & PageTableEvents) | null {
    return this.observer;
  }

  set events(observer: (FlushEvents & PageTableEvents) | null) {
    this.observer = observer;
    this.tables.events = observer;
    this.flushing.events = observer;
  }
}

/** How a version of the kernel flushes kernel addresses on a machine unless something else is asked for. */
function defaultFlushPolicy({ features }: Machine, version: KernelVersion): FlushPolicy {
  return version.usesInvlpgb && features.invlpgb ? INVLPGB_POLICY : IPI_POLICY;
}

/** So many lines that their entries map as much as the machine has memory, a power of two. */
function entryLines({ memory }: Machine): number {
  return Math.min(ENTRY_LINES_MAX, 2 ** Math.ceil(Math.log2(memory.sizeBytes / ENTRY_LINE_BYTES)));
}
