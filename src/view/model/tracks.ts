/**
 * What happened on each CPU since the machine was booted: what each was doing, the interrupts between them, the events of
 * vmalloc, and after which step. It only looks.
 */
import { ACTIVITY_IDLE, ACTIVITY_OTHER, ACTIVITY_WALK, type ActivityObserver } from "../../../arch/index.ts";
import { addFields, type IpiObserver, observeEach } from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { type FreePath, freePath } from "./free-search.ts";
import type { Happenings } from "./journal/journal.ts";

/** Spans, interrupts and events beyond which no more are kept, each. */
const KEPT_MAX = 400_000;

/** What a CPU was doing for a time. */
export interface Span {
  readonly cpu: number;
  /** `vmalloc`, `IPI wait`, `idle`, ...: an activity of the accounts of cycles. */
  readonly activity: string;
  readonly fromCycles: number;
  readonly toCycles: number;
}

/** An interrupt from one CPU to another. */
export interface Ipi {
  readonly id: number;
  readonly from: number;
  readonly to: number;
  readonly sentCycles: number;
  /** When its handler began; null while it is under way. */
  takenCycles: number | null;
  /** The step in which it was sent. */
  readonly position: number;
}

/** An event of vmalloc, as recordings name it. */
export interface TrackEvent {
  readonly position: number;
  readonly cpu: number;
  readonly atCycles: number;
  readonly name: string;
  /** Its fields, as `name=value`. */
  readonly text: string;
}

/** What was added in one step, to take it away and to add it again. */
export interface TracksTail {
  readonly spans: readonly Span[];
  readonly ipis: readonly Ipi[];
  readonly events: readonly TrackEvent[];
  readonly callPositions: readonly number[];
  /** Interrupts whose handlers began. */
  readonly taken: readonly { readonly ipi: Ipi; readonly atCycles: number }[];
  readonly dropped: number;
  readonly sinceBefore: Float64Array;
  readonly sinceAfter: Float64Array;
  readonly searchBefore: FreePath | null;
  readonly searchAfter: FreePath | null;
}

/** How much there was at some time. */
interface Mark {
  readonly spans: number;
  readonly ipis: number;
  readonly events: number;
  readonly calls: number;
  readonly dropped: number;
  readonly since: Float64Array;
  readonly search: FreePath | null;
}

/** Collects what happens on a kernel, from its boot on. */
export class Tracks implements ActivityObserver, IpiObserver, Happenings<TracksTail> {
  /** The step under way, from 1. */
  position = 0;
  readonly spans: Span[] = [];
  readonly ipis: Ipi[] = [];
  readonly events: TrackEvent[] = [];
  /** Steps in which a call of the kernel began, ascending. */
  readonly callPositions: number[] = [];
  /** The way that the last search for room in the free tree took; null before the first. */
  lastSearch: FreePath | null = null;
  /** What was not kept for want of room. */
  dropped = 0;

  private readonly kernel: Kernel;
  private readonly sinceCycles: Float64Array;
  private readonly underWay = new Map<number, Ipi>();
  /** As it was when `takeTail` was called last. */
  private mark: Mark;
  private taken: { readonly ipi: Ipi; readonly atCycles: number }[] = [];

  constructor(kernel: Kernel) {
    const { loop } = kernel.machine;
    this.kernel = kernel;
    this.sinceCycles = loop.clockCycles.slice();
    this.mark = this.markNow();
    loop.accounts.observer = this;
    kernel.vm.freeTree.onSearch = (search) => {
      this.lastSearch = freePath(kernel.vm, search);
    };
    kernel.vm.flushing.smp.observer = this;
    kernel.vm.events = observeEach((_hook, { name, fields }) => (...values) => {
      const shown: Record<string, string | number> = {};
      addFields(shown, fields, values);
      const text = Object.entries(shown).map(([field, value]) => `${field}=${value}`);
      const { currentCpu: cpu } = loop;
      this.keep(this.events, { position: this.position, cpu, atCycles: loop.nowCycles(), name, text: text.join(" ") });
    });
  }

  activityChanged(cpu: number, from: number, to: number, atCycles: number): void {
    const fromCycles = this.sinceCycles[cpu];
    this.sinceCycles[cpu] = atCycles;
    if (atCycles > fromCycles)
      this.keep(this.spans, { cpu, activity: this.nameOf(from), fromCycles, toCycles: atCycles });
    // Page walks are the last of the activities that every machine has; after them come the kernel's own calls.
    const begins = to > ACTIVITY_WALK && (from === ACTIVITY_OTHER || from === ACTIVITY_IDLE);
    if (begins && this.callPositions.at(-1) !== this.position) this.keep(this.callPositions, this.position);
  }

  ipiSent(id: number, from: number, to: number, atCycles: number): void {
    const ipi: Ipi = { id, from, to, sentCycles: atCycles, takenCycles: null, position: this.position };
    this.underWay.set(id, ipi);
    this.keep(this.ipis, ipi);
  }

  ipiTaken(id: number, _cpu: number, atCycles: number): void {
    const ipi = this.underWay.get(id);
    this.underWay.delete(id);
    if (ipi === undefined) return;
    ipi.takenCycles = atCycles;
    this.taken.push({ ipi, atCycles });
  }

  /** What was added since it was called last, or since `mark`. */
  takeTail(): TracksTail {
    const { spans, ipis, events, callPositions, taken, mark } = this;
    this.taken = [];
    this.mark = this.markNow();
    return {
      spans: spans.slice(mark.spans),
      ipis: ipis.slice(mark.ipis),
      events: events.slice(mark.events),
      callPositions: callPositions.slice(mark.calls),
      taken,
      dropped: this.dropped - mark.dropped,
      sinceBefore: mark.since,
      sinceAfter: this.mark.since,
      searchBefore: mark.search,
      searchAfter: this.mark.search,
    };
  }

  /** Takes away what was added last. */
  removeTail({ spans, ipis, events, callPositions, taken, dropped, sinceBefore, searchBefore }: TracksTail): void {
    this.spans.length -= spans.length;
    this.ipis.length -= ipis.length;
    this.events.length -= events.length;
    this.callPositions.length -= callPositions.length;
    for (const { ipi } of taken) ipi.takenCycles = null;
    this.dropped -= dropped;
    this.sinceCycles.set(sinceBefore);
    this.lastSearch = searchBefore;
  }

  /** Adds what was taken away. */
  addTail({ spans, ipis, events, callPositions, taken, dropped, sinceAfter, searchAfter }: TracksTail): void {
    this.spans.push(...spans);
    this.ipis.push(...ipis);
    this.events.push(...events);
    this.callPositions.push(...callPositions);
    for (const { ipi, atCycles } of taken) ipi.takenCycles = atCycles;
    this.dropped += dropped;
    this.sinceCycles.set(sinceAfter);
    this.lastSearch = searchAfter;
  }

  private markNow(): Mark {
    const { spans, ipis, events, callPositions, dropped, sinceCycles } = this;
    return {
      spans: spans.length,
      ipis: ipis.length,
      events: events.length,
      calls: callPositions.length,
      dropped,
      since: sinceCycles.slice(),
      search: this.lastSearch,
    };
  }

  /** The spans that end after `fromCycles`, what each CPU is doing now included; the last `max` of them. */
  spansSince(fromCycles: number, max: number): Span[] {
    const { loop } = this.kernel.machine;
    const found: Span[] = [];
    for (let cpu = 0; cpu < loop.cpus; cpu++) {
      const [since, now] = [this.sinceCycles[cpu], loop.clockCycles[cpu]];
      const activity = this.nameOf(loop.accounts.current[cpu]);
      if (now > since) found.push({ cpu, activity, fromCycles: since, toCycles: now });
    }
    for (let i = this.spans.length - 1; i >= 0 && found.length < max; i--) {
      if (this.spans[i].toCycles > fromCycles) found.push(this.spans[i]);
    }
    return found.reverse();
  }

  private nameOf(activity: number): string {
    return this.kernel.machine.loop.accounts.names[activity];
  }

  private keep<T>(list: T[], item: T): void {
    if (list.length < KEPT_MAX) list.push(item);
    else this.dropped++;
  }
}
