/**
 * Accesses of a program that do not wait for each other: the loads and stores of a copy, of zeroing, of a scan; what one reads does not
 * say where the next goes. Each has all the effects of the CPU's own accesses, in the program's order; only the time that
 * they take is another (arch/time/overlap-window.ts). An independent access waits for whatever made the clock go on before it: an
 * access that depends on others, an instruction, a fault, the cycles of other code. The CPU's own accesses (`Cpu.load` and the like) depend on each other.
 */
import type { Access } from "../isa/access.ts";
import { TLB_KIND } from "../isa/access.ts";
import { PageFault } from "../isa/faults.ts";
import type { Preset } from "../presets/preset.ts";
import { OverlapWindow } from "../time/overlap-window.ts";
import {
  COUNT_BITS_SET,
  COUNT_VM_EXIT,
  COUNT_WALK_CYCLES,
  COUNT_WALK_HIDDEN,
  COUNT_WALK_TOGETHER,
} from "../time/perf-counters.ts";
import type { BulkTouch } from "./bulk-touch.ts";
import type { CpuMemory } from "./cpu-memory.ts";

const LOAD = 0;
const STORE = 1;
const FETCH = 2;
/** Bits of a kind that are the access kind; the bits above belong to the caller. */
const KIND_MASK = 3;

/** The independent accesses of one CPU. */
export class IndependentAccesses {
  /** What of them is under way. */
  readonly window: OverlapWindow;
  /** Many of them, one after another, with the parameters and the result of `BulkTouch.touch`. */
  readonly bulk: Pick<BulkTouch, "touch"> = {
    touch: (kinds, addresses, from, to) => this.touchAll(kinds, addresses, from, to),
  };
  private readonly cpu: CpuMemory;
  private readonly clock: Float64Array;
  private readonly counts: Float64Array;
  private readonly accessCycles: readonly number[];
  /** Before the access that is being made: the clock, the counters, and until when those before it took. */
  private now = 0;
  private walkCycles = 0;
  private bitsSet = 0;
  private vmExits = 0;
  private completed = 0;

  /** @param clock the CPU's */
  constructor(cpu: CpuMemory, clock: Float64Array, { costs, overlap }: Preset) {
    this.cpu = cpu;
    this.clock = clock;
    this.counts = cpu.mmu.counts;
    this.accessCycles = [costs.load.value, costs.store.value, costs.fetch.value];
    this.window = new OverlapWindow(overlap);
  }

  /** Whether the next access may overlap with those before: the clock has not gone on since the last was complete. */
  get areUnderWay(): boolean {
    return this.window.completed === this.clock[0];
  }

  /** Reads 1 to 4 bytes as `CpuMemory.load` does. @throws PageFault, GeneralProtectionFault */
  load(la: number | bigint, sizeBytes: number): number {
    this.begin(LOAD);
    const value = this.cpu.load(la, sizeBytes);
    this.complete(LOAD);
    return value;
  }

  /** Writes 1 to 4 bytes as `CpuMemory.store` does. @throws PageFault, GeneralProtectionFault */
  store(la: number | bigint, sizeBytes: number, value: number): void {
    this.begin(STORE);
    this.cpu.store(la, sizeBytes, value);
    this.complete(STORE);
  }

  /** Fetches 1 to 4 bytes as `CpuMemory.fetch` does. @throws PageFault, GeneralProtectionFault */
  fetch(la: number | bigint, sizeBytes: number): number {
    this.begin(FETCH);
    const value = this.cpu.fetch(la, sizeBytes);
    this.complete(FETCH);
    return value;
  }

  /** Translates `la` for a load as `CpuMemory.touch` does; returns the physical address. @throws PageFault */
  touch(la: number): number {
    this.begin(LOAD);
    const physical = this.cpu.touch(la);
    this.complete(LOAD);
    return physical;
  }

  /** Translates `la` for an access of any kind as `CpuMemory.touchAs` does; returns the physical address. @throws PageFault */
  touchAs(access: Access, la: number): number {
    const kind = TLB_KIND[access];
    this.begin(kind);
    const physical = this.cpu.touchAs(access, la);
    this.complete(kind);
    return physical;
  }

  /** Lets time pass with work that waits for none of these accesses, and that begins before they are complete. */
  spend(cycles: number): void {
    this.clock[0] = this.window.work(this.clock[0], cycles);
  }

  private touchAll(kinds: Uint8Array, addresses: Float64Array, from: number, to: number): number {
    for (let i = from; i < to; i++) {
      try {
        this.touchAs((kinds[i] & KIND_MASK) as Access, addresses[i]);
      } catch (error) {
        if (error instanceof PageFault) return i;
        throw error;
      }
    }
    return to;
  }

  /** Notes what an access of `kind` will change. If it faults, the next one begins anew. */
  private begin(kind: number): void {
    const { counts, window, cpu } = this;
    this.now = this.clock[0];
    this.walkCycles = counts[COUNT_WALK_CYCLES + kind];
    this.bitsSet = counts[COUNT_BITS_SET];
    this.vmExits = counts[COUNT_VM_EXIT];
    this.completed = window.completed;
    window.completed = Number.NaN;
    if (cpu.mmu.attribution !== null) cpu.mmu.attribution.lastCharged = null;
  }

  /**
   * The access of `kind` has been made, and has taken its time as if all before had been complete: gives back what overlaps. An access
   * that set A or D, or made the CPU leave a guest, overlaps with nothing: the first is done once the access is the oldest, as a
   * speculative one must not set them; the second is a program of its own.
   */
  private complete(kind: number): void {
    const { counts, window, clock, now } = this;
    if (counts[COUNT_BITS_SET] !== this.bitsSet || counts[COUNT_VM_EXIT] !== this.vmExits) return;
    const issue = this.accessCycles[kind];
    const walk = counts[COUNT_WALK_CYCLES + kind] - this.walkCycles;
    const hit = Math.max(0, clock[0] - now - issue - walk);
    window.completed = this.completed;
    clock[0] = window.add(now, kind, issue, hit, walk);
    if (walk > 0) this.bookWalk(kind, walk);
  }

  /** Cycles of a walk in which another was under way too, or that held up nothing, are counted apart. */
  private bookWalk(kind: number, walk: number): void {
    const { counts, window, cpu } = this;
    const together = walk - window.walkActive;
    counts[COUNT_WALK_CYCLES + kind] -= together;
    counts[COUNT_WALK_TOGETHER + kind] += together;
    counts[COUNT_WALK_HIDDEN] += window.walkActive - window.walkExposed;
    const charged = cpu.mmu.attribution?.lastCharged;
    if (charged) charged.walkCycles -= walk - window.walkExposed;
  }
}
