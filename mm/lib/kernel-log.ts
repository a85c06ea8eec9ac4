/** What the kernel says (`dmesg`): warnings of emulated code about its callers. The machine goes on. */
import { formatLinearAddress16 } from "../../arch/isa/linear-address.ts";

const LINES_MAX = 10_000;

/** The emulated kernel's log. Old lines fall out beyond 10,000. */
export class KernelLog {
  /** Lines as printed, oldest first. */
  readonly lines: string[] = [];
  /** Warnings given, those that only once print a line counted each time. */
  warnings = 0;
  private readonly once = new Set<string>();

  /** A line of information or of an error (`pr_info`, `pr_warn`). */
  print(line: string): void {
    if (this.lines.length >= LINES_MAX) this.lines.shift();
    this.lines.push(line);
  }

  /** `WARN`: counts and prints. */
  warn(line: string): void {
    this.warnings++;
    this.print(`WARNING: ${line}`);
  }

  /** `WARN_ON_ONCE`: counts every time, prints the first time for each `place`. */
  warnOnce(place: string, line: string): void {
    this.warnings++;
    if (this.once.has(place)) return;
    this.once.add(place);
    this.print(`WARNING: ${line}`);
  }

  /** Copies the log, for saved states. */
  capture(): KernelLogState {
    return { lines: [...this.lines], warnings: this.warnings, warnedOnce: [...this.once] };
  }

  /** Makes the log one that was captured. */
  restore({ lines, warnings, warnedOnce }: KernelLogState): void {
    this.lines.splice(0, this.lines.length, ...lines);
    this.warnings = warnings;
    this.once.clear();
    for (const place of warnedOnce) this.once.add(place);
  }
}

/** What the kernel has said. */
export interface KernelLogState {
  readonly lines: readonly string[];
  /** Warnings so far, those that were not printed again included. */
  readonly warnings: number;
  /** Places that warn once and have. */
  readonly warnedOnce: readonly string[];
}

/** `0x<start>-0x<end>` in 16 digits each. */
export function formatRange(start: number, end: number): string {
  return `${formatLinearAddress16(start)}-${formatLinearAddress16(end)}`;
}
