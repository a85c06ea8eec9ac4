/** The emulated kernel: a machine with its memory management, booted, and the calls that workloads make. */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { Machine, type MachineConfig } from "../../arch/machine.ts";
import type { CpuFeatures } from "../../arch/presets/preset.ts";
import type { KernelCode, Thread } from "../../arch/time/event-loop.ts";
import type { TopologyConfig } from "../../arch/time/topology.ts";
import {
  __getVmAreaCaller,
  __vmallocNode,
  __vmallocNodeRange,
  type AddressRange,
  type Blocking,
  type BugName,
  type CacheMode,
  type Call,
  ConfigError,
  DEFAULT_KERNEL_COSTS,
  DEFAULT_KERNEL_VERSION,
  FaultInjection,
  type FlushPolicy,
  FRAME_CALLER,
  freeVmArea,
  GFP_KERNEL,
  getVmArea,
  idleStateCycles,
  ioremap,
  iounmap,
  isolatesPageTables,
  isReady,
  type KernelCosts,
  KernelLog,
  KernelMm,
  type KernelVersion,
  kernelVersionByName,
  type MitigationMode,
  make,
  makeDirectMap,
  mitigationCycles,
  NotEnoughMemory,
  NUMA_NO_NODE,
  PageAllocator,
  PageTables,
  resultOf,
  type SpinlockKind,
  type UserSpaceTables,
  VMALLOC_REQUEST,
  type Vmalloc,
  type VmallocConfig,
  verifyVmalloc,
  vmallocConfig,
  vmallocHuge,
  vmallocInit,
  vmap,
  vmUnmapAliases,
  vrealloc,
  vunmap,
  vzalloc,
  withReturnThunks,
} from "../../mm/index.ts";
import { formatRange } from "../../mm/lib/kernel-log.ts";
import { vfree } from "../../mm/vmalloc/vfree.ts";
import { vmMapRam, vmUnmapRam } from "../../mm/vmalloc/vm-map-ram.ts";
import { vmalloc } from "../../mm/vmalloc/vmalloc.ts";
import { type GuestConfig, hostOf } from "../guests/guest-config.ts";
import { GuestHost } from "../guests/guest-host.ts";
import { levelOfPage } from "../guests/hypervisor.ts";

/** What a kernel is booted with. */
export interface KernelConfig {
  /** CPUs of the machine, all online. */
  readonly cpus: number;
  /** Bytes of memory. */
  readonly memoryBytes: number;
  /** The machine's microarchitecture, by name or as data. */
  readonly preset: MachineConfig["preset"];
  /** CPU features to add to or to take from the preset's. */
  readonly features?: Partial<CpuFeatures> | undefined;
  /** Sockets, cores and threads; absent: one thread a core, sockets of 64 cores. */
  readonly topology?: TopologyConfig | undefined;
  /** NUMA nodes that share the memory equally. */
  readonly numaNodes: number;
  /** How flushes of kernel addresses reach the CPUs. Default: interrupts. */
  readonly flushPolicy?: FlushPolicy | undefined;
  /** CPUs that the flush policy `deferred` leaves in peace while they are in user mode. Default: none. */
  readonly isolatedCpus?: readonly number[] | undefined;
  /** Page-table isolation (`pti=on`): kernel pages are not global. Default: off. */
  readonly pageTableIsolation?: boolean | undefined;
  /** Mitigations against attacks by speculation, page-table isolation included where the part needs it. Default: off. */
  readonly mitigations?: MitigationMode | undefined;
  /**
   * Levels of the memory cgroup that user pages and pages with `__GFP_ACCOUNT` are charged to, the root included: 0 to 16. Default: 0,
   * none.
   */
  readonly memcgLevels?: number | undefined;
  /** How spinlocks are taken: queued, or by test and set as in a guest whose hypervisor does not help them. Default: `queued`. */
  readonly spinlocks?: SpinlockKind | undefined;
  /**
   * The deepest state in which idle CPUs wait: one of the preset's (`C6`), `all`, or `poll`. Default: one state, from which they wake in
   * `costs.ipi.idleWakeCycles`.
   */
  readonly idleStates?: string | undefined;
  /** Ranges of more pages than this are flushed whole (`tlb_single_page_flush_ceiling`). Default: 33. */
  readonly flushCeilingPages?: number | undefined;
  /**
   * Flush every TLB whole, all PCIDs and their paging-structure caches, before a kernel page table that a large page replaces is given
   * back. Default: off, as in Linux 6.12, which flushes one page there.
   */
  readonly flushFreedTables?: boolean | undefined;
  /** Check locking: guards of structures and the order of locks (`CONFIG_PROVE_LOCKING`). Default: off. */
  readonly proveLocking?: boolean | undefined;
  /** The version of Linux, by name (`6.1`, `6.6`, `6.12` or `7.3`) or as data. Default: `6.12`. */
  readonly kernel?: string | KernelVersion | undefined;
  /** Runs the kernel as a guest of a host of its own, of which this says what it is like. Default: on the machine itself. */
  readonly guest?: GuestConfig | undefined;
  /** What kernel primitives cost. */
  readonly costs: KernelCosts;
  /** Bugs that Linux has had and that are to be there, by name (`HISTORICAL_BUGS`). Default: none. */
  readonly bugs?: readonly BugName[] | undefined;
  /** Settings of vmalloc; defaults are the kernel's. */
  readonly vmalloc: Partial<VmallocConfig>;
}

/** 4 CPUs, 4 GiB, Skylake, one NUMA node. */
export const DEFAULT_KERNEL_CONFIG: KernelConfig = {
  cpus: 4,
  memoryBytes: 2 ** 32,
  preset: "skylake",
  numaNodes: 1,
  costs: DEFAULT_KERNEL_COSTS,
  vmalloc: {},
};

/** Least memory that a kernel boots in. */
const MEMORY_BYTES_MIN = 16 * 2 ** 20;

/**
 * Boots a kernel: frames, kernel page tables with the direct map, vmalloc, and every CPU on those tables.
 * @throws ConfigError for a setting that is not possible
 */
export function bootKernel(config: Partial<KernelConfig> = {}): Kernel {
  return new Kernel({ ...DEFAULT_KERNEL_CONFIG, ...config });
}

/** A booted kernel. The calls below run to their end on `currentCpu`; address 0 is NULL. */
export class Kernel {
  readonly config: KernelConfig;
  readonly machine: Machine;
  /** The host below, where the kernel is a guest; else null. */
  readonly host: GuestHost | null;
  readonly pages: PageAllocator;
  readonly tables: PageTables;
  readonly log = new KernelLog();
  readonly faults = new FaultInjection();
  /** What vmalloc and user address spaces stand on: the parts above, and how they are flushed. */
  readonly mm: KernelMm;
  /** The state of vmalloc. */
  readonly vm: Vmalloc;
  /** The CPU on which the calls run. */
  currentCpu = 0;
  /** Whether calls of workloads' threads are activities of their own in the accounts of cycles. Off: reports count them as other code. */
  namesCalls = false;

  constructor(config: KernelConfig) {
    const { cpus, memoryBytes, numaNodes } = config;
    if (!Number.isInteger(memoryBytes) || memoryBytes < MEMORY_BYTES_MIN || memoryBytes % PAGE_SIZE !== 0) {
      throw new ConfigError("memoryBytes", memoryBytes, `a multiple of ${PAGE_SIZE}, at least ${MEMORY_BYTES_MIN}`);
    }
    if (!Number.isInteger(numaNodes) || numaNodes < 1 || numaNodes > 64) {
      throw new ConfigError("numaNodes", numaNodes, "a whole number from 1 to 64");
    }
    const { guest } = config;
    this.config = config;
    this.machine = new Machine({ ...machineConfig(config), ...(guest === undefined ? {} : hostOf(config, guest)) });
    this.host = guest === undefined ? null : new GuestHost(this.machine, guest);
    const { memory, loop } = this.machine;
    this.pages = new PageAllocator(memory, cpus, numaNodes, this.faults);
    this.tables = new PageTables(memory, this.pages, this.faults, this.log, loop, 4);
    const { guestPages } = guest ?? {};
    const shift = guestPages === undefined ? undefined : 3 + 9 * levelOfPage(guestPages);
    const { mitigations = "off" } = config;
    const { preset } = this.machine;
    const pageTableIsolation = config.pageTableIsolation === true || isolatesPageTables(preset, mitigations);
    makeDirectMap(this.tables, !pageTableIsolation, shift);
    const { kernel = DEFAULT_KERNEL_VERSION } = config;
    const version = typeof kernel === "string" ? kernelVersionByName(kernel) : kernel;
    this.mm = new KernelMm({
      machine: this.machine,
      pages: this.pages,
      tables: this.tables,
      log: this.log,
      faults: this.faults,
      costs: withReturnThunks(config.costs, preset, mitigations),
      proveLocking: config.proveLocking,
      memcgLevels: config.memcgLevels,
      spinlocks: config.spinlocks,
      version,
      bugs: config.bugs,
      flushing: {
        policy: config.flushPolicy,
        isolatedCpus: config.isolatedCpus,
        pageTableIsolation,
        mitigations: mitigationCycles(preset, mitigations),
        idleStates: config.idleStates === undefined ? undefined : idleStateCycles(preset, config.idleStates),
        flushCeilingPages: config.flushCeilingPages,
        flushFreedTables: config.flushFreedTables,
      },
    });
    // Only now the costs are known to be right.
    const { contextSwitch } = this.mm.flushing.mitigations;
    loop.contextSwitchCycles = this.mm.costs.contextSwitchCycles + contextSwitch;
    const allowHuge = guestPages === "4K" ? { allowHuge: false } : {};
    const given = { onlineCpus: cpus, ...allowHuge, ...config.vmalloc };
    this.vm = vmallocInit({ mm: this.mm, config: vmallocConfig(given, version) });
    this.host?.start(this.mm);
    for (const cpu of this.machine.cpus) cpu.writeCr3(this.tables.rootFrame * PAGE_SIZE);
  }

  /**
   * Makes a call on `cpu` and runs it to its end; other CPUs act where it waits for them.
   * `kernel.run(() => vmalloc(kernel.vm, 8192))`; `kernel.run(vmalloc(kernel.vm, 8192))` with calls of the public library, which
   * begin only here.
   * @throws TypeError for a call that has been made already
   */
  run<T>(call: Call<T> | Blocking<T>, cpu: number = this.currentCpu): T {
    const { loop } = this.machine;
    loop.enterSync(cpu);
    try {
      return this.finish(make(call as Call<T>));
    } finally {
      loop.leaveSync();
    }
  }

  /** Within `enterSync` and `leaveSync`: the value of a call that was made. */
  private finish<T>(found: Blocking<T>): T {
    return isReady(found) ? resultOf(found) : this.machine.loop.finishSync(found);
  }

  /** Starts a kernel thread; it runs when the loop does. */
  spawn(name: string, cpu: number, code: KernelCode<unknown>): Thread {
    return this.machine.loop.spawn(name, cpu, code);
  }

  /** Lets threads and queued work run until nothing is left to do. */
  runUntilIdle(): void {
    this.machine.loop.run();
  }

  /**
   * What is wrong in the whole state, address spaces of processes with it, one line a finding; empty when all is well. No call may be
   * under way.
   * @param others page tables for user addresses that a program made by itself
   */
  verify(others: readonly UserSpaceTables[] = []): string[] {
    return [...verifyVmalloc(this.vm, others), ...(this.host?.balloon?.verify() ?? [])];
  }

  /** Single frames for a caller's own use; throws NotEnoughMemory when there are not enough. */
  allocFrames(count: number): Uint32Array {
    const frames = new Uint32Array(count);
    const got = this.pages.allocBulk(this.currentCpu, count, FRAME_CALLER, GFP_KERNEL, NUMA_NO_NODE, frames, 0);
    if (got < count) {
      this.pages.freeBulk(this.currentCpu, frames, 0, got);
      throw new NotEnoughMemory(`${count} frames were asked for, ${got} are free`);
    }
    return frames;
  }

  /** Gives back what `allocFrames` returned. */
  freeFrames(frames: Uint32Array): void {
    this.pages.freeBulk(this.currentCpu, frames, 0, frames.length);
  }

  /** `vmalloc`: whole pages for `sizeBytes`; the address, or 0. @param caller what `/proc/vmallocinfo` shows */
  vmalloc(sizeBytes: number, caller?: string): number {
    // As `run` does, without a function object for each call: so here and in `vfree`, which callers' loops are made of.
    const { loop } = this.machine;
    loop.enterSync(this.currentCpu);
    try {
      return this.finish(vmalloc(this.vm, sizeBytes, caller));
    } finally {
      loop.leaveSync();
    }
  }

  /** `vzalloc`: zeroed memory; the address, or 0. */
  vzalloc(sizeBytes: number, caller?: string): number {
    return this.run(() => vzalloc(this.vm, sizeBytes, caller));
  }

  /** `__vmalloc_node` with an alignment. */
  vmallocAlign(sizeBytes: number, align: number, caller?: string): number {
    return this.run(() => __vmallocNode(this.vm, sizeBytes, align, GFP_KERNEL, NUMA_NO_NODE, caller));
  }

  /** `vmalloc_huge`: mapped with pages of 2 MiB where it is large enough; the address, or 0. */
  vmallocHuge(sizeBytes: number, caller?: string): number {
    return this.run(() => vmallocHuge(this.vm, sizeBytes, GFP_KERNEL, caller));
  }

  /** `__vmalloc_node_range` in a window of addresses, with allocation flags. */
  vmallocRange(sizeBytes: number, range: AddressRange, gfp: number = GFP_KERNEL, caller?: string): number {
    return this.run(() => __vmallocNodeRange(this.vm, sizeBytes, { ...VMALLOC_REQUEST, range, gfp }, caller));
  }

  /** Another size for vmalloc'ed memory; its address, or 0: then the old memory is still there. */
  vrealloc(address: number, sizeBytes: number, caller?: string): number {
    return this.run(() => vrealloc(this.vm, address, sizeBytes, GFP_KERNEL, caller));
  }

  /** `vfree` of what one of these returned, or of 0. An address that is none is warned of. */
  vfree(address: number): void {
    const { loop } = this.machine;
    loop.enterSync(this.currentCpu);
    try {
      this.finish(vfree(this.vm, address));
    } finally {
      loop.leaveSync();
    }
  }

  /** Maps frame numbers at consecutive addresses. */
  vmap(frames: ArrayLike<number>, caller?: string): number {
    return this.run(() => vmap(this.vm, Uint32Array.from(frames), undefined, undefined, caller));
  }

  /** `vunmap` of what `vmap` returned. */
  vunmap(address: number): void {
    this.run(() => vunmap(this.vm, address));
  }

  /** `vm_map_ram`: maps frame numbers at consecutive addresses, small numbers of them in a vmap block; the address, or 0. */
  vmMapRam(frames: ArrayLike<number>): number {
    return this.run(() => vmMapRam(this.vm, Uint32Array.from(frames)));
  }

  /** `vm_unmap_ram` of as many pages as were mapped there. */
  vmUnmapRam(address: number, pages: number): void {
    this.run(() => vmUnmapRam(this.vm, address, pages));
  }

  /** `vm_unmap_aliases`: flushes all that was unmapped lazily. */
  vmUnmapAliases(): void {
    this.run(() => vmUnmapAliases(this.vm));
  }

  /** Reserves address space; its address, or 0. */
  getVmArea(sizeBytes: number, vmFlags: number, caller?: string): number {
    const vm = this.run(() => getVmArea(this.vm, sizeBytes, vmFlags, caller));
    return vm === 0 ? 0 : this.vm.vms.addr[vm];
  }

  /** Reserves address space in [start, end); its address, or 0. */
  getVmAreaRange(sizeBytes: number, vmFlags: number, start: number, end: number, caller?: string): number {
    const vm = this.run(() => __getVmAreaCaller(this.vm, sizeBytes, vmFlags, start, end, caller));
    return vm === 0 ? 0 : this.vm.vms.addr[vm];
  }

  /** Releases what `getVmArea` reserved. An address that was not reserved is warned of. */
  freeVmArea(address: number): void {
    this.run(() => freeVmAreaAt(this.vm, address));
  }

  /** `ioremap` of a device's physical range; the address, or 0. @param mode how it is cached. Default: not at all */
  ioremap(phys: number, sizeBytes: number, mode?: CacheMode, caller?: string): number {
    return this.run(() => ioremap(this.vm, phys, sizeBytes, mode, caller));
  }

  /** `iounmap` of what `ioremap` returned. */
  iounmap(address: number): void {
    this.run(() => iounmap(this.vm, address));
  }
}

/** The machine that a kernel is booted on. */
function machineConfig({ cpus, memoryBytes, preset, features = {}, topology }: KernelConfig): MachineConfig {
  return { cpus, memoryBytes, preset, features, topology };
}

function* freeVmAreaAt(state: Vmalloc, address: number): KernelCode<void> {
  const node = state.addrToNode(address);
  const area = node.busy.findStart(address);
  const vm = area === 0 ? 0 : state.areas.vmOf(area);
  if (vm !== 0) yield* freeVmArea(state, vm);
  else state.log.warnOnce("free_vm_area", `free_vm_area of ${formatRange(address, address)}: not there`);
}
