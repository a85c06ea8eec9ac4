/**
 * An address space of a guest: its page tables, in guest-physical memory, and pages of guest-physical memory for its addresses. What the
 * guest's kernel writes to its tables takes no time here, as with the page tables of traced programs.
 */
import {
  CR4_LA57,
  CR4_PAE,
  CR4_PGE,
  entryFrame,
  entryHigh,
  entryLow,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_PAGE_SIZE,
  PTE_PRESENT,
  PTE_RW,
  PTE_USER,
  Vcpu,
} from "../../arch/index.ts";
import { NotEnoughMemory } from "../../mm/index.ts";
import type { Hypervisor } from "./hypervisor.ts";

/**
 * Guest-physical memory whose free pages are scattered, as after a long time in use; else all is taken from the lowest on. What a kernel
 * takes first are single pages that others gave back, from the CPU's list and the buddies' lowest order; when these are used up, blocks
 * are split, whose pages lie side by side (`rmqueue_bulk`).
 */
export interface ScatteredMemory {
  /** How many 4 KiB frames it has. */
  readonly frames: number;
  /** How many pages are single ones; from then on pages and tables come side by side. Default: all are. */
  readonly singles?: number;
  /** Which of them comes next. */
  readonly random: { between(low: number, high: number): number };
}

/** Guest-physical frames of tables begin at 1 MiB, those of pages at 1 GiB. */
const FIRST_TABLE = 0x100;
const FIRST_PAGE = 2 ** 18;
/** Where large pages of scattered memory begin: at 1 TiB. */
const LARGE_PAGES = 2 ** 28;
const TABLE_BITS = PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED | PTE_DIRTY;

/** One address space. */
export class GuestSpace {
  /** Guest-physical frame of the top table. */
  readonly rootFrame: number;
  /** Page tables by level: index 1 PTE tables, and up to the top table. */
  readonly tablesByLevel: number[];
  private readonly hypervisor: Hypervisor;
  private readonly levels: 4 | 5;
  private readonly scattered: ScatteredMemory | null;
  private readonly taken = new Set<number>();
  private nextTable = FIRST_TABLE;
  private nextPage = FIRST_PAGE;
  /** Where the next page of a block is, above all single ones. */
  private nextInBlock: number;

  constructor(hypervisor: Hypervisor, levels: 4 | 5, scattered: ScatteredMemory | null = null) {
    this.hypervisor = hypervisor;
    this.levels = levels;
    this.scattered = scattered;
    this.nextInBlock = scattered?.frames ?? 0;
    this.tablesByLevel = Array.from({ length: levels + 1 }, () => 0);
    this.rootFrame = this.takeTable(levels);
  }

  /** A virtual CPU on these tables. */
  vcpu(id: number): Vcpu {
    const cr4 = CR4_PAE + CR4_PGE + (this.levels === 5 ? CR4_LA57 : 0);
    return new Vcpu({ id, secondStage: this.hypervisor.secondStage, registers: { cr3: this.rootFrame * 4096, cr4 } });
  }

  /**
   * Maps the page of a level (1: 4 KiB, 2: 2 MiB, 3: 1 GiB) at `la` to guest-physical memory of its own.
   * @param bits of the entry, beside its size
   * @returns the first guest-physical frame
   */
  mapPage(la: number, level: 1 | 2 | 3, bits: number): number {
    const { memory } = this.hypervisor.machine;
    let table = this.hypervisor.frameOf(this.rootFrame);
    for (let at: number = this.levels; at > level; at--) {
      const word = 2 * indexOf(la, at);
      const low = memory.readWord(table, word);
      const next = low === 0 ? this.takeTable(at - 1) : entryFrame(low, memory.readWord(table, word + 1));
      if (low === 0) this.writeEntry(table, word, next, TABLE_BITS);
      table = this.hypervisor.frameOf(next);
    }
    const first = this.takePage(512 ** (level - 1));
    this.writeEntry(table, 2 * indexOf(la, level), first, bits | (level === 1 ? 0 : PTE_PAGE_SIZE));
    return first;
  }

  private writeEntry(table: number, word: number, frame: number, bits: number): void {
    const { memory } = this.hypervisor.machine;
    memory.writeWord(table, word, entryLow(frame, bits));
    memory.writeWord(table, word + 1, entryHigh(frame, 0));
  }

  private takeTable(level: number): number {
    this.tablesByLevel[level]++;
    return this.scattered === null ? this.nextTable++ : this.takeScattered(this.scattered, 1);
  }

  private takePage(frames: number): number {
    if (this.scattered !== null) return this.takeScattered(this.scattered, frames);
    const first = Math.ceil(this.nextPage / frames) * frames;
    this.nextPage = first + frames;
    return first;
  }

  /** A page of scattered memory that is not taken; larger ones lie above all small ones. */
  private takeScattered(memory: ScatteredMemory, frames: number): number {
    if (frames === 1 && this.taken.size >= (memory.singles ?? Number.POSITIVE_INFINITY)) return this.nextInBlock++;
    const slots = Math.floor(memory.frames / frames);
    if (this.taken.size >= slots) throw new NotEnoughMemory("the guest has no memory left");
    for (;;) {
      const slot = memory.random.between(0, slots - 1);
      const first = (frames > 1 ? LARGE_PAGES : 0) + slot * frames;
      if (this.taken.has(first)) continue;
      this.taken.add(first);
      return first;
    }
  }
}

/** Index of the entry of a level; of five levels the top sees bit 47 repeated (arch/isa/linear-address.ts). */
export function indexOf(la: number, level: number): number {
  if (level === 5) return la >= 2 ** 47 ? 511 : 0;
  return Math.floor(la / 2 ** (12 + 9 * (level - 1))) % 512;
}
