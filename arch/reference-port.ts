/**
 * References of a program whose data does not matter: each is translated with all its effects on TLBs, paging-structure
 * caches, A and D bits, counters and the clock, as {@link Cpu} does it; no byte moves. For long traces.
 */
import { ACCESS_FETCH, ACCESS_LOAD, ACCESS_STORE, type Access } from "./access.ts";
import type { Cpu } from "./cpu.ts";
import type { PredictedHits } from "./predicted-hits.ts";
import type { Preset } from "./preset.ts";

/** Kind of a reference: a load. */
export const REFERENCE_LOAD = 0;
/** Kind of a reference: a store. */
export const REFERENCE_STORE = 1;
/** Kind of a reference: an instruction fetch. */
export const REFERENCE_FETCH = 2;

/** The accesses that the kinds stand for. */
const ACCESSES: readonly Access[] = [ACCESS_LOAD, ACCESS_STORE, ACCESS_FETCH];

/** The way into one CPU's MMU. */
export class ReferencePort {
  private readonly cpu: Cpu;
  private readonly id: number;
  private readonly predicted: PredictedHits;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly firstTag: number;
  private readonly recordsAt: number;
  private readonly countsAt: number;
  private readonly clockCycles: Float64Array;
  private readonly costCycles: Float64Array;

  constructor(cpu: Cpu, clockCycles: Float64Array, preset: Preset) {
    const { predicted } = cpu.mmu.tlbs;
    const { load, store, fetch } = preset.costs;
    this.cpu = cpu;
    this.id = cpu.id;
    this.predicted = predicted;
    this.cells = predicted.cells;
    this.words = predicted.words;
    this.firstTag = predicted.firstTag;
    this.recordsAt = predicted.recordsAt;
    this.countsAt = cpu.mmu.countsAt;
    this.clockCycles = clockCycles;
    this.costCycles = Float64Array.of(load.value, store.value, fetch.value);
  }

  /**
   * A reference of `kind` at linear address `la`, in the 4 KiB page `vpn` = floor(la / 4096).
   * @throws PageFault, with CR2 set
   */
  reference(kind: number, vpn: number, la: number): void {
    const { cells, words } = this;
    const place = words[(vpn & 255) | (kind << 8)];
    if (cells[(this.firstTag + place) | 0] !== vpn * 4096) {
      this.cpu.touchAs(ACCESSES[kind], la);
      return;
    }
    const at = (this.recordsAt + (place << 1)) | 0;
    const record = words[at];
    if (record >= 0) {
      const use = words[(at + 1) | 0];
      words[record >> 10] = (words[record >> 10] & (use >>> 16)) | (use & 0xffff);
    } else {
      this.predicted.touch(place);
    }
    cells[(this.countsAt + kind) | 0]++;
    this.clockCycles[this.id] += this.costCycles[kind];
  }
}
