/** Which pages, ranges and instructions the page walks of a replay are for. */

import type { Cpu } from "../../arch/index.ts";
import { formatLinearAddress } from "../../arch/isa/linear-address.ts";
import { walkLatencyCycles } from "../../arch/time/perf-counters.ts";
import type { ReferenceBatch } from "./reference-batch.ts";

const PAGE_BYTES = 4096;
/** Walks are summed up over ranges of this size: what one PTE table maps. */
const RANGE_BYTES = 2 ** 21;
const KIND_MASK = 3;
const KIND_FETCH = 2;
/** Where no instruction was traced. */
const NO_INSTRUCTION = -1;

/** Something that page walks were made for. */
export interface Costly {
  /** First address, as the kernel prints it; of an instruction, its address. */
  readonly address: string;
  readonly walks: number;
  readonly walkCycles: number;
}

/** The costliest of each kind, by cycles of page walks. */
export interface CostlyPlaces {
  /** 4 KiB pages that were referenced. */
  readonly pages: readonly Costly[];
  /** Ranges of 2 MiB. */
  readonly ranges: readonly Costly[];
  /** Instructions whose fetch, loads or stores they were. */
  readonly instructions: readonly Costly[];
}

/** Sums by address. Memory grows with the addresses that were walked for. */
class Sums {
  private readonly walks = new Map<number, number>();
  private readonly cycles = new Map<number, number>();

  add(address: number, cycles: number): void {
    this.walks.set(address, (this.walks.get(address) ?? 0) + 1);
    this.cycles.set(address, (this.cycles.get(address) ?? 0) + cycles);
  }

  /** The `count` with most cycles; of equals the lowest address first. */
  most(count: number): Costly[] {
    const order = [...this.cycles].sort(([a, first], [b, second]) => second - first || a - b).slice(0, count);
    return order.map(([address, walkCycles]) => ({
      address: formatLinearAddress(address),
      walks: this.walks.get(address) ?? 0,
      walkCycles,
    }));
  }
}

/** Makes many accesses (`Cpu.bulk`, `Cpu.independent.bulk`). */
type BulkMaker = Pick<Cpu["bulk"], "touch">;

/** Watches a replay reference by reference. */
export class MissProfile {
  private pages = new Sums();
  private ranges = new Sums();
  private instructions = new Sums();
  /** The instruction that each thread is at. */
  private readonly at = new Map<number, number>();

  /**
   * Has references `from` to `to - 1` made on a CPU, one at a time.
   * @param maker the CPU's accesses of one kind: dependent or independent
   * @returns `to`, or the index of the first that faulted; its walk is counted here already
   */
  touch(cpu: Cpu, maker: BulkMaker, batch: ReferenceBatch, from: number, to: number): number {
    const { kinds, addresses, thread } = batch;
    const { counts } = cpu.mmu;
    let instruction = this.at.get(thread.tid) ?? NO_INSTRUCTION;
    let i = from;
    for (; i < to; i++) {
      const kind = kinds[i] & KIND_MASK;
      if (kinds[i] === KIND_FETCH) instruction = addresses[i];
      const before = walkLatencyCycles(counts, kind);
      const done = maker.touch(kinds, addresses, i, i + 1);
      const cycles = walkLatencyCycles(counts, kind) - before;
      if (cycles > 0) this.add(addresses[i], instruction, cycles);
      if (done === i) break;
    }
    this.at.set(thread.tid, instruction);
    return i;
  }

  /** Forgets what was counted so far: the end of a warm-up. */
  clear(): void {
    this.pages = new Sums();
    this.ranges = new Sums();
    this.instructions = new Sums();
  }

  /** The `count` costliest of each kind. */
  most(count: number): CostlyPlaces {
    const { pages, ranges, instructions } = this;
    return { pages: pages.most(count), ranges: ranges.most(count), instructions: instructions.most(count) };
  }

  private add(la: number, instruction: number, cycles: number): void {
    this.pages.add(Math.floor(la / PAGE_BYTES) * PAGE_BYTES, cycles);
    this.ranges.add(Math.floor(la / RANGE_BYTES) * RANGE_BYTES, cycles);
    if (instruction !== NO_INSTRUCTION) this.instructions.add(instruction, cycles);
  }
}
