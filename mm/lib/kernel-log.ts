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
}

/** `0x<start>-0x<end>` in 16 digits each. */
export function formatRange(start: number, end: number): string {
  return `${formatLinearAddress16(start)}-${formatLinearAddress16(end)}`;
}
