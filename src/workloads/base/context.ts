/** What a workload of one's own works with: the calls of one kernel thread, memory, time and random numbers. */

import type { Cpu } from "../../../arch/index.ts";
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import { compute, type KernelCode } from "../../../arch/time/event-loop.ts";
import {
  type CacheMode,
  type Call,
  ioremap,
  iounmap,
  make,
  newSpinLock,
  type SpinLock,
  vmallocHuge,
  vmap,
  vmUnmapAliases,
  vunmap,
  vzalloc,
  wait,
} from "../../../mm/index.ts";
import { sleepUntil } from "../../../mm/kernel/jiffies.ts";
import { vfree } from "../../../mm/vmalloc/vfree.ts";
import { vmMapRam, vmUnmapRam } from "../../../mm/vmalloc/vm-map-ram.ts";
import { vmalloc } from "../../../mm/vmalloc/vmalloc.ts";
import { ValueError } from "../../input/errors.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { type Random, randomStream } from "../../machine/random.ts";
import {
  accessSizeArgument,
  addressArgument,
  cacheModeArgument,
  callArgument,
  cyclesArgument,
  framesArgument,
  nameArgument,
  PAGES_MAX,
  sizeArgument,
  usecArgument,
  wholeArgument,
  wordArgument,
} from "./call-arguments.ts";
import type { OperationCounts } from "./operation-counts.ts";
import type { Turns } from "./turns.ts";

/** The code of a workload's thread: a generator that passes on, with `yield*`, the pauses of the calls that it makes. */
export type WorkloadCode = KernelCode<void>;

/** Counts that all threads of a workload share. */
export interface SharedCounts {
  readonly operations: OperationCounts;
  loads: number;
  stores: number;
  /** Loads of `expect` that gave something else. */
  wrongLoads: number;
  /** Frames that the threads have allocated and not freed. */
  readonly frames: Set<number>;
  readonly onOperation: () => void;
}

/** Accesses of a thread to memory, all of which wait for each other, or none of which does. */
export class ThreadAccesses {
  private readonly maker: Pick<Cpu, "load" | "store">;
  private readonly counts: SharedCounts;

  /** @param maker `Cpu`, or its independent accesses */
  constructor(maker: Pick<Cpu, "load" | "store">, counts: SharedCounts) {
    this.maker = maker;
    this.counts = counts;
  }

  /** Loads 1 to 4 bytes through the CPU's MMU. @throws PageFault */
  load(address: number, sizeBytes = 4): number {
    addressArgument("load", address);
    accessSizeArgument("load", sizeBytes);
    this.counts.loads++;
    return this.maker.load(address, sizeBytes);
  }

  /** Stores 1 to 4 bytes through the CPU's MMU. @throws PageFault */
  store(address: number, value: number, sizeBytes = 4): void {
    addressArgument("store", address);
    wordArgument("store", value);
    accessSizeArgument("store", sizeBytes);
    this.counts.stores++;
    this.maker.store(address, sizeBytes, value);
  }

  /** Loads four bytes and compares; a difference counts as a wrong load, which fails the run. @throws PageFault */
  expect(address: number, value: number): void {
    addressArgument("expect", address);
    wordArgument("expect", value);
    if ((this.load(address) | 0) !== (value | 0)) this.counts.wrongLoads++;
  }
}

/** Accesses that do not wait for each other, and work that waits for none of them. */
export class IndependentThreadAccesses extends ThreadAccesses {
  private readonly independent: Cpu["independent"];

  constructor(independent: Cpu["independent"], counts: SharedCounts) {
    super(independent, counts);
    this.independent = independent;
  }

  /** Work of the workload's own that begins before the accesses are complete: advances the CPU's clock as far as they do not cover it. */
  spend(cycles: number): void {
    this.independent.spend(cyclesArgument("spend", cycles));
  }
}

const NOT_NAMED = -1;

/**
 * One kernel thread of a workload. Calls that may wait are generators: `const p = yield* thread.vmalloc(8192)`. Addresses
 * are 48-bit numbers; 0 is NULL. Between calls other CPUs, interrupts and threads get their turn.
 */
export class WorkloadThread {
  /** The CPU that runs this thread, and how many there are. */
  readonly cpu: number;
  readonly cpus: number;
  /** Operations that this thread is asked to make (`--ops` shared out); a workload may do something else. */
  readonly operations: number;
  /** Random numbers of this thread's own, the same for the same seed. */
  readonly random: Random;
  /** The whole kernel, to look at. */
  readonly kernel: Kernel;
  /**
   * Accesses that do not wait for each other, as those of a copy or a scan: what one reads does not say where the next goes. Their hits of
   * the second level and their page walks overlap. `load`, `store` and `expect` of the thread itself wait for each other.
   */
  readonly independent: IndependentThreadAccesses;
  private readonly dependent: ThreadAccesses;
  private readonly counts: SharedCounts;
  private readonly turns: Turns;
  private readonly caller: string;

  /** @param counts as `turns`, those of all threads */
  constructor(
    kernel: Kernel,
    name: string,
    cpu: number,
    operations: number,
    seed: number,
    counts: SharedCounts,
    turns: Turns,
  ) {
    this.kernel = kernel;
    this.cpu = cpu;
    this.cpus = kernel.machine.loop.cpus;
    this.operations = operations;
    this.random = randomStream(seed, cpu);
    this.counts = counts;
    const executing = kernel.machine.cpus[cpu];
    this.dependent = new ThreadAccesses(executing, counts);
    this.independent = new IndependentThreadAccesses(executing.independent, counts);
    this.turns = turns;
    this.caller = `${name.replace(/\W+/g, "_")}+0x0/0x0`;
  }

  /** `vmalloc`: the address, or 0. */
  *vmalloc(sizeBytes: number): KernelCode<number> {
    sizeArgument("vmalloc", sizeBytes);
    yield* this.turn();
    const outer = this.enter("vmalloc");
    const address = yield* wait(vmalloc(this.kernel.vm, sizeBytes, this.caller));
    this.leave(outer);
    return this.allocated("vmalloc", sizeBytes, address);
  }

  /** `vzalloc`: the same, filled with zeros. */
  *vzalloc(sizeBytes: number): KernelCode<number> {
    sizeArgument("vzalloc", sizeBytes);
    yield* this.turn();
    const outer = this.enter("vzalloc");
    const address = yield* wait(vzalloc(this.kernel.vm, sizeBytes, this.caller));
    this.leave(outer);
    return this.allocated("vzalloc", sizeBytes, address);
  }

  /** `vmalloc_huge`: with 2 MiB pages where they fit. */
  *vmallocHuge(sizeBytes: number): KernelCode<number> {
    sizeArgument("vmalloc_huge", sizeBytes);
    yield* this.turn();
    const outer = this.enter("vmalloc_huge");
    const address = yield* wait(vmallocHuge(this.kernel.vm, sizeBytes, undefined, this.caller));
    this.leave(outer);
    return this.allocated("vmalloc_huge", sizeBytes, address);
  }

  /** `vfree`. */
  *vfree(address: number): KernelCode<void> {
    addressArgument("vfree", address);
    yield* this.turn();
    const outer = this.enter("vfree");
    yield* wait(vfree(this.kernel.vm, address));
    this.leave(outer);
    this.done("vfree", 0);
  }

  /** `vmap` of frames from {@link allocFrames}. */
  *vmap(frames: Uint32Array): KernelCode<number> {
    const checked = this.frames("vmap", frames);
    yield* this.turn();
    const outer = this.enter("vmap");
    const address = yield* vmap(this.kernel.vm, checked, undefined, undefined, this.caller);
    this.leave(outer);
    return this.allocated("vmap", frames.length * PAGE_SIZE, address);
  }

  /** `vunmap`. */
  *vunmap(address: number): KernelCode<void> {
    addressArgument("vunmap", address);
    yield* this.turn();
    const outer = this.enter("vunmap");
    yield* vunmap(this.kernel.vm, address);
    this.leave(outer);
    this.done("vunmap", 0);
  }

  /** `vm_map_ram` of frames from {@link allocFrames}. */
  *vmMapRam(frames: Uint32Array): KernelCode<number> {
    const checked = this.frames("vm_map_ram", frames);
    yield* this.turn();
    const outer = this.enter("vm_map_ram");
    const address = yield* wait(vmMapRam(this.kernel.vm, checked));
    this.leave(outer);
    return this.allocated("vm_map_ram", frames.length * PAGE_SIZE, address);
  }

  /** `vm_unmap_ram`, with the number of pages that were mapped. */
  *vmUnmapRam(address: number, pages: number): KernelCode<void> {
    addressArgument("vm_unmap_ram", address);
    wholeArgument("vm_unmap_ram", pages, 0, PAGES_MAX, "a number of pages");
    yield* this.turn();
    const outer = this.enter("vm_unmap_ram");
    yield* wait(vmUnmapRam(this.kernel.vm, address, pages));
    this.leave(outer);
    this.done("vm_unmap_ram", pages * PAGE_SIZE);
  }

  /** `vm_unmap_aliases`. */
  *vmUnmapAliases(): KernelCode<void> {
    yield* this.turn();
    const outer = this.enter("vm_unmap_aliases");
    yield* vmUnmapAliases(this.kernel.vm);
    this.leave(outer);
    this.done("vm_unmap_aliases", 0);
  }

  /** `ioremap` of a physical range; `mode` is the cache mode, uncached when absent. */
  *ioremap(phys: number, sizeBytes: number, mode?: CacheMode): KernelCode<number> {
    wholeArgument("ioremap", phys, 0, 2 ** 52 - 1, "a physical address");
    sizeArgument("ioremap", sizeBytes);
    cacheModeArgument("ioremap", mode);
    yield* this.turn();
    const outer = this.enter("ioremap");
    const address = yield* ioremap(this.kernel.vm, phys, sizeBytes, mode, this.caller);
    this.leave(outer);
    return this.allocated("ioremap", sizeBytes, address);
  }

  /** `iounmap`. */
  *iounmap(address: number): KernelCode<void> {
    addressArgument("iounmap", address);
    yield* this.turn();
    const outer = this.enter("iounmap");
    yield* iounmap(this.kernel.vm, address);
    this.leave(outer);
    this.done("iounmap", 0);
  }

  /** A lock in memory that the workload has mapped: unmapping it while it is held is warned of (`spin_lock_init`). */
  spinLockInit(address: number, name: string): SpinLock {
    addressArgument("spin_lock_init", address);
    nameArgument("spin_lock_init", name);
    const { mm } = this.kernel;
    const lock = newSpinLock(name, mm.loop, mm.costs.lock);
    mm.locksInMemory.place(lock, address);
    return lock;
  }

  /** Lets the thread sleep; its CPU does other things meanwhile. */
  *sleep(usec: number): KernelCode<void> {
    usecArgument("sleep", usec);
    const { loop, preset } = this.kernel.machine;
    yield* sleepUntil(loop, loop.nowCycles() + usec * 1000 * preset.frequencyGhz.value);
  }

  /** Lets others have their turn; the calls above do it themselves. */
  *turn(): KernelCode<void> {
    if (this.turns.isDue()) yield* this.turns.take();
  }

  /** Single frames, for `vmap` and `vmMapRam`; null when there are not enough. */
  allocFrames(count: number): Uint32Array | null {
    wholeArgument("allocFrames", count, 0, PAGES_MAX, "a number of frames");
    if (this.kernel.pages.freePages < count) return null;
    const frames = this.kernel.allocFrames(count);
    for (const frame of frames) this.counts.frames.add(frame);
    return frames;
  }

  /** Gives back what `allocFrames` returned. */
  freeFrames(frames: Uint32Array): void {
    const checked = this.frames("freeFrames", frames);
    for (const frame of checked) {
      if (this.counts.frames.delete(frame)) continue;
      const message = `freeFrames of frame ${frame}: expected frames from allocFrames that have not been freed`;
      throw new ValueError("freeFrames", frame, "frames from allocFrames", message);
    }
    this.kernel.freeFrames(checked);
  }

  /** Loads 1 to 4 bytes through the CPU's MMU. @throws PageFault */
  load(address: number, sizeBytes = 4): number {
    return this.dependent.load(address, sizeBytes);
  }

  /** Stores 1 to 4 bytes through the CPU's MMU. @throws PageFault */
  store(address: number, value: number, sizeBytes = 4): void {
    this.dependent.store(address, value, sizeBytes);
  }

  /** Loads four bytes and compares; a difference counts as a wrong load, which fails the run. @throws PageFault */
  expect(address: number, value: number): void {
    this.dependent.expect(address, value);
  }

  /** Makes any other call of the kernel that returns an address or 0, and counts it under `name`. */
  *allocate(name: string, sizeBytes: number, call: Call<number>): KernelCode<number> {
    nameArgument("allocate", name);
    sizeArgument("allocate", sizeBytes);
    callArgument("allocate", call);
    yield* this.turn();
    const outer = this.enter(name);
    const address = yield* wait(make(call));
    this.leave(outer);
    return this.allocated(name, sizeBytes, address);
  }

  /** Makes any other call of the kernel, and counts it under `name`. */
  *call<T>(name: string, call: Call<T>): KernelCode<T> {
    nameArgument("call", name);
    callArgument("call", call);
    yield* this.turn();
    const outer = this.enter(name);
    const result = yield* wait(make(call));
    this.leave(outer);
    this.done(name, 0);
    return result;
  }

  /** Work of the workload's own, too short for an interrupt to come between: advances the CPU's clock. */
  spend(cycles: number): void {
    this.kernel.machine.loop.spend(cyclesArgument("spend", cycles));
  }

  /** Work of the workload's own that takes interrupts when they come, as all code does that has not disabled them. */
  *compute(cycles: number): KernelCode<void> {
    const { currentThread } = this.kernel.machine.loop;
    const checked = cyclesArgument("compute", cycles);
    if (currentThread !== null) yield* compute(currentThread, checked);
  }

  /** The CPU's clock, in cycles. */
  nowCycles(): number {
    return this.kernel.machine.loop.nowCycles();
  }

  /** Begins a call, as an activity of its own where the kernel names calls. @returns the activity before; `NOT_NAMED` where it does not */
  private enter(name: string): number {
    if (!this.kernel.namesCalls) return NOT_NAMED;
    const { loop } = this.kernel.machine;
    return loop.enterActivity(loop.accounts.activity(name));
  }

  private leave(outer: number): void {
    if (outer !== NOT_NAMED) this.kernel.machine.loop.enterActivity(outer);
  }

  private frames(call: string, frames: unknown): Uint32Array {
    return framesArgument(call, frames, this.kernel.machine.memory);
  }

  private allocated(name: string, sizeBytes: number, address: number): number {
    this.counts.operations.add(name, sizeBytes, address !== 0);
    this.counts.onOperation();
    return address;
  }

  private done(name: string, sizeBytes: number): void {
    this.counts.operations.add(name, sizeBytes, true);
    this.counts.onOperation();
  }
}
