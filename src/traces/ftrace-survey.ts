/** What a whole trace says, which must be known before its first event can be replayed. */
import { CPUS_MAX } from "../../arch/isa/limits.ts";
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { VMALLOC_START } from "../../mm/index.ts";
import { InputFileError } from "../input/errors.ts";
import type { FtraceEvent, parseFtraceLine } from "./ftrace-lines.ts";
import { ReservedAreas } from "./ftrace-mapped.ts";
import type { TracedFlushes } from "./ftrace-report.ts";
import { NO_CPU, type SkipList, TICKS } from "./ftrace-skips.ts";
import { VMALLOC_RANGE_BYTES_MIN } from "./ftrace-windows.ts";
import { RecordNotes } from "./record-notes.ts";
import { TracedShootdowns } from "./traced-shootdowns.ts";
import { TracedTasks } from "./traced-tasks.ts";

/** An event of vmalloc, or a probed call. */
type VmallocEvent = Extract<FtraceEvent, { readonly event: "alloc" | "free" | "purge" | "enter" | "exit" }>;

/** More pages are in no address space. */
const PAGES_MAX = 2 ** 36;

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

/** `tlb_single_page_flush_ceiling` of a kernel that says none. */
const CEILING_PAGES = 33;

const FLUSHES: ReadonlySet<string> = new Set(["flush_tlb_all", "flush_tlb_kernel_range", "cpa_flush"]);

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
  /** Whether any event is of vmalloc, and whether calls are among them. */
  hasEvents = false;
  hasCalls = false;
  /** Whether it shows where memory is used: page walks, hits of the second-level TLB. */
  hasUses = false;
  readonly shootdowns = new TracedShootdowns();
  readonly tasks = new TracedTasks();
  /** Where the traced kernel's vmalloc range begins; null as long as nothing says it. */
  rangeStart: bigint | null = null;
  /** What comments say of the traced machine. */
  readonly notes = new RecordNotes();
  /** Areas that were reserved only, by the numbers of their events. */
  readonly reserved = new ReservedAreas();
  /** Pages lazily freed before the trace begins, as the first free whose area the trace shows says it. */
  lazyPagesAtStart = 0;
  /** How far the traced kernel's vmalloc range lies above the emulated one's (KASLR), in bytes. */
  rangeOffset = 0;
  /** All purges, in their order. */
  readonly purges: TracedPurge[] = [];
  /** Most pages of one `vmap` or `vm_map_ram`: whoever calls has them already. */
  mappedPagesMax = 0;
  /** Purges that a probe has seen, for kernels without the tracepoint. */
  purgesProbed = 0;
  private readonly flushCounts = { whole: 0, pageByPage: 0, seconds: 0 };
  /** When each task's flush began. */
  private readonly flushBegan = new Map<string, number>();
  /** Tasks that flush changed attributes, and have called no other function for it yet. */
  private readonly inCpaFlush = new Set<string>();
  private hasFree = false;
  private hasIdleEvents = false;
  private readonly pagesOf = new Map<bigint, number>();
  private frees = 0;
  /** Frees whose areas have been purged. */
  private freesPurged = 0;
  /** Whether there has been too much lazily freed since the last purge that this explains. */
  private isDrainDue = false;

  /** Takes the next event. @throws InputFileError at `line` of `file` for a CPU or a limit that no machine can have */
  add(event: FtraceEvent, file: string, line: number): void {
    if (event.cpu >= CPUS_MAX) {
      throw new InputFileError(file, line, `CPU ${event.cpu}: expected a number from 0 to ${CPUS_MAX - 1}`);
    }
    if (this.events === 0) this.isTicks = event.isTicks;
    this.reserved.add(event, this.events);
    this.events++;
    this.cpus = Math.max(this.cpus, event.cpu + 1);
    this.firstSeconds = Math.min(this.firstSeconds, event.seconds);
    this.lastSeconds = Math.max(this.lastSeconds, event.seconds);
    if (event.event === "tlb" || event.event === "ipi" || event.event === "handler") this.shootdowns.add(event);
    else if (event.event === "use") this.hasUses = true;
    else if (event.event === "idle") this.hasIdleEvents = true;
    else if (event.event === "fault") this.tasks.add(event);
    else if (event.event !== "user" && event.event !== "switch") this.addOfVmalloc(event, file, line);
  }

  private addOfVmalloc(event: VmallocEvent, file: string, line: number): void {
    this.hasEvents = true;
    if (event.event === "alloc") this.noteAlloc(event);
    else if (event.event === "free") this.noteFree(event, file, line);
    else if (event.event === "purge") this.notePurge(event);
    else if (event.event === "enter") this.noteEnter(event);
    else if (event.call === "purge") this.purgesProbed++;
    else this.noteExit(event);
  }

  /** Whether the trace says when CPUs had nothing to run: where that was watched and none is seen, they had none. */
  get hasIdle(): boolean {
    return this.hasIdleEvents || this.notes.watchesIdle;
  }

  /** Flushes of kernel addresses; absent when the trace shows no calls. */
  get flushes(): TracedFlushes | undefined {
    return this.hasCalls ? this.flushCounts : undefined;
  }

  private noteEnter(event: FtraceEvent & { event: "enter" }): void {
    const { call, args, task, seconds } = event;
    this.hasCalls = true;
    this.tasks.add(event);
    const [start, end] = [args.get("start") ?? 0n, args.get("end") ?? 0n];
    if (call === "vmap" || call === "vm_map_ram")
      this.mappedPagesMax = Math.max(this.mappedPagesMax, Number(args.get("count") ?? 0n));
    if (call === "vmalloc" && end - start >= BigInt(VMALLOC_RANGE_BYTES_MIN)) this.rangeStart ??= start;
    if (call === "cpa_flush") {
      // Page by page by itself; or it calls another of these functions, which then counts.
      const isByPage = (args.get("pages") ?? 0n) <= CEILING_PAGES;
      if (isByPage) this.inCpaFlush.add(task);
      if (isByPage) this.flushCounts.pageByPage++;
    } else if (call === "flush_tlb_all" || call === "flush_tlb_kernel_range") {
      if (this.inCpaFlush.delete(task)) this.flushCounts.pageByPage--;
      this.noteFlush(call === "flush_tlb_all" ? PAGES_MAX : Number((end - start) / BigInt(PAGE_SIZE)));
    } else return;
    if (!this.flushBegan.has(task)) this.flushBegan.set(task, seconds);
  }

  private noteFlush(pages: number): void {
    if (pages > CEILING_PAGES) this.flushCounts.whole++;
    else this.flushCounts.pageByPage++;
  }

  private noteExit({ call, task, seconds }: FtraceEvent & { event: "exit" }): void {
    const began = this.flushBegan.get(task);
    if (call === "cpa_flush") this.inCpaFlush.delete(task);
    if (began === undefined || !FLUSHES.has(call)) return;
    this.flushCounts.seconds += seconds - began;
    this.flushBegan.delete(task);
  }

  private noteAlloc({ address, sizeBytes, failed, vstart, vend }: FtraceEvent & { event: "alloc" }): void {
    if (vend - vstart >= BigInt(VMALLOC_RANGE_BYTES_MIN)) {
      this.rangeOffset = Number(BigInt.asUintN(48, vstart)) - VMALLOC_START;
      this.rangeStart ??= vstart;
    }
    if (!failed && !this.hasFree) this.pagesOf.set(address, sizeBytes / PAGE_SIZE);
  }

  private noteFree({ address, lazyNr, lazyMax }: FtraceEvent & { event: "free" }, file: string, line: number): void {
    if (lazyMax > PAGES_MAX)
      throw new InputFileError(file, line, `nr_lazy_max ${lazyMax}: expected at most ${PAGES_MAX}`);
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
  file: string,
  line: number,
  survey: FtraceSurvey,
  skipped: SkipList,
): void {
  if (event.event === "skip") skipped.skip(event, line);
  else if (event.event === "lost") skipped.lose(event);
  else if (event.event === "note") survey.notes.add(event, file, line);
  else {
    if (!survey.hasEvents && event.event === "tlb") skipped.mention("tlb_flush");
    if (event.isTicks) skipped.add(TICKS, line);
    if (!event.hasCpu) skipped.add(NO_CPU, line);
    survey.add(event, file, line);
  }
}
