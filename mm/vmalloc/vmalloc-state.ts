/** The state of vmalloc: what `mm/vmalloc.c` keeps in its static variables. */

import type { Machine } from "../../arch/machine.ts";
import type { EventLoop, KernelCode, Thread } from "../../arch/time/event-loop.ts";
import type { Flushing } from "../flush/flushing.ts";
import type { PageAllocator } from "../frames/page-allocator.ts";
import type { CallProbes } from "../kernel/call-probes.ts";
import type { FaultInjection } from "../kernel/fault-injection.ts";
import type { KernelCosts } from "../kernel/kernel-costs.ts";
import type { SpinLock } from "../kernel/lock.ts";
import { type Lockdep, LockGuard } from "../kernel/lockdep.ts";
import { Mutex } from "../kernel/mutex.ts";
import { newSpinLock } from "../kernel/spinlocks.ts";
import type { VmallocEvents } from "../kernel/vmalloc-events.ts";
import type { Work } from "../kernel/work.ts";
import type { KernelMm } from "../kernel-mm.ts";
import type { KernelLog } from "../lib/kernel-log.ts";
import { ADDRESS_MAX } from "../lib/memory-layout.ts";
import type { PageTables } from "../page-tables/page-tables.ts";
import type { KmemCaches } from "../slab/kmem-caches.ts";
import type { KernelVersion } from "../versions/kernel-version.ts";
import { AreasByStart } from "./areas/areas-by-start.ts";
import { FreeTree } from "./areas/free-tree.ts";
import { NeFitPreload } from "./areas/ne-fit-preload.ts";
import { NodeLines } from "./areas/node-lines.ts";
import { PageArrays } from "./areas/page-arrays.ts";
import { VmStructs } from "./areas/vm-structs.ts";
import { type VmallocLines, vmallocLines } from "./areas/vmalloc-lines.ts";
import { VmapAreas } from "./areas/vmap-areas.ts";
import { VmapBlocks } from "./areas/vmap-blocks.ts";
import { makeVmapNodes, type VmapNode } from "./areas/vmap-node.ts";
import { offsetModulo, VmapZones } from "./areas/vmap-zones.ts";
import type { ExecmemAreas } from "./execmem-areas.ts";
import type { VmallocConfig } from "./vmalloc-config.ts";

/** A function that may free kernel virtual addresses when they run out; returns how many pages it freed. */
export type PurgeNotifier = () => number;

/**
 * Where new areas are wanted, for a replay whose areas are to lie where a trace has them: which page tables areas share, and so which
 * tables become empty, follows from their places.
 */
export interface AreaPlacement {
  /** From here on to the end of the vmalloc range lies what cannot have its place. */
  readonly spareStart: number;
  /** Where the current CPU's next area of this size is wanted; -1: anywhere. It gets that place if it is free. */
  wantedPlace(sizeBytes: number): number;
  /** Waits until that area may be taken out of the free tree: the areas' order there decides the tree's shape. */
  turn(sizeBytes: number): KernelCode<void>;
  /** That area has been looked for. */
  placed(sizeBytes: number): void;
}

/**
 * The order of frees and purges, for a replay that follows that of a trace: what a purge finds on the lazy lists, and so what it flushes,
 * follows from who had `vmap_purge_lock` when.
 */
export interface LazyOrder {
  /** Waits until the area that begins at `start` may be put on a lazy list by the current CPU. */
  freeTurn(start: number): KernelCode<void>;
  /** It is there. */
  freed(start: number): void;
  /** Waits until the current CPU may ask for the purge lock. */
  purgeTurn(): KernelCode<void>;
  /** It asks for it at this moment. */
  purgeAsked(): void;
  /** It has the lock, and waits until what it is to find is on the lists. */
  purging(): KernelCode<void>;
}

/** What one CPU's `vfreeAtomic` has put off (`struct vfree_deferred`). */
export interface DeferredFrees {
  /** Addresses, the latest last. */
  readonly addresses: number[];
  readonly work: Work;
}

/** What vmalloc stands on. */
export interface VmallocParts {
  readonly mm: KernelMm;
  readonly config: VmallocConfig;
}

/**
 * All of vmalloc's state. `vmallocInit` (`vmalloc-init.ts`) makes it ready for use. Parts of `mm` that nearly every call uses are
 * fields here as well, never set again: with accessors in their place a vmalloc of 1 to 100 pages and its vfree took 3 to 4 % longer.
 */
export class Vmalloc {
  /** What vmalloc shares with the rest of memory management. */
  readonly mm: KernelMm;
  readonly machine: Machine;
  readonly loop: EventLoop;
  readonly pages: PageAllocator;
  readonly tables: PageTables;
  readonly log: KernelLog;
  readonly faults: FaultInjection;
  readonly costs: KernelCosts;
  readonly flushing: Flushing;
  readonly config: VmallocConfig;
  /** Which structure is guarded by which lock, where that is checked; else empty. */
  readonly lockGuards: readonly LockGuard[];
  /** What the version of the kernel decides. */
  readonly version: KernelVersion;

  /** Where areas, vm_structs, page arrays and vmap blocks come from. */
  readonly slabs: KmemCaches;

  /** All vmap areas, by number. */
  readonly areas = new VmapAreas();
  /** All vm_structs, by number. */
  readonly vms = new VmStructs();
  /** The frames of areas that have pages of their own. */
  readonly pageArrays = new PageArrays();
  /** vmap blocks and the queues of CPUs. */
  readonly blocks: VmapBlocks;
  /** The gaps of the address space, and the lock that guards them (`free_vmap_area_lock`). */
  readonly freeTree: FreeTree;
  readonly freeTreeLock: SpinLock;
  /** What each CPU keeps at hand for a split of a gap (`ne_fit_preload_node`). */
  readonly neFitPreload: NeFitPreload;
  /** The vmap nodes: busy and lazily freed areas, and pools (`vmap_nodes`). */
  readonly nodes: readonly VmapNode[];
  /** Serializes purges (`vmap_purge_lock`). */
  readonly purgeLock: Mutex;
  /** The work that purges when too much is lazily freed (`drain_vmap_work`). Set by `vmallocInit`. */
  drainWork: Work | null = null;
  /** The thread of the drain work while it repeats and finds nothing to purge, though enough is counted. */
  drainSpinner: Thread | null = null;
  /** vm_structs whose allocation failed, the latest last, and the work that frees them (`cleanup_vm_area`). Set by `vmallocInit`. */
  readonly failedAreas: number[] = [];
  cleanupWork: Work | null = null;
  /** The cache of executable memory; null where the kernel has none, or has not used it yet (`execmemCacheOf`). */
  execmem: ExecmemAreas | null = null;
  /** Called in this order when address space runs out. */
  readonly purgeNotifiers: PurgeNotifier[] = [];
  /** What each CPU's `vfreeAtomic` has put off. */
  readonly deferredFrees: (DeferredFrees | undefined)[] = [];

  /** Pages freed and not yet purged (`vmap_lazy_nr`). */
  lazyNr = 0;
  /** Pages that vmalloc allocated and still holds (`nr_vmalloc_pages`). */
  nrVmallocPages = 0;
  /** The cache lines of these two and of others, which every CPU uses. */
  private readonly lines: VmallocLines;
  /** Purges so far, and how many of them found something. */
  purges = 0;
  purgesWithAreas = 0;

  /** Under which the accounts of cycles book purges. */
  readonly purgeActivity: number;

  /** Where new areas are wanted; null: where the kernel's rules put them. */
  placement: AreaPlacement | null = null;
  /** In which order areas are freed and purged; null: as it comes. */
  lazyOrder: LazyOrder | null = null;
  /** Sees calls begin and end; null when nothing does. {@link setProbes} sets it. */
  probes: CallProbes | null = null;
  private observer: VmallocEvents | null = null;
  private readonly zones: VmapZones;
  private readonly blockOffset: number;
  private readonly blocksPerByte: number;

  constructor({ mm, config: settings }: VmallocParts) {
    this.mm = mm;
    this.machine = mm.machine;
    this.loop = mm.loop;
    this.pages = mm.pages;
    this.tables = mm.tables;
    this.log = mm.log;
    this.faults = mm.faults;
    this.costs = mm.costs;
    this.flushing = mm.flushing;
    this.config = settings;
    this.version = mm.version;
    this.slabs = mm.slabs;
    this.areas.cache = mm.slabs.vmapArea;
    this.vms.cache = mm.slabs.vmStruct;
    const { loop, costs, config } = this;
    this.purgeActivity = loop.accounts.activity("purge");
    this.neFitPreload = new NeFitPreload(this.areas, loop, this.faults);
    const gapLines = new NodeLines(this.areas, loop.lines);
    this.freeTree = new FreeTree(this.areas, this.log, this.neFitPreload, gapLines);
    this.lines = vmallocLines(loop.lines, this.version.variablesLayout);
    this.freeTreeLock = newSpinLock("free_vmap_area_lock", loop, costs.lock, this.lines.locks);
    this.purgeLock = new Mutex("vmap_purge_lock", loop, costs.lock);
    this.zones = new VmapZones(config.zoneSizeBytes, config.vmapNodes);
    const { areas, log, zones } = this;
    const shared = { areas, log, zones, starts: new AreasByStart() };
    const rules = { mergesLazyAreas: this.version.mergesLazyAreas, areaLocksLine: this.lines.locks };
    this.nodes = makeVmapNodes(config.vmapNodes, shared, loop, costs.lock, rules);
    this.blocks = new VmapBlocks(config.possibleCpus, config.blockPages, loop, costs.lock);
    this.lockGuards = this.guardBy(mm.lockdep);
    this.blocksPerByte = 1 / this.blockBytes;
    this.blockOffset = offsetModulo(this.blockBytes, config.possibleCpus);
  }

  /** Has every use of what locks guard checked, and says what that is. */
  private guardBy(lockdep: Lockdep | null): readonly LockGuard[] {
    if (lockdep === null) return [];
    this.freeTree.guard = new LockGuard(lockdep, this.freeTreeLock, "free_vmap_area_root");
    this.blocks.lockdep = lockdep;
    return [this.freeTree.guard, ...this.nodes.flatMap((node) => node.guardBy(lockdep))];
  }

  /** Bytes of address space of a vmap block (`VMAP_BLOCK_SIZE`). */
  get blockBytes(): number {
    return this.config.blockPages * 4096;
  }

  /**
   * Has `notify` called when address space runs out (`register_vmap_purge_notifier`); the returned function takes it back.
   */
  registerVmapPurgeNotifier(notify: PurgeNotifier): () => void {
    this.purgeNotifiers.push(notify);
    return () => {
      const at = this.purgeNotifiers.indexOf(notify);
      if (at >= 0) this.purgeNotifiers.splice(at, 1);
    };
  }

  /** Is told of each step, those of page tables and flushes included; null when nothing observes. */
  get events(): VmallocEvents | null {
    return this.observer;
  }

  set events(observer: VmallocEvents | null) {
    this.observer = observer;
    this.mm.events = observer;
  }

  /** Has `probes` see each call of vmalloc and each flush from now on; null: nothing does any more. */
  setProbes(probes: CallProbes | null): void {
    this.probes = probes;
    this.flushing.probes = probes;
  }

  /** Changes the number of lazily freed pages, an atomic that all CPUs share; the new one. */
  addLazyNr(pages: number): number {
    this.loop.lines.write(this.lines.counters);
    this.loop.spend(this.costs.lock.uncontendedCycles);
    this.lazyNr += pages;
    return this.lazyNr;
  }

  /** Changes the number of pages that vmalloc holds, an atomic that all CPUs share. */
  addNrVmallocPages(pages: number): void {
    this.loop.lines.write(this.lines.counters);
    this.loop.spend(this.costs.lock.uncontendedCycles);
    this.nrVmallocPages += pages;
  }

  /** The current CPU reads where areas' objects come from and go to (`vmap_area_cachep`), and where the free tree is. */
  readAreaCache(): void {
    const { areaCache } = this.lines;
    if (areaCache >= 0) this.loop.lines.read(areaCache);
  }

  /** The line of an area comes to the current CPU, which writes it. */
  writeArea(area: number): void {
    if (this.loop.lines.isAlone) return;
    this.slabs.vmapArea.write(this.areas.objectOf(area));
  }

  /** The node that an address belongs to (`addr_to_node`). */
  addrToNode(address: number): VmapNode {
    return this.nodes[this.zones.nodeIdOf(address)];
  }

  /** The CPU under whose hash the vmap block at an address is filed (`addr_to_vb_xa`). */
  addrToVbXa(address: number): number {
    if (!this.version.blocks.filedByCpu) return 0;
    // A block has 2^19 bytes or more, a power of two: its number is an integer of 29 bits.
    return (((address * this.blocksPerByte) | 0) + this.blockOffset) % this.config.possibleCpus;
  }

  /** Puts the whole address space into the free tree: the gap [1, 2^48 - 1). */
  vmapInitFreeSpace(): void {
    this.freeTree.insertVmapArea(this.areas.make(1, ADDRESS_MAX));
  }
}

/**
 * Has `notify` called when address space runs out and the caller may sleep (`register_vmap_purge_notifier`); the returned
 * function takes it back (`unregister_vmap_purge_notifier`).
 */
export function registerVmapPurgeNotifier(state: Vmalloc, notify: PurgeNotifier): () => void {
  return state.registerVmapPurgeNotifier(notify);
}
