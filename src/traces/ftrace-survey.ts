/** What a whole trace says, which must be known before its first event can be replayed. */
import type { FtraceEvent } from "./ftrace-lines.ts";
import { ReservedAreas } from "./ftrace-mapped.ts";

/** Gathers it event by event. */
export class FtraceSurvey {
  /** Events of vmalloc so far. */
  events = 0;
  /** As many as the highest CPU number asks for. */
  cpus = 1;
  /** `lazy_max_pages` of the traced kernel, as the first free says it; 0 when none does. */
  lazyMaxPages = 0;
  /** Times of the earliest and the latest event. */
  firstSeconds = Number.POSITIVE_INFINITY;
  lastSeconds = 0;
  /** Whether the first event tells counts of a clock, not seconds. */
  isTicks = false;
  /** Areas that were reserved only, by the numbers of their events. */
  readonly reserved = new ReservedAreas();
  private hasFree = false;

  add(event: FtraceEvent): void {
    if (this.events === 0) this.isTicks = event.isTicks;
    this.reserved.add(event, this.events);
    this.events++;
    this.cpus = Math.max(this.cpus, event.cpu + 1);
    this.firstSeconds = Math.min(this.firstSeconds, event.seconds);
    this.lastSeconds = Math.max(this.lastSeconds, event.seconds);
    if (event.event !== "free" || this.hasFree) return;
    this.hasFree = true;
    this.lazyMaxPages = event.lazyMax;
  }
}
