/**
 * References of a program whose data does not matter: each is translated with all its effects on TLBs, paging-structure
 * caches, A and D bits, counters and the clock, as {@link Cpu} does it; no byte moves. For long traces.
 */
import { ACCESS_FETCH, ACCESS_LOAD, ACCESS_STORE, type Access } from "./access.ts";
import type { Cpu } from "./cpu.ts";
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
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly clockCycles: Float64Array;
  private readonly costCycles: Float64Array;

  constructor(cpu: Cpu, clockCycles: Float64Array, preset: Preset) {
    const { load, store, fetch } = preset.costs;
    this.cpu = cpu;
    this.id = cpu.id;
    this.cells = cpu.mmu.arrays.cells;
    this.words = cpu.mmu.arrays.words;
    this.clockCycles = clockCycles;
    this.costCycles = Float64Array.of(load.value, store.value, fetch.value);
  }

  /**
   * A reference of `kind` at linear address `la`, in the 4 KiB page `vpn` = floor(la / 4096). The numbers are the fixed places
   * of cpu-arrays.ts, as in `Cpu.load`.
   * @throws PageFault, with CR2 set
   */
  reference(kind: number, vpn: number, la: number): void {
    const { cells, words } = this;
    const place = words[(vpn & 255) | (kind << 8)];
    if (cells[64 + place] !== vpn * 4096) {
      this.cpu.touchAs(ACCESSES[kind], la);
      return;
    }
    const record = (1060 + (place << 2)) | 0;
    const state = words[record | 3];
    if (state >= 0) words[state] = (words[state] & (words[record | 2] >>> 16)) | (words[record | 2] & 0xffff);
    else this.cpu.mmu.predicted.touch(place);
    cells[kind]++;
    this.clockCycles[this.id] += this.costCycles[kind];
  }
}
