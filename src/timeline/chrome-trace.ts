/**
 * A timeline in the Chrome trace-event format (JSON), for ui.perfetto.dev: a process a machine, a track a CPU, spans for
 * operations, lock waits, handlers and whatever else the accounts of cycles name, arrows from an interrupt's sender to its
 * receivers, and a counter of lazily freed pages. Spans say in their arguments which call they belong to (`span-calls.ts`). Times are microseconds of the emulated machine.
 *
 * Viewers differ in their arithmetic. Perfetto cuts `ts` and `dur` off to whole nanoseconds, each on its own, and drops a span
 * that then reaches beyond the one around it; others add the two as floating-point numbers and lose their way where a span
 * ends a rounding error after the next one has begun. So begins and ends are rounded to nanoseconds here, and within that
 * nanosecond ends come before begins and inner spans keep within outer ones: {@link beginTicks}, {@link endTicks}.
 */
import {
  ACTIVITY_FLUSH,
  ACTIVITY_IDLE,
  ACTIVITY_INTERRUPT,
  ACTIVITY_IPI_SEND,
  ACTIVITY_IPI_WAIT,
  ACTIVITY_LOCK_WAIT,
  ACTIVITY_OTHER,
  ACTIVITY_SWITCH,
  type ActivityObserver,
} from "../../arch/index.ts";
import type { IpiObserver } from "../../mm/index.ts";
import type { Kernel } from "../machine/kernel.ts";
import { type SpanCall, SpanCalls } from "./span-calls.ts";

/** Activities that no other begins within, but interrupts. */
const INNERMOST = new Set([ACTIVITY_FLUSH, ACTIVITY_IPI_SEND, ACTIVITY_IPI_WAIT, ACTIVITY_LOCK_WAIT, ACTIVITY_SWITCH]);

/** Events beyond which nothing more is recorded. */
const EVENTS_MAX = 2_000_000;

/** A span that is open on a CPU's track. */
interface OpenSpan {
  readonly activity: number;
  beganCycles: number;
  /** The call that it is within, or that began first within it, in an interrupt the sender's; null where there is none. */
  call: SpanCall | null;
}

/** An arrow whose end has not been seen yet. */
interface OpenFlow {
  readonly cpu: number;
  atCycles: number;
  /** When the first of the handlers ended that have put it off; infinite where none has. */
  putOffCycles: number;
  /** The sender's call. */
  readonly call: SpanCall | null;
}

/** One event of the file, and where it belongs in it. */
interface Entry {
  /** All of it but its times. */
  readonly event: object;
  /** When it is or begins; -1 for none. */
  atCycles: number;
  /** A span's end; -1 for all else, which comes after the spans that begin at its time. */
  endCycles: number;
  readonly cyclesPerNsec: number;
  /** How many nanoseconds later it is shown. */
  readonly laterNsec: number;
  /** How many spans there are around it; else `DEPTH_MAX`. */
  readonly depth: number;
  /** Whether others of its track may end later although they were added earlier. */
  readonly isLate: boolean;
  /** It is not moved beyond this: what was sent comes before what it leads to ({@link laterOf}). */
  readonly latestCycles: number;
}

/** What most entries have in common. */
const PLAIN = { laterNsec: 0, isLate: false, latestCycles: Number.POSITIVE_INFINITY };

/** What a handler interrupted whose CPU has gone past it already (`InterruptedCpus`). */
interface Interrupted {
  readonly atCycles: number;
  readonly open: OpenSpan[];
  /** How many entries the CPU's track had. */
  readonly entries: number;
}

/**
 * Where an entry is that a handler, which ended at `endCycles`, makes `later` cycles later. A call that its target took before that cannot
 * come out of the span that sent it, which is later: it comes out of the handler that put that off.
 */
function laterOf({ atCycles, latestCycles }: Entry, later: number, endCycles: number): number {
  return atCycles + later <= latestCycles ? atCycles + later : Math.min(latestCycles, endCycles);
}

/** Adds an event. */
type Add = (entry: Entry) => void;

/** Collects events of one or more machines; `toJson` gives the file. */
export class ChromeTrace {
  private readonly events: Entry[] = [];
  private machines = 0;
  private dropped = 0;
  private readonly watches: Watch[] = [];

  /** Records a kernel from now on, as a process called `label`. */
  watch(kernel: Kernel, label: string): void {
    this.watches.push(new Watch(kernel, ++this.machines, label, (entry) => this.add(entry)));
  }

  /** The whole trace. Spans that are open end at their CPU's time. @param madeBy what it says of its making; null for nothing */
  toJson(madeBy: object | null = null): string {
    for (const watch of this.watches.splice(0)) watch.close();
    const made = madeBy === null ? "" : `,"madeBy":${JSON.stringify(madeBy)}`;
    const note = this.dropped === 0 ? "" : `,"droppedEvents":${this.dropped}`;
    // Of spans that begin at the same time the outermost must come first: the longest, or the one that ended last.
    const ordered = this.events.map((entry, order) => ({ event: entry.event, order, ...timesOf(entry) }));
    ordered.sort(
      (a, b) =>
        a.atNsec - b.atNsec ||
        b.lengthNsec - a.lengthNsec ||
        (a.lengthNsec >= 0 ? b.order - a.order : a.order - b.order),
    );
    // A span that is no nanosecond long has no place.
    const shown = ordered.filter(({ lengthNsec }) => lengthNsec !== 0);
    const texts = shown.map(({ event, times }) => JSON.stringify({ ...event, ...times }));
    return `{"displayTimeUnit":"ns","otherData":{"source":"mmulab"${made}${note}},"traceEvents":[\n${texts.join(",\n")}\n]}\n`;
  }

  private add(entry: Entry): void {
    if (this.events.length < EVENTS_MAX) this.events.push(entry);
    else this.dropped++;
  }
}

class Watch implements ActivityObserver, IpiObserver {
  private readonly kernel: Kernel;
  private readonly pid: number;
  private readonly add: Add;
  private readonly cyclesPerNsec: number;
  private readonly open: OpenSpan[][];
  private readonly calls: SpanCalls;
  /** Entries of each CPU's track. */
  private readonly tracks: Entry[][];
  private readonly interrupted: (Interrupted | null)[];
  private readonly openFlows = new Map<number, OpenFlow>();
  private lazyPages = 0;
  private lazyPagesCycles = 0;

  constructor(kernel: Kernel, pid: number, label: string, add: Add) {
    const { loop, preset, cpus } = kernel.machine;
    this.kernel = kernel;
    this.pid = pid;
    this.add = add;
    this.cyclesPerNsec = preset.frequencyGhz.value;
    this.open = cpus.map(() => []);
    this.calls = new SpanCalls(kernel, (call) => this.callBegan(call));
    this.tracks = cpus.map(() => []);
    this.interrupted = cpus.map(() => null);
    loop.accounts.observer = this;
    kernel.vm.flushing.smp.observer = this;
    const name = (event: object): void => add(this.instant(event, -1));
    name({ ph: "M", name: "process_name", pid, args: { name: label } });
    for (const { id } of cpus) {
      name({ ph: "M", name: "thread_name", pid, tid: id, args: { name: `CPU ${id}` } });
      name({ ph: "M", name: "thread_sort_index", pid, tid: id, args: { sort_index: id } });
    }
  }

  /** An activity begins within the one before; going back to one that is open ends all within it. */
  activityChanged(cpu: number, from: number, to: number, atCycles: number): void {
    this.countLazyPages(atCycles);
    const open = this.open[cpu];
    // Nothing but an interrupt happens within these: a thread that slept goes on elsewhere.
    if (INNERMOST.has(from) && to !== ACTIVITY_INTERRUPT && open.at(-1)?.activity === from) {
      this.endDownTo(cpu, open.length - 1, atCycles);
    }
    const depth =
      to === ACTIVITY_OTHER || to === ACTIVITY_IDLE ? -1 : open.findIndex(({ activity }) => activity === to);
    const isOutside = to === ACTIVITY_OTHER || to === ACTIVITY_IDLE;
    if (isOutside) this.endDownTo(cpu, 0, atCycles);
    else if (depth >= 0) this.endDownTo(cpu, depth + 1, atCycles);
    else open.push({ activity: to, beganCycles: atCycles, call: this.callOf(open, to) });
  }

  /** The call of a span that begins: of the current thread, unless it interrupts one. */
  private callOf(open: readonly OpenSpan[], activity: number): SpanCall | null {
    if (activity === ACTIVITY_INTERRUPT) return null;
    const handler = open.find((span) => span.activity === ACTIVITY_INTERRUPT);
    return handler === undefined ? this.calls.current : handler.call;
  }

  /** A call is that of the span in which it begins, where that has none. */
  private callBegan(call: SpanCall): void {
    const span = this.open[this.kernel.machine.loop.currentCpu].at(-1);
    if (span !== undefined && span.call === null && span.activity !== ACTIVITY_INTERRUPT) span.call = call;
  }

  clockSetBack(cpu: number, cycles: number, toCycles: number): void {
    if (cycles > 0) {
      const { open, tracks } = this;
      this.interrupted[cpu] = { atCycles: toCycles, open: open[cpu], entries: tracks[cpu].length };
      open[cpu] = [];
    } else {
      // Forward again: the handler has ended.
      this.endDownTo(cpu, 0, toCycles + cycles);
      this.moveInterrupted(cpu, toCycles + cycles);
    }
  }

  ipiSent(id: number, from: number, _to: number, atCycles: number): void {
    this.openFlows.set(id, { cpu: from, atCycles, putOffCycles: Number.POSITIVE_INFINITY, call: this.calls.current });
  }

  ipiTaken(id: number, cpu: number, atCycles: number): void {
    const start = this.openFlows.get(id);
    if (start === undefined) return;
    this.openFlows.delete(id);
    // Just before the command was written: within the span of sending, which may end right then.
    const sentCycles = start.atCycles <= atCycles ? start.atCycles : Math.min(start.putOffCycles, atCycles);
    this.flow("s", id, start.cpu, sentCycles, -2, {}, atCycles);
    const handler = this.open[cpu].at(-1);
    if (handler?.activity === ACTIVITY_INTERRUPT) handler.call ??= start.call;
    // A nanosecond after its handler's span has begun.
    this.flow("f", id, cpu, atCycles, 1, { bp: "e" });
  }

  /** Ends what is open and looks no longer. */
  close(): void {
    const { loop } = this.kernel.machine;
    for (let cpu = 0; cpu < loop.cpus; cpu++) this.endDownTo(cpu, 0, loop.clockCycles[cpu]);
    loop.accounts.observer = null;
    this.kernel.vm.flushing.smp.observer = null;
    this.calls.close();
  }

  /** All that a CPU did after a handler's begin, as far as it was added before, is as much later as the handler took. */
  private moveInterrupted(cpu: number, endCycles: number): void {
    const interrupted = this.interrupted[cpu];
    if (interrupted === null) return;
    this.interrupted[cpu] = null;
    const { atCycles, open, entries } = interrupted;
    const later = endCycles - atCycles;
    const track = this.tracks[cpu];
    for (let i = entries - 1; i >= 0; i--) {
      const entry = track[i];
      if (Math.max(entry.atCycles, entry.endCycles) <= atCycles) {
        if (entry.isLate) continue;
        break;
      }
      // A span that begins then begins after the handler; what was sent then was sent before it.
      const isLater = entry.endCycles < 0 ? entry.atCycles > atCycles : entry.atCycles >= atCycles;
      if (isLater) entry.atCycles = laterOf(entry, later, endCycles);
      if (entry.endCycles >= 0) entry.endCycles += later;
    }
    for (const span of open) if (span.beganCycles >= atCycles) span.beganCycles += later;
    for (const flow of this.openFlows.values()) {
      if (flow.cpu !== cpu || flow.atCycles <= atCycles) continue;
      flow.atCycles += later;
      if (flow.putOffCycles > atCycles) flow.putOffCycles = endCycles;
    }
    this.open[cpu] = open;
  }

  private flow(
    ph: "s" | "f",
    id: number,
    cpu: number,
    atCycles: number,
    laterNsec: number,
    more: object,
    latestCycles = Number.POSITIVE_INFINITY,
  ): void {
    const event = { ph, name: "IPI", cat: "ipi", id: `${this.pid}.${id}`, pid: this.pid, tid: cpu, ...more };
    this.put(cpu, { ...this.instant(event, atCycles), laterNsec, isLate: true, latestCycles });
  }

  private instant(event: object, atCycles: number): Entry {
    const { cyclesPerNsec } = this;
    return { ...PLAIN, event, atCycles, endCycles: -1, cyclesPerNsec, depth: DEPTH_MAX };
  }

  private put(cpu: number, entry: Entry): void {
    this.tracks[cpu].push(entry);
    this.add(entry);
  }

  private endDownTo(cpu: number, toDepth: number, endCycles: number): void {
    const open = this.open[cpu];
    const { cyclesPerNsec } = this;
    const isLate = this.interrupted[cpu] !== null;
    while (open.length > toDepth) {
      const span = open.pop();
      if (span === undefined || span.beganCycles === endCycles) continue;
      const name = this.kernel.machine.loop.accounts.names[span.activity];
      const depth = open.length + (isLate ? DEPTH_LATE : 0);
      const args = span.call === null ? {} : { args: { ...span.call } };
      const event = { ph: "X", name, pid: this.pid, tid: cpu, ...args };
      this.put(cpu, { ...PLAIN, event, atCycles: span.beganCycles, endCycles, cyclesPerNsec, depth, isLate });
    }
  }

  private countLazyPages(atCycles: number): void {
    const { lazyNr } = this.kernel.vm;
    if (lazyNr === this.lazyPages) return;
    this.lazyPages = lazyNr;
    // CPUs' clocks differ; the counter changes in the order in which it was changed.
    this.lazyPagesCycles = Math.max(this.lazyPagesCycles, atCycles);
    const event = { ph: "C", name: "lazily freed pages", pid: this.pid, args: { pages: lazyNr } };
    this.add(this.instant(event, this.lazyPagesCycles));
  }
}

/** Fractions of a nanosecond that tell begins, ends and depths within one nanosecond apart. */
const TICKS_PER_NSEC = 100;
/** Spans deeper than this share their fractions with each other. */
const DEPTH_MAX = 25;
/** Where a late handler's spans begin to count: deeper than what they may lie in. */
const DEPTH_LATE = 12;

/** An event's times: to sort by, its length -1 where it is no span, and as the file has them. */
function timesOf(entry: Entry): { atNsec: number; lengthNsec: number; times: { ts?: number; dur?: number } } {
  const { atCycles, endCycles, cyclesPerNsec, laterNsec, depth } = entry;
  if (atCycles < 0) return { atNsec: -1, lengthNsec: -1, times: {} };
  const atNsec = Math.round(atCycles / cyclesPerNsec) + laterNsec;
  const begin = beginTicks(atNsec, depth);
  if (endCycles < 0) return { atNsec, lengthNsec: -1, times: { ts: usecOf(begin) } };
  const endNsec = Math.round(endCycles / cyclesPerNsec);
  const dur = usecOf(endTicks(endNsec, depth) - begin);
  return { atNsec, lengthNsec: endNsec - atNsec, times: { ts: usecOf(begin), dur } };
}

/** When a span at `depth` begins: in the second half of its nanosecond, the deeper the later. */
function beginTicks(nsec: number, depth: number): number {
  return nsec * TICKS_PER_NSEC + 60 + Math.min(depth, DEPTH_MAX);
}

/** When it ends: in the first half, the deeper the earlier; so its length cuts off to a nanosecond less, whatever its depth. */
function endTicks(nsec: number, depth: number): number {
  return nsec * TICKS_PER_NSEC + 30 - Math.min(depth, DEPTH_MAX);
}

function usecOf(ticks: number): number {
  return ticks / (1000 * TICKS_PER_NSEC);
}
