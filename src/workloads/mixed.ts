/**
 * The `mixed` workload: a kernel thread on each CPU makes random calls of vmalloc's API, stores to what it gets, and whoever
 * frees it, on whichever CPU, checks by loads that the memory is still what it was.
 */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { type KernelCode, PAUSE_RESCHED, PAUSE_TURN } from "../../arch/time/event-loop.ts";
import {
  type Blocking,
  type Call,
  ioremap,
  iounmap,
  make,
  vfree,
  vmalloc,
  vmallocHuge,
  vmap,
  vmMapRam,
  vmUnmapAliases,
  vmUnmapRam,
  vunmap,
  vzalloc,
  wait,
} from "../../mm/index.ts";
import type { Kernel } from "../machine/kernel.ts";
import { type Random, randomStream } from "../machine/random.ts";
import { OperationCounts } from "./base/operation-counts.ts";
import { runToEnd } from "./base/thread-workload.ts";
import type { Workload, WorkloadOptions, WorkloadResult } from "./base/workload.ts";

/** Live allocations beyond which a CPU's thread only frees. */
const LIVE_PER_CPU = 48;
/** Frames that `vmap` and `vm_map_ram` map. */
const POOL_FRAMES = 1024;
/** Pages of one allocation that are stored to. */
const TOUCHED_PAGES = 16;
/** Words stored in each of these, and the bytes from one to the next. */
const TOUCHED_WORDS = 8;
const WORD_STEP_BYTES = PAGE_SIZE / TOUCHED_WORDS;
/** Where the registers of an emulated device are: in the hole below 4 GiB. */
const DEVICE_PHYS = 0xd000_0000;
const PROGRESS_OPERATIONS = 256;

/** How often each allocation is chosen (of the sum of all), and how many pages it asks for. */
const ALLOCATIONS = [
  { name: "vmalloc", weight: 36, pagesMin: 1, pagesMax: 64 },
  { name: "vzalloc", weight: 8, pagesMin: 1, pagesMax: 16 },
  { name: "vmalloc_huge", weight: 2, pagesMin: 512, pagesMax: 2048 },
  { name: "vmap", weight: 10, pagesMin: 1, pagesMax: 48 },
  { name: "vm_map_ram", weight: 40, pagesMin: 1, pagesMax: 64 },
  { name: "vm_map_ram", weight: 2, pagesMin: 65, pagesMax: 80 },
  { name: "ioremap", weight: 2, pagesMin: 1, pagesMax: 16 },
] as const;

const WEIGHTS = ALLOCATIONS.reduce((sum, choice) => sum + choice.weight, 0);

type AllocationName = (typeof ALLOCATIONS)[number]["name"];

interface Allocation {
  readonly name: AllocationName;
  readonly address: number;
  readonly pages: number;
  /** What its first page holds; page `i` holds `tag + i`. Not for mapped frames and devices. */
  readonly tag: number;
  /** First frame of the pool that it maps, for `vmap` and `vm_map_ram`. */
  readonly firstFrame: number;
}

/** The workload that `mmulab run` runs by default. */
export const mixed: Workload = {
  name: "mixed",
  summary: "vmalloc, vmap, vm_map_ram and ioremap of random sizes on every CPU, freed by any CPU",
  start: (kernel, options) => new MixedRun(kernel, options).start(),
  run: (kernel, options) => runToEnd(kernel, new MixedRun(kernel, options).start()),
};

class MixedRun {
  private readonly kernel: Kernel;
  private readonly options: WorkloadOptions;
  private readonly counts = new OperationCounts();
  private readonly live: Allocation[] = [];
  private readonly pool: Uint32Array;
  /** What each frame of the pool holds. */
  private readonly poolValues: Int32Array;
  private operations = 0;
  private nextTag = 1;
  private loads = 0;
  private stores = 0;
  private wrongLoads = 0;

  constructor(kernel: Kernel, options: WorkloadOptions) {
    this.kernel = kernel;
    this.options = options;
    this.pool = kernel.allocFrames(POOL_FRAMES);
    this.poolValues = new Int32Array(POOL_FRAMES);
    for (const frame of this.pool) kernel.machine.memory.zeroFrame(frame);
  }

  start(): () => WorkloadResult {
    const { kernel, options } = this;
    const cpus = kernel.machine.loop.cpus;
    for (let cpu = 0; cpu < cpus; cpu++) {
      const share = Math.floor((options.operations + cpus - 1 - cpu) / cpus);
      kernel.spawn(`mixed/${cpu}`, cpu, this.thread(cpu, share));
    }
    return () => ({
      operations: this.counts.byName,
      loads: this.loads,
      stores: this.stores,
      wrongLoads: this.wrongLoads,
    });
  }

  private *thread(cpu: number, operations: number): KernelCode<void> {
    const { loop } = this.kernel.machine;
    const random = randomStream(this.options.seed, cpu);
    for (let i = 0; i < operations; i++) {
      while (loop.mustYield()) yield PAUSE_TURN;
      this.operations++;
      if (this.operations % PROGRESS_OPERATIONS === 0) this.options.onProgress?.(this.operations);
      yield* this.operate(cpu, random);
      // The drain work gets its turn between calls, as where the kernel's threads call cond_resched.
      if (loop.needsResched()) yield PAUSE_RESCHED;
    }
  }

  private *operate(cpu: number, random: Random): KernelCode<void> {
    const choice = random.between(1, 1000);
    if (choice <= 2) {
      yield* this.as("vm_unmap_aliases", vmUnmapAliases(this.kernel.vm));
      this.counts.add("vm_unmap_aliases", 0, true);
    } else if (
      this.live.length > 0 &&
      (choice <= 480 || this.live.length >= LIVE_PER_CPU * this.kernel.machine.loop.cpus)
    ) {
      yield* this.freeOne(cpu, random);
    } else {
      yield* this.allocateOne(cpu, random);
    }
  }

  private *allocateOne(cpu: number, random: Random): KernelCode<void> {
    let roll = random.between(1, WEIGHTS);
    let at = 0;
    while (roll > ALLOCATIONS[at].weight) roll -= ALLOCATIONS[at++].weight;
    const { name, pagesMin, pagesMax } = ALLOCATIONS[at];
    const pages = random.between(pagesMin, pagesMax);
    const firstFrame = random.between(0, Math.max(0, POOL_FRAMES - pages));
    const address = yield* this.as(name, () => this.allocate(name, pages, firstFrame));
    this.counts.add(name, pages * PAGE_SIZE, address !== 0);
    if (address === 0) return;
    const tag = this.nextTag;
    this.nextTag = (tag + pages) | 0;
    const allocation = { name, address, pages, tag, firstFrame };
    this.fill(cpu, allocation);
    this.live.push(allocation);
  }

  /** Runs a call under its name in the accounts of cycles and in timelines. */
  private *as<T>(name: string, call: Call<T>): KernelCode<T> {
    const { loop } = this.kernel.machine;
    const activity = loop.enterActivity(loop.accounts.activity(name));
    const result = yield* wait(make(call));
    loop.enterActivity(activity);
    return result;
  }

  private allocate(name: AllocationName, pages: number, firstFrame: number): Blocking<number> {
    const { vm } = this.kernel;
    const caller = `mixed_${name}+0x0/0x0`;
    const frames = this.pool.subarray(firstFrame, firstFrame + pages);
    switch (name) {
      case "vmalloc":
        return vmalloc(vm, pages * PAGE_SIZE, caller);
      case "vzalloc":
        return vzalloc(vm, pages * PAGE_SIZE, caller);
      case "vmalloc_huge":
        return vmallocHuge(vm, pages * PAGE_SIZE, undefined, caller);
      case "vmap":
        return vmap(vm, frames, undefined, undefined, caller);
      case "vm_map_ram":
        return vmMapRam(vm, frames);
      case "ioremap":
        return ioremap(vm, DEVICE_PHYS + firstFrame * PAGE_SIZE, pages * PAGE_SIZE, undefined, caller);
    }
  }

  private *freeOne(cpu: number, random: Random): KernelCode<void> {
    const { live } = this;
    const index = random.between(0, live.length - 1);
    const allocation = live[index];
    const last = live.pop();
    if (last !== undefined && index < live.length) live[index] = last;
    this.check(cpu, allocation);
    const { vm } = this.kernel;
    const { name, address, pages } = allocation;
    switch (name) {
      case "vmap":
        yield* this.as("vunmap", vunmap(vm, address));
        this.counts.add("vunmap", pages * PAGE_SIZE, true);
        break;
      case "vm_map_ram":
        yield* this.as("vm_unmap_ram", () => vmUnmapRam(vm, address, pages));
        this.counts.add("vm_unmap_ram", pages * PAGE_SIZE, true);
        break;
      case "ioremap":
        yield* this.as("iounmap", iounmap(vm, address));
        this.counts.add("iounmap", pages * PAGE_SIZE, true);
        break;
      default:
        yield* this.as("vfree", () => vfree(vm, address));
        this.counts.add("vfree", pages * PAGE_SIZE, true);
    }
  }

  /** Stores to some pages of a new allocation; zeroed memory is checked first. */
  private fill(cpu: number, allocation: Allocation): void {
    const { name, address, pages, tag, firstFrame } = allocation;
    if (name === "ioremap") return;
    const step = Math.ceil(pages / TOUCHED_PAGES);
    for (let page = 0; page < pages; page += step) {
      const value = (tag + page) | 0;
      for (let word = 0; word < TOUCHED_WORDS; word++) {
        const la = address + page * PAGE_SIZE + word * WORD_STEP_BYTES;
        if (name === "vzalloc") this.expect(cpu, la, 0);
        this.kernel.machine.cpus[cpu].store(la, 4, value);
        this.stores++;
      }
      if (isMapping(name)) this.poolValues[firstFrame + page] = value;
    }
  }

  /** Loads what `fill` stored. Frames of the pool may be mapped more than once: they hold what was stored last. */
  private check(cpu: number, allocation: Allocation): void {
    const { name, address, pages, tag, firstFrame } = allocation;
    const step = Math.ceil(pages / TOUCHED_PAGES);
    for (let page = 0; page < pages; page += step) {
      const stored = isMapping(name) ? this.poolValues[firstFrame + page] : (tag + page) | 0;
      // Nothing answers at the device's address: the bus reads all ones.
      const value = name === "ioremap" ? -1 : stored;
      for (let word = 0; word < TOUCHED_WORDS; word++) {
        this.expect(cpu, address + page * PAGE_SIZE + word * WORD_STEP_BYTES, value);
      }
    }
  }

  private expect(cpu: number, la: number, value: number): void {
    this.loads++;
    if ((this.kernel.machine.cpus[cpu].load(la, 4) | 0) !== value) this.wrongLoads++;
  }
}

function isMapping(name: AllocationName): boolean {
  return name === "vmap" || name === "vm_map_ram";
}
