/** Page tables of a machine without a guest, built as those of a `GuestSpace` are: what a guest is compared with. */
import {
  entryFrame,
  entryHigh,
  entryLow,
  type Machine,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_PAGE_SIZE,
  PTE_PRESENT,
  PTE_RW,
  PTE_USER,
} from "../../arch/index.ts";
import { indexOf } from "./guest-space.ts";

/** Frames of tables begin at 4 GiB, those of pages at 1 TiB - 512 GiB. */
const FIRST_TABLE = 2 ** 20;
const FIRST_PAGE = 2 ** 27;
const TABLE_BITS = PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED | PTE_DIRTY;

/** One address space. */
export class NativeSpace {
  /** Frame of the top table. */
  readonly rootFrame: number;
  private readonly machine: Machine;
  private readonly levels: 4 | 5;
  private nextTable = FIRST_TABLE;
  private nextPage = FIRST_PAGE;

  constructor(machine: Machine, levels: 4 | 5) {
    this.machine = machine;
    this.levels = levels;
    this.rootFrame = this.nextTable++;
  }

  /**
   * Maps the page of a level (1: 4 KiB, 2: 2 MiB, 3: 1 GiB) at `la` to memory of its own.
   * @param bits of the entry, beside its size
   * @returns the first frame
   */
  mapPage(la: number, level: 1 | 2 | 3, bits: number): number {
    const { memory } = this.machine;
    let table = this.rootFrame;
    for (let at: number = this.levels; at > level; at--) {
      const word = 2 * indexOf(la, at);
      const low = memory.readWord(table, word);
      const next = low === 0 ? this.nextTable++ : entryFrame(low, memory.readWord(table, word + 1));
      if (low === 0) this.writeEntry(table, word, next, TABLE_BITS);
      table = next;
    }
    const frames = 512 ** (level - 1);
    const first = Math.ceil(this.nextPage / frames) * frames;
    this.nextPage = first + frames;
    this.writeEntry(table, 2 * indexOf(la, level), first, bits | (level === 1 ? 0 : PTE_PAGE_SIZE));
    return first;
  }

  private writeEntry(table: number, word: number, frame: number, bits: number): void {
    this.machine.memory.writeWord(table, word, entryLow(frame, bits));
    this.machine.memory.writeWord(table, word + 1, entryHigh(frame, 0));
  }
}
