/** Lines of many small things that have no numbers of their own, by a key: the entries of page tables, the fields of address spaces. */
import type { SharedLines } from "../../arch/time/shared-lines.ts";

/** `lines` lines, a power of two; keys that differ by a multiple of it share one. */
export class LineTable {
  private readonly lines: SharedLines;
  private readonly first: number;
  private readonly mask: number;

  constructor(lines: SharedLines, count: number) {
    this.lines = lines;
    this.first = lines.make(count);
    this.mask = count - 1;
  }

  /** The current CPU reads the line of `key`, an integer. */
  read(key: number): void {
    this.lines.read(this.first + (key & this.mask));
  }

  /** The current CPU writes the line of `key`, an integer. */
  write(key: number): void {
    this.lines.write(this.first + (key & this.mask));
  }

  /** The current CPU gets the line of `key`, an integer, to write and works `cycles` on it: others that want it meanwhile come after. */
  occupy(key: number, cycles: number): void {
    this.lines.occupy(this.first + (key & this.mask), cycles);
  }

  /** `cpu`, which polls the line of `key`, an integer, reads it anew. */
  poll(key: number, cpu: number): void {
    this.lines.poll(this.first + (key & this.mask), cpu);
  }

  /** The current CPU writes the lines of the keys from `first` to `last`, each line once. */
  writeAll(first: number, last: number): void {
    if (this.lines.isAlone) return;
    const end = Math.min(last, first + this.mask);
    for (let key = first; key <= end; key++) this.lines.write(this.first + (key & this.mask));
  }
}
