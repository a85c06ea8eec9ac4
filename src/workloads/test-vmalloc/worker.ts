/** A worker thread of test_vmalloc: the CPU that it runs on, and what the tests use. */

import type { Cpu } from "../../../arch/index.ts";
import { formatLinearAddress, LINEAR_SPACE_BYTES } from "../../../arch/isa/linear-address.ts";
import { FRAME_CALLER, GFP_KERNEL, NUMA_NO_NODE, type Vmalloc } from "../../../mm/index.ts";
import type { KvfreeRcu } from "../../../mm/percpu/kvfree-rcu.ts";
import type { PercpuAllocator } from "../../../mm/percpu/percpu.ts";
import type { Kernel } from "../../machine/kernel.ts";
import type { Random } from "../../machine/random.ts";
import type { Turns } from "../base/turns.ts";
import type { TestSizes } from "./test-sizes.ts";

/** Bits 63:32 of a kernel address whose low 48 bits have bit 47 set, in their upper half. */
const UPPER_HALF_HIGH_BITS = 0xffff_0000;
const LOWER_HALF_END = 2 ** 47;

/** What all workers share. */
export interface WorkerParts {
  readonly kernel: Kernel;
  readonly turns: Turns;
  readonly percpu: PercpuAllocator;
  readonly kvfreeRcu: KvfreeRcu;
  readonly loops: number;
  readonly pages: number;
  readonly useHuge: boolean;
  readonly sizes: TestSizes;
  /** Told how many loops a worker has made since it last told. */
  readonly onLoops: (loops: number) => void;
}

/** One worker. What each loop of a test looks at comes first, in as few of the host's lines as may be. */
export class Worker {
  private loopsTold = 0;
  /** Stores made. */
  stores = 0;
  private readonly cpu: Cpu;
  readonly turns: Turns;
  readonly useHuge: boolean;
  private readonly onLoops: (loops: number) => void;
  readonly vm: Vmalloc;
  readonly loops: number;
  readonly pages: number;
  /** Loads made. */
  loads = 0;
  readonly cpus: number;
  readonly percpu: PercpuAllocator;
  readonly kvfreeRcu: KvfreeRcu;
  readonly sizes: TestSizes;
  readonly random: Random;
  private readonly kernel: Kernel;

  constructor(parts: WorkerParts, cpu: number, random: Random) {
    const { kernel } = parts;
    this.cpu = kernel.machine.cpus[cpu];
    this.turns = parts.turns;
    this.useHuge = parts.useHuge;
    this.onLoops = parts.onLoops;
    this.vm = kernel.vm;
    this.loops = parts.loops;
    this.pages = parts.pages;
    this.cpus = kernel.machine.loop.cpus;
    this.percpu = parts.percpu;
    this.kvfreeRcu = parts.kvfreeRcu;
    this.sizes = parts.sizes;
    this.random = random;
    this.kernel = kernel;
  }

  /** Lets others act, `loop` loops into a test. */
  takeTurn(loop: number): Turns {
    if (loop > this.loopsTold) this.onLoops(loop - this.loopsTold);
    this.loopsTold = loop;
    return this.turns.take();
  }

  /** A test begins: its loops count from 0. */
  beginTest(): void {
    this.loopsTold = 0;
  }

  /** A test of `loops` loops has ended. */
  endTest(loops: number): void {
    if (loops > this.loopsTold) this.onLoops(loops - this.loopsTold);
  }

  /** Stores one byte, as `*((__u8 *)ptr) = value` does. */
  storeByte(address: number, value: number): void {
    this.stores++;
    this.cpu.store(address, 1, value);
  }

  /** Stores a 64-bit pointer, NULL included, at an aligned address: two stores of 32 bits. */
  storePointer(address: number, pointer: number): void {
    this.stores += 2;
    const high = Math.floor(pointer / 2 ** 32);
    this.cpu.store(address, 4, pointer | 0);
    this.cpu.store(address + 4, 4, pointer >= LOWER_HALF_END ? high | UPPER_HALF_HIGH_BITS : high);
  }

  /** Loads what `storePointer` stored. */
  loadPointer(address: number): number {
    this.loads += 2;
    const low = this.cpu.load(address, 4);
    const high = this.cpu.load(address + 4, 4) & 0xffff;
    const pointer = high * 2 ** 32 + low;
    if (pointer >= LINEAR_SPACE_BYTES) throw new RangeError(`pointer ${formatLinearAddress(pointer)}`);
    return pointer;
  }

  /** Single frames, or null when there are not enough. */
  takeFrames(count: number): Uint32Array | null {
    const { pages } = this.kernel;
    if (count > pages.totalPages) return null;
    const frames = new Uint32Array(count);
    const got = pages.allocBulk(this.cpu.id, count, FRAME_CALLER, GFP_KERNEL, NUMA_NO_NODE, frames, 0);
    if (got === count) return frames;
    pages.freeBulk(this.cpu.id, frames, 0, got);
    return null;
  }

  /** Gives back what `takeFrames` returned. */
  giveFramesBack(frames: Uint32Array): void {
    this.kernel.pages.freeBulk(this.cpu.id, frames, 0, frames.length);
  }
}
