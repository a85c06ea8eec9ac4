/**
 * References of a program whose data does not matter: each is translated with all its effects on TLBs, paging-structure
 * caches, A and D bits, counters and the clock, as {@link Cpu} does it; no byte moves. For long traces.
 */
import { ACCESS_FETCH, ACCESS_LOAD, ACCESS_STORE, type Access } from "../isa/access.ts";
import type { Preset } from "../presets/preset.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { Cpu } from "./cpu.ts";

/** Kind of a reference: a load. */
export const REFERENCE_LOAD = 0;
/** Kind of a reference: a store. */
export const REFERENCE_STORE = 1;
/** Kind of a reference: an instruction fetch. */
export const REFERENCE_FETCH = 2;

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { CELL_SHIFT, COUNTERS_CELL, LOAD_PREDICTIONS_WORD, PREDICTIONS_MASK, PREDICTIONS_SHIFT } = layout;
const { WORD_ATTRIBUTES, WORD_SHIFT, WORD_STATE, WORD_USE } = layout;

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
  /** Where hits of loads and stores note their places for the replacement state (`ReplacementState.isTree`). */
  private readonly rootsAt: Int32Array;
  private readonly pairsAt: Int32Array;

  constructor(cpu: Cpu, clockCycles: Float64Array, preset: Preset) {
    const { load, store, fetch } = preset.costs;
    this.cpu = cpu;
    this.id = cpu.id;
    this.cells = cpu.mmu.arrays.cells;
    this.words = cpu.mmu.arrays.words;
    this.clockCycles = clockCycles;
    const sides = cpu.mmu.tlbs.smallPageTlbs();
    this.rootsAt = Int32Array.from(sides, ({ first }) => first.replacement.rootsAt);
    this.pairsAt = Int32Array.from(sides, ({ first }) => first.replacement.pairsAt);
    this.costCycles = Float64Array.of(load.value, store.value, fetch.value);
  }

  /**
   * A reference of `kind` at linear address `la`, in the 4 KiB page `vpn` = floor(la / 4096).
   * @throws PageFault, with CR2 set
   */
  reference(kind: number, vpn: number, la: number): void {
    const { cells, words } = this;
    const place = words[(vpn & PREDICTIONS_MASK) + LOAD_PREDICTIONS_WORD + (kind << PREDICTIONS_SHIFT)];
    const record = place << WORD_SHIFT;
    if (
      cells[place << CELL_SHIFT] !== vpn * 4096 ||
      (kind === REFERENCE_STORE && words[record | WORD_ATTRIBUTES] >= 0)
    ) {
      this.cpu.touchAs(ACCESSES[kind], la);
      return;
    }
    if (kind === REFERENCE_FETCH) {
      const state = words[record | WORD_STATE];
      if (state < 0) {
        this.cpu.touchAs(ACCESS_FETCH, la);
        return;
      }
      const use = words[record | WORD_USE];
      words[state] = (words[state] & (use >>> 16)) | (use & 0xffff);
    } else {
      words[this.rootsAt[kind] + (place >> 2)] = place;
      words[this.pairsAt[kind] + (place >> 1)] = place;
    }
    cells[COUNTERS_CELL + kind]++;
    this.clockCycles[this.id] += this.costCycles[kind];
  }
}
