/**
 * What happened on each CPU since the machine was booted: what each was doing, the interrupts between them, the events of
 * vmalloc, and after which step. It only looks.
 */
import { ACTIVITY_IDLE, ACTIVITY_OTHER, ACTIVITY_WALK, type ActivityObserver } from "../../../arch/index.ts";
import { addFields, type IpiObserver, observeEach } from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { CallCosts, type CallsTail } from "./call-costs.ts";
import { CounterSamples } from "./counter-samples.ts";
import { type FreePath, freePath } from "./free-search.ts";
import type { Happenings } from "./journal/journal.ts";
import { LateHandlers, type Moved } from "./late-handlers.ts";
import { Recent } from "./recent.ts";

/** Spans, interrupts, events and calls that are kept, each: the latest. */
const KEPT = 100_000;

/** What a CPU was doing for a time. */
export interface Span {
  readonly cpu: number;
  /** `vmalloc`, `IPI wait`, `idle`, ...: an activity of the accounts of cycles. */
  readonly activity: string;
  fromCycles: number;
  toCycles: number;
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
  atCycles: number;
  readonly name: string;
  /** Its fields, as `name=value`. */
  readonly text: string;
}

/** An event as it is kept: few are ever put into words. */
export interface KeptEvent extends Omit<TrackEvent, "text"> {
  readonly fields: Parameters<typeof addFields>[1];
  readonly values: Parameters<typeof addFields>[2];
}

/** An event in words. */
export function describeEvent({ fields, values, ...rest }: KeptEvent): TrackEvent {
  const shown: Record<string, string | number> = {};
  addFields(shown, fields, values);
  const text = Object.entries(shown).map(([field, value]) => `${field}=${value}`);
  return { ...rest, text: text.join(" ") };
}

/** What was added in one step, to take it away and to add it again. */
export interface TracksTail {
  readonly position: number;
  readonly spans: readonly Span[];
  readonly ipis: readonly Ipi[];
  readonly events: readonly KeptEvent[];
  readonly callPositions: readonly number[];
  readonly calls: CallsTail;
  /** Spans and events that interrupts made later. */
  readonly moved: readonly Moved[];
  /** Interrupts whose handlers began. */
  readonly taken: readonly { readonly ipi: Ipi; readonly atCycles: number }[];
  readonly sinceBefore: Float64Array;
  readonly sinceAfter: Float64Array;
  readonly searchBefore: FreePath | null;
  readonly searchAfter: FreePath | null;
}

/** Collects what happens on a kernel, from its boot on. */
export class Tracks implements ActivityObserver, IpiObserver, Happenings<TracksTail> {
  /** The step under way, from 1. */
  position = 0;
  readonly spans = new Recent<Span>(KEPT);
  readonly ipis = new Recent<Ipi>(KEPT);
  readonly events = new Recent<KeptEvent>(KEPT);
  /** Steps in which a call of the kernel began, ascending. */
  readonly callPositions = new Recent<number>(KEPT);
  /** What calls cost. */
  readonly calls: CallCosts;
  /** Counters over time. */
  readonly counters: CounterSamples;
  /** The path that the last search for room took through the free tree; null before the first. */
  lastSearch: FreePath | null = null;

  /** Called after each event and at the end of each call of the kernel; null: nobody is. */
  happened: (() => void) | null = null;

  private readonly kernel: Kernel;
  private readonly sinceCycles: Float64Array;
  private readonly lateHandlers = new LateHandlers(this.spans, this.events);
  private readonly underWay = new Map<number, Ipi>();
  /** As it was when `takeTail` was called last. */
  private markSince: Float64Array;
  private markSearch: FreePath | null = null;
  private taken: { readonly ipi: Ipi; readonly atCycles: number }[] = [];

  constructor(kernel: Kernel) {
    const { loop } = kernel.machine;
    this.kernel = kernel;
    this.sinceCycles = loop.clockCycles.slice();
    this.markSince = this.sinceCycles.slice();
    this.calls = new CallCosts(loop.accounts, loop.cpus);
    this.counters = new CounterSamples(kernel);
    loop.accounts.observer = this;
    kernel.vm.freeTree.onSearch = (search) => {
      this.lastSearch = freePath(kernel.vm, search);
    };
    kernel.vm.flushing.smp.observer = this;
    kernel.vm.events = observeEach((_hook, { name, fields }) => (...values) => {
      const { currentCpu: cpu } = loop;
      this.events.push({ position: this.position, cpu, atCycles: loop.nowCycles(), name, fields, values });
      if (this.happened !== null) this.happened();
    });
  }

  /** Looks no longer. */
  end(): void {
    const { machine, vm } = this.kernel;
    machine.loop.accounts.observer = null;
    vm.freeTree.onSearch = null;
    vm.flushing.smp.observer = null;
    vm.events = null;
  }

  activityChanged(cpu: number, from: number, to: number, atCycles: number): void {
    const fromCycles = this.sinceCycles[cpu];
    this.sinceCycles[cpu] = atCycles;
    if (atCycles > fromCycles) this.spans.push({ cpu, activity: this.nameOf(from), fromCycles, toCycles: atCycles });
    const isEnd = this.calls.changed(cpu, from, to, atCycles, this.position);
    // Page walks are the last of the activities that every machine has; after them come the kernel's own calls.
    const begins = to > ACTIVITY_WALK && (from === ACTIVITY_OTHER || from === ACTIVITY_IDLE);
    if (begins && this.callPositions.items.at(-1) !== this.position) this.callPositions.push(this.position);
    if (isEnd && this.happened !== null) this.happened();
  }

  clockSetBack(cpu: number, cycles: number, toCycles: number): void {
    const { lateHandlers, sinceCycles } = this;
    if (cycles > 0) lateHandlers.begin(toCycles, sinceCycles[cpu]);
    else sinceCycles[cpu] = lateHandlers.end(cpu, toCycles + cycles);
  }

  ipiSent(id: number, from: number, to: number, atCycles: number): void {
    const ipi: Ipi = { id, from, to, sentCycles: atCycles, takenCycles: null, position: this.position };
    this.underWay.set(id, ipi);
    this.ipis.push(ipi);
  }

  ipiTaken(id: number, _cpu: number, atCycles: number): void {
    const ipi = this.underWay.get(id);
    this.underWay.delete(id);
    if (ipi === undefined) return;
    ipi.takenCycles = atCycles;
    this.taken.push({ ipi, atCycles });
  }

  /** The machine has made the step under way. */
  stepMade(): void {
    this.counters.add(this.position);
  }

  /** What was added since it was called last. */
  takeTail(): TracksTail {
    const { position, spans, ipis, events, callPositions, calls, taken, markSince, markSearch } = this;
    this.taken = [];
    this.markSince = this.sinceCycles.slice();
    this.markSearch = this.lastSearch;
    return {
      position,
      spans: spans.takeTail(),
      ipis: ipis.takeTail(),
      events: events.takeTail(),
      callPositions: callPositions.takeTail(),
      calls: calls.takeTail(),
      moved: this.lateHandlers.takeTail(),
      taken,
      sinceBefore: markSince,
      sinceAfter: this.markSince,
      searchBefore: markSearch,
      searchAfter: this.markSearch,
    };
  }

  /** Takes away what was added last. */
  removeTail({
    position,
    spans,
    ipis,
    events,
    callPositions,
    calls,
    moved,
    taken,
    sinceBefore,
    searchBefore,
  }: TracksTail): void {
    this.lateHandlers.removeTail(moved);
    this.spans.removeTail(spans);
    this.ipis.removeTail(ipis);
    this.events.removeTail(events);
    this.callPositions.removeTail(callPositions);
    this.calls.removeTail(calls);
    this.counters.cutAfter(position - 1);
    for (const { ipi } of taken) ipi.takenCycles = null;
    this.sinceCycles.set(sinceBefore);
    this.lastSearch = searchBefore;
  }

  /** Adds what was taken away. */
  addTail(tail: TracksTail): void {
    const { position, spans, ipis, events, callPositions, calls, moved, taken, sinceAfter, searchAfter } = tail;
    this.spans.addTail(spans);
    this.ipis.addTail(ipis);
    this.events.addTail(events);
    this.callPositions.addTail(callPositions);
    this.calls.addTail(calls);
    this.lateHandlers.addTail(moved);
    for (const { ipi, atCycles } of taken) ipi.takenCycles = atCycles;
    this.sinceCycles.set(sinceAfter);
    this.lastSearch = searchAfter;
    this.counters.add(position);
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
    const { items } = this.spans;
    for (let i = items.length - 1; i >= 0 && found.length < max; i--) {
      if (items[i].toCycles > fromCycles) found.push(items[i]);
    }
    return found.reverse();
  }

  private nameOf(activity: number): string {
    return this.kernel.machine.loop.accounts.names[activity];
  }
}
