/** Counters of a machine over its run, a sample a step, for lines below the timeline. It only looks. */
import { COUNT_FAST_WALK, COUNT_WALK, COUNT_WALK_FAULT } from "../../../arch/time/perf-counters.ts";
import type { Kernel } from "../../machine/kernel.ts";

/** Samples that are kept: beyond, every second one goes, and only every second step is sampled from then on. */
const KEPT_MAX = 4096;
/** Kinds of accesses: loads, stores, fetches. */
const KINDS = 3;
const PAGE_SIZES = 3;

/** The counters after a step. */
export interface CounterSample {
  readonly position: number;
  /** The time of the CPU that is furthest. */
  readonly atCycles: number;
  /** Lazily freed pages. */
  readonly lazyPages: number;
  /** Page walks of all CPUs since boot: accesses that no TLB served. */
  readonly walks: number;
  /** Their cycles. */
  readonly walkCycles: number;
}

/** Samples by step, ascending. */
export class CounterSamples {
  private readonly kernel: Kernel;
  private readonly samples: CounterSample[] = [];
  /** Steps from one sample to the next. */
  private stride = 1;

  constructor(kernel: Kernel) {
    this.kernel = kernel;
  }

  /** After a step: the counters as they are now. */
  add(position: number): void {
    const { samples } = this;
    if (position % this.stride !== 0) return;
    samples.push(this.now(position));
    if (samples.length <= KEPT_MAX) return;
    this.stride *= 2;
    const rest = samples.filter((sample) => sample.position % this.stride === 0);
    samples.splice(0, samples.length, ...rest);
  }

  /** Takes away what came after a step. */
  cutAfter(position: number): void {
    const { samples } = this;
    while (samples.length > 0 && samples[samples.length - 1].position > position) samples.pop();
  }

  /**
   * The samples of a time, with the last before it and the counters as they are now.
   * @param max how many at the most
   */
  since(fromCycles: number, position: number, max: number): CounterSample[] {
    const { samples } = this;
    let first = samples.findIndex(({ atCycles }) => atCycles >= fromCycles);
    first = first < 0 ? samples.length : first;
    const seen = samples.slice(Math.max(0, first - 1)).filter((sample) => sample.position < position);
    const every = Math.max(1, Math.ceil(seen.length / (max - 1)));
    return [...seen.filter((_, i) => i % every === 0), this.now(position)];
  }

  private now(position: number): CounterSample {
    const { machine, vm } = this.kernel;
    let [walks, walkCycles, atCycles] = [0, 0, 0];
    for (const cpu of machine.cpus) {
      walkCycles += cpu.mmu.walkCycleCount;
      walks += walksOf(cpu.mmu.counts);
      atCycles = Math.max(atCycles, machine.loop.clockCycles[cpu.id]);
    }
    return { position, atCycles, lazyPages: vm.lazyNr, walks, walkCycles };
  }
}

/** Walks of a CPU, whatever they ended with. */
function walksOf(counts: ArrayLike<number>): number {
  let walks = 0;
  for (let i = 0; i < KINDS * PAGE_SIZES; i++) walks += counts[COUNT_WALK + i];
  for (let kind = 0; kind < KINDS; kind++) walks += counts[COUNT_WALK_FAULT + kind] + counts[COUNT_FAST_WALK + kind];
  return walks;
}
