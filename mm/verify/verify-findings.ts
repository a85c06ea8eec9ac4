/** What a check of the whole state has found wrong. */
import { formatLinearAddress16 } from "../../arch/isa/linear-address.ts";
import { formatRange } from "../lib/kernel-log.ts";
import type { VmapAreas } from "../vmalloc/areas/vmap-areas.ts";

/** One broken link can make everything behind it look wrong; nobody reads more than this. */
const LINES_MAX = 1000;

/** Collects one line a finding. */
export class Findings {
  private readonly lines: string[] = [];
  private dropped = 0;

  /** Adds a finding: one line that names the culprit. */
  add(line: string): void {
    if (this.lines.length < LINES_MAX) this.lines.push(line);
    else this.dropped++;
  }

  /** All findings; those beyond the first thousand as a number. */
  result(): string[] {
    return this.dropped === 0 ? this.lines : [...this.lines, `and ${this.dropped} more findings`];
  }
}

/** `0x<start>-0x<end>` of an area. */
export function areaRange(areas: VmapAreas, area: number): string {
  return formatRange(areas.startOf(area), areas.endOf(area));
}

/** A linear address in 16 digits. */
export function address(la: number): string {
  return formatLinearAddress16(la);
}

/** `frame 0x<number>`. */
export function frameName(frame: number): string {
  return `frame 0x${frame.toString(16)}`;
}
