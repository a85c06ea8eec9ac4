/** Every lazy free, in order: who freed what, when, and which flush it led to. */
import { growFloat64, growInt32 } from "../lib/grow.ts";

const FIRST_CAPACITY = 1024;

/** Frees by number, from 0 on. */
export class FreeLedger {
  /** Pages freed, guard page included. */
  pages = new Int32Array(FIRST_CAPACITY);
  /** First address. */
  start = new Float64Array(FIRST_CAPACITY);
  /** The CPU that freed, and its clock. */
  cpu = new Int32Array(FIRST_CAPACITY);
  atCycles = new Float64Array(FIRST_CAPACITY);
  /** Number of the flush after which the range could be used again; 0 as long as there was none. */
  flush = new Int32Array(FIRST_CAPACITY);
  length = 0;

  private origin = new Int32Array(FIRST_CAPACITY);
  private readonly origins: string[] = [];
  private readonly originNumbers = new Map<string, number>();
  /** The last free of each area, plus 1. */
  private ofArea = new Int32Array(FIRST_CAPACITY);
  private capacity = FIRST_CAPACITY;

  /** Notes that `area` was freed; `origin` says on whose behalf. */
  add(area: number, start: number, pages: number, origin: string, cpu: number, atCycles: number): void {
    if (this.length === this.capacity) this.grow();
    const i = this.length++;
    this.pages[i] = pages;
    this.start[i] = start;
    this.cpu[i] = cpu;
    this.atCycles[i] = atCycles;
    this.flush[i] = 0;
    this.origin[i] = this.numberOf(origin);
    this.setWaiting(area, i);
  }

  /** The free of `area` is over: a flush has been made. Returns its pages, or 0 when the area's free was not noted. */
  flushed(area: number, flush: number): number {
    const i = area < this.ofArea.length ? this.ofArea[area] - 1 : -1;
    if (i < 0) return 0;
    this.ofArea[area] = 0;
    this.flush[i] = flush;
    return this.pages[i];
  }

  /** On whose behalf the free number `i` was made. */
  originOf(i: number): string {
    return this.origins[this.origin[i]];
  }

  /** Index of the free of an area that waits for its flush; -1 when there is none. */
  waitingOf(area: number): number {
    return area < this.ofArea.length ? this.ofArea[area] - 1 : -1;
  }

  /** Says that the free number `i` is that of `area`, which waits for its flush, for saved states. */
  setWaiting(area: number, i: number): void {
    while (area >= this.ofArea.length) this.ofArea = growInt32(this.ofArea, this.ofArea.length * 2);
    this.ofArea[area] = i + 1;
  }

  private numberOf(origin: string): number {
    let number = this.originNumbers.get(origin);
    if (number === undefined) {
      number = this.origins.push(origin) - 1;
      this.originNumbers.set(origin, number);
    }
    return number;
  }

  private grow(): void {
    const capacity = this.capacity * 2;
    this.capacity = capacity;
    this.pages = growInt32(this.pages, capacity);
    this.start = growFloat64(this.start, capacity);
    this.cpu = growInt32(this.cpu, capacity);
    this.atCycles = growFloat64(this.atCycles, capacity);
    this.flush = growInt32(this.flush, capacity);
    this.origin = growInt32(this.origin, capacity);
  }
}
