/**
 * Random kernel threads that use all of vmalloc at once, on every CPU: each mapping is written and read through the CPU's MMU,
 * so a stale translation or a shared frame shows as wrong data. Same seed, same run.
 */

import type { Cpu } from "../../../arch/cpu/cpu.ts";
import { type KernelCode, PAUSE_TURN } from "../../../arch/time/event-loop.ts";
import {
  exitMmap,
  findVmArea,
  freeVmArea,
  iounmap,
  leaveMm,
  type MmStruct,
  reclaimAndPurgeVmapAreas,
  UserSpaces,
  vfree,
  vfreeAtomic,
  vmAreaMapPages,
  vmAreaUnmapPages,
  vmUnmapAliases,
  vmUnmapRam,
  vread,
  vrealloc,
  vunmap,
  wait,
} from "../../../mm/index.ts";
import type { Kernel } from "../../../src/machine/kernel.ts";
import { type Random, randomStream } from "../../../src/machine/random.ts";
import { allocateAtRandom, type Holder, type Kind, type Live, POOL_FRAMES } from "./random-allocations.ts";

const PAGE = 4096;
/** Counts by name. */
export type Tally = Record<string, number>;

/** What the threads do, and how much they hold. */
export interface WorkloadOptions {
  readonly seed: number;
  /** Mappings held over all threads at most. */
  readonly liveMax: number;
  /** One in how many operations is a caller's mistake; 0 for never. */
  readonly mistakeEvery?: number;
  /** One in how many operations arms the failure of an allocation soon after; 0 for never. */
  readonly faultEvery?: number;
  /** One in how many operations goes to user mode for a while; 0 for never. */
  readonly userModeEvery?: number;
  /** User address spaces that threads switch between before they do; 0 for none. */
  readonly userSpaces?: number;
}

/** A kernel under a random workload. */
export class RandomWorkload implements Holder {
  readonly kernel: Kernel;
  /** Operations done, by name; calls that answered NULL as well, under `failed <name>`. */
  readonly tally: Tally = {};
  /** Warnings that deliberate mistakes must have caused. */
  expectedWarnings = 0;
  private readonly options: Required<WorkloadOptions>;
  readonly frames: Uint32Array;
  private readonly live: Live[] = [];
  private nextTag = 1;
  private rounds = 0;
  private readonly spaces: UserSpaces | null;
  /** The user address spaces. */
  readonly mms: readonly MmStruct[];

  constructor(kernel: Kernel, options: WorkloadOptions) {
    this.kernel = kernel;
    this.options = { mistakeEvery: 0, faultEvery: 0, userModeEvery: 0, userSpaces: 0, ...options };
    this.frames = kernel.allocFrames(POOL_FRAMES);
    this.frames.forEach((frame) => {
      kernel.machine.memory.writeWord(frame, 0, frame);
    });
    const { userSpaces } = this.options;
    const spaces = userSpaces > 0 ? new UserSpaces(kernel.mm) : null;
    this.spaces = spaces;
    this.mms = spaces === null ? [] : Array.from({ length: userSpaces }, () => spaces.mmAlloc());
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
    const { spaces } = this;
    if (spaces !== null) this.leaveSpaces(spaces);
    this.kernel.freeFrames(this.frames);
  }

  private leaveSpaces(spaces: UserSpaces): void {
    for (const cpu of this.kernel.machine.cpus) this.kernel.run(toKernelThread(spaces), cpu.id);
    for (const mm of this.mms) this.kernel.run(exitMmap(spaces, mm));
    for (const cpu of this.kernel.machine.cpus) this.kernel.run(leaveBorrowed(spaces), cpu.id);
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
      else if (this.live.length < liveMax * (random.between(0, 100) / 100)) yield* allocateAtRandom(this, cpu, random);
      else yield* this.free(cpu, random);
    }
  }

  /** A while in user mode, where other CPUs' flushes may be put off. */
  private *stayInUserMode(random: Random): KernelCode<void> {
    const { userMode } = this.kernel.vm.flushing;
    const { loop } = this.kernel.machine;
    this.count("user mode");
    if (this.spaces !== null) {
      const next = random.between(0, this.mms.length);
      this.spaces.switchTo(next === this.mms.length ? null : this.mms[next]);
    }
    userMode.enterUser();
    loop.spend(random.between(100, 20_000));
    while (loop.mustYield()) yield PAUSE_TURN;
    userMode.enterKernel();
  }

  /** Notes a mapping of the caller's frames, of a device, or of nothing. */
  keep(name: string, kind: Kind, pages: number, address: number, offset: number): void {
    this.count(address === 0 ? `failed ${name}` : name);
    if (address !== 0) this.live.push({ kind, address, pages, tag: 0, offset });
  }

  /** Notes vmalloc'ed memory, with a tag in its first and its last page. */
  keepWritten(cpu: Cpu, name: string, pages: number, address: number): void {
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
    else if (held.kind === "vmalloc") yield* wait(vfree(vm, held.address));
    else if (held.kind === "vmap" || held.kind === "vmapPfn") yield* vunmap(vm, held.address);
    else if (held.kind === "vmMapRam") yield* wait(vmUnmapRam(vm, held.address, held.pages));
    else if (held.kind === "ioremap") yield* iounmap(vm, held.address);
    else yield* freeVmArea(vm, vm.areas.vmOf(vm.addrToNode(held.address).busy.findStart(held.address)));
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
      yield* wait(vfree(vm, held.address + 8));
    } else if (held.kind !== "vmMapRam") {
      this.expectedWarnings++;
      yield* wait(vmUnmapRam(vm, held.address, random.between(0, 1) === 0 ? held.pages : 65));
    } else if (random.between(0, 1) === 0) {
      this.expectedWarnings++;
      yield* wait(vfree(vm, held.address));
    } else if (held.pages <= 64 && held.pages > 3 && Math.log2(held.pages - 1) % 1 !== 0) {
      this.expectedWarnings++;
      yield* wait(vmUnmapRam(vm, held.address, held.pages - 1));
    }
    if (this.expectedWarnings > before) this.count("mistake warned of");
  }

  count(name: string): void {
    this.tally[name] = (this.tally[name] ?? 0) + 1;
  }
}

// biome-ignore lint/correctness/useYield: code that a CPU runs without waiting
function* toKernelThread(spaces: UserSpaces): KernelCode<void> {
  spaces.switchTo(null);
}

// biome-ignore lint/correctness/useYield: plain code on a CPU
function* leaveBorrowed(spaces: UserSpaces): KernelCode<void> {
  leaveMm(spaces);
}

function expectWord(held: Live, actual: number, expected: number): void {
  if (actual === expected) return;
  const { kind, address, pages } = held;
  throw new Error(`${kind} of ${pages} pages at 0x${address.toString(16)}: read ${actual}, not ${expected}`);
}

/** The page allocator that a kernel has left when nothing is held: page tables only. */
export function framesHeld(kernel: Kernel): number {
  const { pages, tables, mm } = kernel;
  return pages.totalPages - pages.freePages - tables.tablePages - (mm.flushing.rar?.frames ?? 0);
}
