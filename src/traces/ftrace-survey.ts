/** What a whole trace says, which must be known before its first event can be replayed. */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { VMALLOC_START } from "../../mm/index.ts";
import type { FtraceEvent, parseFtraceLine } from "./ftrace-lines.ts";
import { ReservedAreas } from "./ftrace-mapped.ts";
import { NO_CPU, type SkipList, TICKS } from "./ftrace-skips.ts";
import { VMALLOC_RANGE_BYTES_MIN } from "./ftrace-windows.ts";

/** A purge of the traced kernel. */
export interface TracedPurge {
  /**
   * Whether too much was lazily freed, so that the drain work explains it. The others were asked for: by `vm_unmap_aliases`, or by an
   * allocation that found no room.
   */
  readonly isDrain: boolean;
  /** The trace's frees before it took the lists: those whose areas it gave back, and those of the purges before it. */
  readonly afterFrees: number;
  readonly cpu: number;
  /** The range that was flushed: with `start` at or above `end`, nothing was. */
  readonly start: bigint;
  readonly end: bigint;
}

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
  /** Pages lazily freed before the trace begins, as the first free whose area the trace shows says it. */
  lazyPagesAtStart = 0;
  /** How far the traced kernel's vmalloc range lies above the emulated one's (KASLR), in bytes. */
  rangeOffset = 0;
  /** All purges, in their order. */
  readonly purges: TracedPurge[] = [];
  private hasFree = false;
  private readonly pagesOf = new Map<bigint, number>();
  private frees = 0;
  /** Frees whose areas have been purged. */
  private freesPurged = 0;
  /** Whether there has been too much lazily freed since the last purge that this explains. */
  private isDrainDue = false;

  add(event: FtraceEvent): void {
    if (this.events === 0) this.isTicks = event.isTicks;
    this.reserved.add(event, this.events);
    this.events++;
    this.cpus = Math.max(this.cpus, event.cpu + 1);
    this.firstSeconds = Math.min(this.firstSeconds, event.seconds);
    this.lastSeconds = Math.max(this.lastSeconds, event.seconds);
    if (event.event === "alloc") this.noteAlloc(event);
    else if (event.event === "free") this.noteFree(event);
    else this.notePurge(event);
  }

  private noteAlloc({ address, sizeBytes, failed, vstart, vend }: FtraceEvent & { event: "alloc" }): void {
    if (vend - vstart >= BigInt(VMALLOC_RANGE_BYTES_MIN)) {
      this.rangeOffset = Number(BigInt.asUintN(48, vstart)) - VMALLOC_START;
    }
    if (!failed && !this.hasFree) this.pagesOf.set(address, sizeBytes / PAGE_SIZE);
  }

  private noteFree({ address, lazyNr, lazyMax }: FtraceEvent & { event: "free" }): void {
    this.frees++;
    if (lazyNr > lazyMax) this.isDrainDue = true;
    if (this.hasFree) return;
    this.hasFree = true;
    this.lazyMaxPages = lazyMax;
    const own = this.pagesOf.get(address);
    if (own !== undefined && this.freesPurged === 0) this.lazyPagesAtStart = Math.max(0, lazyNr - own);
    this.pagesOf.clear();
  }

  /** A purge takes all lists at once, so that the areas that it gives back are those that were freed first. */
  private notePurge({ areas, cpu, start, end }: FtraceEvent & { event: "purge" }): void {
    this.freesPurged = Math.min(this.frees, this.freesPurged + areas);
    this.purges.push({ isDrain: this.isDrainDue, afterFrees: this.freesPurged, cpu, start, end });
    this.isDrainDue = false;
  }
}

/** Takes one line of a trace into account: as an event, or as one that is left out. */
export function surveyLine(
  event: ReturnType<typeof parseFtraceLine>,
  line: number,
  survey: FtraceSurvey,
  skipped: SkipList,
): void {
  if (event.event === "skip") skipped.skip(event, line);
  else if (event.event === "lost") skipped.lose(event);
  else {
    if (event.isTicks) skipped.add(TICKS, line);
    if (!event.hasCpu) skipped.add(NO_CPU, line);
    survey.add(event);
  }
}
