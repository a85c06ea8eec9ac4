/**
 * Random kernel threads that use all of vmalloc at once, on every CPU: each mapping is written and read through the CPU's MMU,
 * so a stale translation or a shared frame shows as wrong data. Same seed, same run.
 */

import type { Cpu } from "../../arch/cpu.ts";
import { type KernelCode, PAUSE_TURN } from "../../arch/event-loop.ts";
import {
  __vmallocNodeRange,
  findVmArea,
  freeVmArea,
  GFP_KERNEL,
  getVmArea,
  getVmAreaCaller,
  ioremap,
  iounmap,
  NUMA_NO_NODE,
  PAGE_KERNEL,
  pcpuGetVmAreas,
  reclaimAndPurgeVmapAreas,
  VM_IOREMAP,
  VM_MAP,
  VM_SPARSE,
  VMALLOC_START,
  vfree,
  vfreeAtomic,
  vmAreaMapPages,
  vmAreaUnmapPages,
  vmalloc,
  vmalloc32,
  vmallocHuge,
  vmallocNode,
  vmallocUser,
  vmap,
  vmapPfn,
  vmMapRam,
  vmUnmapAliases,
  vmUnmapRam,
  vread,
  vrealloc,
  vunmap,
  vzalloc,
} from "../../mm/index.ts";
import type { Kernel } from "../../src/kernel.ts";
import { type Random, randomStream } from "../../src/random.ts";

const PAGE = 4096;
/** A window that fills up and has to be purged. */
const WINDOW_START = VMALLOC_START + 2 ** 42;
const WINDOW_PAGES = 96;
/** Frames that threads map. */
const POOL_FRAMES = 128;

type Kind = "vmalloc" | "vmap" | "vmMapRam" | "ioremap" | "vmapPfn" | "reserved" | "sparse" | "percpu";

/** Something that was allocated. `tag` is what its first page holds; for `vmap` and `vmMapRam`, `offset` its first frame. */
interface Live {
  readonly kind: Kind;
  readonly address: number;
  readonly pages: number;
  readonly tag: number;
  readonly offset: number;
}

/** Counts by name. */
export type Tally = Record<string, number>;

/** What the threads do, and how much they hold. */
export interface WorkloadOptions {
  readonly seed: number;
  /** Mappings held over all threads at most. */
  readonly liveMax: number;
  /** One in how many operations is a caller's mistake; 0 for never. */
  readonly mistakeEvery: number;
  /** One in how many operations arms the failure of an allocation soon after; 0 for never. */
  readonly faultEvery: number;
  /** One in how many operations goes to user mode for a while; 0 for never. */
  readonly userModeEvery: number;
}

/** A kernel under a random workload. */
export class RandomWorkload {
  readonly kernel: Kernel;
  /** Operations done, by name; calls that answered NULL as well, under `failed <name>`. */
  readonly tally: Tally = {};
  /** Warnings that deliberate mistakes must have caused. */
  expectedWarnings = 0;
  private readonly options: WorkloadOptions;
  private readonly frames: Uint32Array;
  private readonly live: Live[] = [];
  private nextTag = 1;
  private rounds = 0;

  constructor(kernel: Kernel, options: WorkloadOptions) {
    this.kernel = kernel;
    this.options = options;
    this.frames = kernel.allocFrames(POOL_FRAMES);
    this.frames.forEach((frame) => {
      kernel.machine.memory.writeWord(frame, 0, frame);
    });
  }

  /** Runs one thread on each CPU, `operations` in all, to the end of all of them. */
  round(operations: number): void {
    const { cpus } = this.kernel.machine;
    const share = Math.ceil(operations / cpus.length);
    for (const cpu of cpus) {
      const random = randomStream(this.options.seed + 7919 * this.rounds, cpu.id);
      this.kernel.spawn(`worker/${cpu.id}`, cpu.id, this.thread(cpu, random, share));
    }
    this.rounds++;
    this.kernel.runUntilIdle();
  }

  /** Frees all that is held, and the threads' frames. */
  finish(): void {
    this.kernel.faults.disarm();
    this.kernel.spawn("worker/free", 0, this.freeAll());
    this.kernel.runUntilIdle();
    this.kernel.spawn("worker/purge", 0, this.purge());
    this.kernel.runUntilIdle();
    this.kernel.freeFrames(this.frames);
  }

  private *freeAll(): KernelCode<void> {
    for (let held = this.live.pop(); held !== undefined; held = this.live.pop()) yield* this.release(held);
  }

  private *purge(): KernelCode<void> {
    yield* reclaimAndPurgeVmapAreas(this.kernel.vm);
  }

  private *thread(cpu: Cpu, random: Random, operations: number): KernelCode<void> {
    const { mistakeEvery, faultEvery, liveMax } = this.options;
    for (let i = 0; i < operations; i++) {
      if (this.options.userModeEvery > 0 && random.between(1, this.options.userModeEvery) === 1) {
        yield* this.stayInUserMode(random);
      }
      if (faultEvery > 0 && random.between(1, faultEvery) === 1) this.kernel.faults.failAt(random.between(0, 8));
      if (mistakeEvery > 0 && random.between(1, mistakeEvery) === 1) yield* this.mistake(random);
      else if (random.between(1, 400) === 1) yield* this.flushOrPurge(random);
      else if (this.live.length < liveMax * (random.between(0, 100) / 100)) yield* this.allocate(cpu, random);
      else yield* this.free(cpu, random);
    }
  }

  /** A while in user mode, where other CPUs' flushes may be put off. */
  private *stayInUserMode(random: Random): KernelCode<void> {
    const { userMode } = this.kernel.vm.flushing;
    const { loop } = this.kernel.machine;
    this.count("user mode");
    userMode.enterUser();
    loop.spend(random.between(100, 20_000));
    while (loop.mustYield()) yield PAUSE_TURN;
    userMode.enterKernel();
  }

  private *allocate(cpu: Cpu, random: Random): KernelCode<void> {
    const { vm } = this.kernel;
    const what = random.between(1, 100);
    if (what <= 30) {
      const pages = random.between(1, 16);
      this.keepWritten(cpu, "vmalloc", pages, yield* vmalloc(vm, pages * PAGE - random.between(0, PAGE - 4)));
    } else if (what <= 36) {
      const pages = random.between(1, 8);
      const address = yield* vzalloc(vm, pages * PAGE);
      if (address !== 0 && cpu.load(address + (pages - 1) * PAGE, 4) !== 0) throw new Error("vzalloc: not zero");
      this.keepWritten(cpu, "vzalloc", pages, address);
    } else if (what <= 40) {
      const pages = random.between(1, 8);
      const isUser = random.between(0, 1) === 1;
      const address = isUser ? yield* vmallocUser(vm, pages * PAGE) : yield* vmalloc32(vm, pages * PAGE);
      this.keepWritten(cpu, isUser ? "vmallocUser" : "vmalloc32", pages, address);
    } else if (what <= 46) {
      const pages = random.between(1, 20);
      const align = PAGE * 2 ** random.between(0, 9);
      const address = yield* vmallocNode(vm, pages * PAGE, align, GFP_KERNEL, NUMA_NO_NODE);
      if (address % align !== 0) throw new Error(`0x${address.toString(16)} is not aligned to ${align}`);
      this.keepWritten(cpu, "vmallocAlign", pages, address);
    } else if (what <= 47) {
      const pages = random.between(513, 700);
      this.keepWritten(cpu, "vmallocLarge", pages, yield* vmalloc(vm, pages * PAGE));
    } else if (what <= 48) {
      const pages = random.between(512, 1100);
      this.keepWritten(cpu, "vmallocHuge", pages, yield* vmallocHuge(vm, pages * PAGE));
    } else if (what <= 53) {
      const pages = random.between(1, 12);
      const end = WINDOW_START + WINDOW_PAGES * PAGE;
      const gfp = GFP_KERNEL;
      const size = pages * PAGE;
      const address = yield* __vmallocNodeRange(vm, size, 1, WINDOW_START, end, gfp, PAGE_KERNEL, 0, NUMA_NO_NODE);
      this.keepWritten(cpu, "vmallocWindow", pages, address);
    } else if (what <= 60) {
      const [pages, offset] = this.someFrames(random, 32);
      const address = yield* vmap(vm, this.frames.slice(offset, offset + pages));
      this.keep("vmap", "vmap", pages, address, offset);
    } else if (what <= 85) {
      const [pages, offset] = this.someFrames(random, 64);
      const address = yield* vmMapRam(vm, this.frames.slice(offset, offset + pages));
      this.keep("vmMapRam of a block", "vmMapRam", pages, address, offset);
    } else if (what <= 89) {
      const pages = random.between(65, POOL_FRAMES);
      const address = yield* vmMapRam(vm, this.frames.slice(0, pages));
      this.keep("vmMapRam of its own", "vmMapRam", pages, address, 0);
    } else if (what <= 90) {
      const pages = random.between(2, 12);
      const pfns = Array.from({ length: pages }, () => 0xd0000 + random.between(0, 5000));
      this.keep("vmapPfn", "vmapPfn", pages, yield* vmapPfn(vm, pfns, PAGE_KERNEL), 0);
    } else if (what <= 91) {
      const pages = random.between(4, 40);
      const area = yield* getVmArea(vm, pages * PAGE, VM_SPARSE);
      this.keep("sparse", "sparse", pages, area === 0 ? 0 : vm.vms.addr[area], 0);
    } else if (what <= 92) {
      yield* this.allocatePercpu(random);
    } else if (what <= 95) {
      const isLarge = random.between(0, 3) === 0;
      const pages = isLarge ? random.between(512, 1500) : random.between(1, 16);
      const phys = 0xd000_0000 + PAGE * (isLarge ? 0 : random.between(0, 4000));
      this.keep("ioremap", "ioremap", pages, yield* ioremap(vm, phys, pages * PAGE), 0);
    } else {
      const pages = random.between(1, 12);
      const inWindow = random.between(0, 1) === 1;
      const end = WINDOW_START + WINDOW_PAGES * PAGE;
      const reserved = inWindow
        ? yield* getVmAreaCaller(vm, pages * PAGE, VM_MAP, WINDOW_START, end)
        : yield* getVmArea(vm, pages * PAGE, VM_IOREMAP);
      const name = inWindow ? "getVmArea in a window" : "getVmArea";
      this.keep(name, "reserved", pages, reserved === 0 ? 0 : vm.vms.addr[reserved], 0);
    }
  }

  /** Two areas at a fixed distance. */
  private *allocatePercpu(random: Random): KernelCode<void> {
    const { vm } = this.kernel;
    const sizes = [65536 * random.between(1, 4), 65536 * random.between(1, 4)];
    const areas = yield* pcpuGetVmAreas(vm, [0, 65536 * random.between(4, 64)], sizes, 65536);
    this.count(areas === null ? "failed percpu" : "percpu");
    for (const area of areas ?? []) {
      this.live.push({ kind: "percpu", address: vm.vms.addr[area], pages: 16, tag: 0, offset: 0 });
    }
  }

  private someFrames(random: Random, pagesMax: number): [pages: number, offset: number] {
    const pages = random.between(1, pagesMax);
    return [pages, random.between(0, POOL_FRAMES - pages)];
  }

  /** Notes a mapping of the caller's frames, of a device, or of nothing. */
  private keep(name: string, kind: Kind, pages: number, address: number, offset: number): void {
    this.count(address === 0 ? `failed ${name}` : name);
    if (address !== 0) this.live.push({ kind, address, pages, tag: 0, offset });
  }

  /** Notes vmalloc'ed memory, with a tag in its first and its last page. */
  private keepWritten(cpu: Cpu, name: string, pages: number, address: number): void {
    this.count(address === 0 ? `failed ${name}` : name);
    if (address === 0) return;
    const tag = this.nextTag++;
    cpu.store(address, 4, tag);
    cpu.store(address + pages * PAGE - 4, 4, tag);
    this.live.push({ kind: "vmalloc", address, pages, tag, offset: 0 });
  }

  private *free(cpu: Cpu, random: Random): KernelCode<void> {
    if (this.live.length === 0) return;
    const at = random.between(0, this.live.length - 1);
    const held = this.live[at];
    const last = this.live.pop();
    if (last !== undefined && at < this.live.length) this.live[at] = last;
    this.check(cpu, held);
    if (held.kind === "vmalloc" && random.between(1, 12) === 1) {
      yield* this.resize(cpu, random, held);
      return;
    }
    if (held.kind === "sparse") yield* this.useSparse(cpu, random, held);
    if (random.between(1, 50) === 1) yield* this.checkVread(held);
    yield* this.release(held);
  }

  /** Gives vmalloc'ed memory another size; what it held in its first page stays. */
  private *resize(cpu: Cpu, random: Random, held: Live): KernelCode<void> {
    const pages = random.between(1, 24);
    const address = yield* vrealloc(this.kernel.vm, held.address, pages * PAGE);
    this.count(address === 0 ? "failed vrealloc" : address === held.address ? "vrealloc in place" : "vrealloc");
    if (address === 0) {
      this.live.push(held);
      return;
    }
    expectWord(held, cpu.load(address, 4), held.tag);
    const kept = Math.max(pages, address === held.address ? held.pages : 0);
    cpu.store(address + kept * PAGE - 4, 4, held.tag);
    this.live.push({ ...held, address, pages: kept });
  }

  /** Maps some pages of a sparse area, reads them and unmaps some of them. */
  private *useSparse(cpu: Cpu, random: Random, held: Live): KernelCode<void> {
    const { vm } = this.kernel;
    const area = yield* findVmArea(vm, held.address);
    const first = random.between(0, held.pages - 1);
    const count = random.between(1, held.pages - first);
    const [start, end] = [held.address + first * PAGE, held.address + (first + count) * PAGE];
    if (vmAreaMapPages(vm, area, start, end, this.frames.slice(0, count)) < 0) {
      this.count("failed vmAreaMapPages");
      return;
    }
    for (let i = 0; i < count; i += 2) expectWord(held, cpu.load(start + i * PAGE, 4), this.frames[i]);
    this.count("vmAreaMapPages");
    if (random.between(0, 1) === 1) yield* vmAreaUnmapPages(vm, area, start, start + Math.ceil(count / 2) * PAGE);
  }

  private *release(held: Live): KernelCode<void> {
    const { vm } = this.kernel;
    this.count(`free ${held.kind}`);
    if (held.kind === "vmalloc" && held.tag % 16 === 0) vfreeAtomic(vm, held.address);
    else if (held.kind === "vmalloc") yield* vfree(vm, held.address);
    else if (held.kind === "vmap" || held.kind === "vmapPfn") yield* vunmap(vm, held.address);
    else if (held.kind === "vmMapRam") yield* vmUnmapRam(vm, held.address, held.pages);
    else if (held.kind === "ioremap") yield* iounmap(vm, held.address);
    else yield* freeVmArea(vm, vm.areas.vmOf(vm.nodeOf(held.address).busy.findStart(held.address)));
  }

  /** Reads a mapping through the CPU's TLBs. */
  private check(cpu: Cpu, held: Live): void {
    const end = held.address + (held.pages - 1) * PAGE;
    if (held.kind === "vmalloc") {
      expectWord(held, cpu.load(held.address, 4), held.tag);
      expectWord(held, cpu.load(end + PAGE - 4, 4), held.tag);
    } else if (held.kind === "vmap" || held.kind === "vmMapRam") {
      for (let page = 0; page < held.pages; page += 3) {
        expectWord(held, cpu.load(held.address + page * PAGE, 4), this.frames[held.offset + page]);
      }
      expectWord(held, cpu.load(end, 4), this.frames[held.offset + held.pages - 1]);
    } else if (held.kind === "ioremap" || held.kind === "vmapPfn") {
      expectWord(held, cpu.load(end, 4), 0xffff_ffff);
    }
  }

  /** Reads the first word of a mapping with `vread`. */
  private *checkVread(held: Live): KernelCode<void> {
    const out = new Uint8Array(4);
    this.count("vread");
    yield* vread(this.kernel.vm, held.address, out);
    const word = new DataView(out.buffer).getUint32(0, true);
    if (held.kind === "vmalloc") expectWord(held, word, held.tag);
    else if (held.kind === "vmap" || held.kind === "vmMapRam") expectWord(held, word, this.frames[held.offset]);
    else expectWord(held, word, 0);
  }

  private *flushOrPurge(random: Random): KernelCode<void> {
    if (random.between(0, 3) === 0) {
      this.count("reclaimAndPurge");
      yield* reclaimAndPurgeVmapAreas(this.kernel.vm);
    } else {
      this.count("vmUnmapAliases");
      yield* vmUnmapAliases(this.kernel.vm);
    }
  }

  /** A mistake that a caller may make; it must be warned of and change nothing. */
  private *mistake(random: Random): KernelCode<void> {
    const { vm } = this.kernel;
    if (this.live.length === 0) return;
    const held = this.live[random.between(0, this.live.length - 1)];
    this.count("mistake");
    const before = this.expectedWarnings;
    if (random.between(0, 3) === 0) {
      this.expectedWarnings += 2;
      yield* vfree(vm, held.address + 8);
    } else if (held.kind !== "vmMapRam") {
      this.expectedWarnings++;
      yield* vmUnmapRam(vm, held.address, random.between(0, 1) === 0 ? held.pages : 65);
    } else if (random.between(0, 1) === 0) {
      this.expectedWarnings++;
      yield* vfree(vm, held.address);
    } else if (held.pages <= 64 && held.pages > 3 && Math.log2(held.pages - 1) % 1 !== 0) {
      this.expectedWarnings++;
      yield* vmUnmapRam(vm, held.address, held.pages - 1);
    }
    if (this.expectedWarnings > before) this.count("mistake warned of");
  }

  private count(name: string): void {
    this.tally[name] = (this.tally[name] ?? 0) + 1;
  }
}

function expectWord(held: Live, actual: number, expected: number): void {
  if (actual === expected) return;
  const { kind, address, pages } = held;
  throw new Error(`${kind} of ${pages} pages at 0x${address.toString(16)}: read ${actual}, not ${expected}`);
}

/** The page allocator that a kernel has left when nothing is held: page tables only. */
export function framesHeld(kernel: Kernel): number {
  return kernel.pages.totalPages - kernel.pages.freePages - kernel.tables.tablePages;
}
