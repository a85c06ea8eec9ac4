/** Lines of a trace that could not be used, or only with a doubt, and what the tracer lost. */
import type { FtraceLoss, FtraceSkip } from "./ftrace-lines.ts";

/** Lines named for each reason why lines could not be used. */
const LINES_NAMED = 3;

/** Lines that could not be used for one reason. */
export interface SkippedLines {
  readonly reason: string;
  count: number;
  /** The first of them, from 1. */
  readonly lines: number[];
}

/** Events that the tracer lost on one CPU. */
export interface LostEvents {
  readonly cpu: number;
  readonly events: number | null;
}

/** Of lines that are used, with a doubt. */
export const TICKS = "tells its time in counts of a clock; each is taken for a cycle of the emulated CPU";
export const NO_CPU = "names no CPU; all are replayed on CPU 0";
/** Names of other events that an error lists. */
const OTHER_EVENTS_MAX = 5;
/** CPUs of which losses are kept. */
const LOST_CPUS_MAX = 8192;

/** What could not be used, and what was used with a doubt. */
export class SkipList {
  private readonly byReason = new Map<string, SkippedLines>();
  private readonly otherEvents = new Set<string>();
  private readonly lostByCpu = new Map<number, number | null>();

  /** A line is not used, for this reason. @param line from 1 */
  skip({ reason, otherEvent }: FtraceSkip, line: number): void {
    if (otherEvent !== undefined && this.otherEvents.size < OTHER_EVENTS_MAX) this.otherEvents.add(otherEvent);
    this.add(reason, line);
  }

  /** An event that is used, but does not suffice alone. */
  mention(name: string): void {
    if (this.otherEvents.size < OTHER_EVENTS_MAX) this.otherEvents.add(name);
  }

  /** A CPU's buffer has lost events; `count` null where the trace does not say how many. */
  lose({ cpu, count }: FtraceLoss): void {
    const before = this.lostByCpu.get(cpu);
    if (before === undefined && this.lostByCpu.size >= LOST_CPUS_MAX) return;
    this.lostByCpu.set(cpu, before === null || count === null ? null : (before ?? 0) + count);
  }

  /** What was lost, by CPU. */
  lost(): LostEvents[] {
    return [...this.lostByCpu].map(([cpu, events]) => ({ cpu, events })).sort((a, b) => a.cpu - b.cpu);
  }

  /** Why a file without an event of vmalloc cannot be replayed. */
  whyNothing(): string {
    if (this.otherEvents.size === 0)
      return "no line is ftrace text of a vmalloc event (such as `... alloc_vmap_area: ...`)";
    const names = [...this.otherEvents].join(", ");
    return `there are events (${names}), but none of vmalloc:alloc_vmap_area and vmalloc:free_vmap_area_noflush, which a replay needs`;
  }

  /** Counts a line under a reason; an empty one counts nothing. @param line from 1 */
  add(reason: string, line: number): void {
    if (reason === "") return;
    let entry = this.byReason.get(reason);
    if (entry === undefined) {
      entry = { reason, count: 0, lines: [] };
      this.byReason.set(reason, entry);
    }
    entry.count++;
    if (entry.lines.length < LINES_NAMED) entry.lines.push(line);
  }

  /** All reasons, with how many lines and which were the first. */
  list(): SkippedLines[] {
    return [...this.byReason.values()];
  }
}
