/**
 * What a trace processor does with Chrome trace-event JSON, as strictly as Perfetto does (its `JsonTraceParser`,
 * `SliceTracker`, `FlowTracker`): times cut off to whole nanoseconds, events sorted by time and else kept in the order of the
 * file, spans of a track that must nest, arrows that begin and end within a span of their track. Throws at what Perfetto
 * drops or counts as an error.
 */

/** An event of the file. */
export interface TraceEvent {
  readonly ph: string;
  readonly name: string;
  readonly pid: number;
  readonly tid?: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly id?: string;
  readonly cat?: string;
  readonly bp?: string;
  readonly args?: Readonly<Record<string, unknown>>;
}

/** A span as it is drawn; times in nanoseconds. */
export interface Slice {
  readonly name: string;
  readonly track: string;
  readonly startNsec: number;
  readonly endNsec: number;
  readonly depth: number;
}

/** An arrow as it is drawn. */
export interface Flow {
  readonly from: Slice;
  readonly to: Slice;
}

/** What can be drawn of a trace. */
export interface ProcessedTrace {
  readonly slices: readonly Slice[];
  readonly flows: readonly Flow[];
  /** Values of each counter in the order of time. */
  readonly counters: ReadonlyMap<string, readonly number[]>;
  readonly processNames: ReadonlyMap<number, string>;
  readonly threadNames: ReadonlyMap<string, string>;
}

/**
 * Checks spans as viewers do that add `ts` and `dur` as floating-point numbers: of two spans of a track, one ends before the
 * other begins, or lies within it, with no two ends at the same time.
 */
export function checkFloatingSpans(json: string): void {
  const { traceEvents } = JSON.parse(json) as { traceEvents: TraceEvent[] };
  const ends = new Map<string, number[]>();
  for (const { ph, pid, tid, ts = 0, dur = 0, name } of traceEvents) {
    if (ph !== "X") continue;
    const track = `${pid}/${tid}`;
    const open = ends.get(track) ?? [];
    ends.set(track, open);
    while (open.length > 0 && open[open.length - 1] < ts) open.pop();
    const outer = open.at(-1) ?? Number.POSITIVE_INFINITY;
    if (ts + dur >= outer) throw new Error(`${name} at ${ts} on ${track} reaches beyond the span around it`);
    open.push(ts + dur);
  }
}

/** Reads a trace. @throws Error naming the event for whatever would not be shown as it was meant */
export function processTrace(json: string): ProcessedTrace {
  const { traceEvents } = JSON.parse(json) as { traceEvents: TraceEvent[] };
  const slices: Slice[] = [];
  const flows: Flow[] = [];
  const counters = new Map<string, number[]>();
  const processNames = new Map<number, string>();
  const threadNames = new Map<string, string>();
  const stacks = new Map<string, Slice[]>();
  const open = new Map<string, Slice>();
  const fail = (event: TraceEvent, why: string): never => {
    throw new Error(`${why}: ${JSON.stringify(event)}`);
  };
  const nsec = (event: TraceEvent, usec: number | undefined): number =>
    typeof usec === "number" && usec >= 0 ? Math.trunc(usec * 1000) : fail(event, "no time");
  const trackOf = (event: TraceEvent): string =>
    event.tid === undefined ? fail(event, "no track") : `${event.pid}/${event.tid}`;
  /** The spans that are open on a track at a time. */
  const stackAt = (track: string, atNsec: number): Slice[] => {
    const stack = stacks.get(track) ?? [];
    stacks.set(track, stack);
    while (stack.length > 0 && stack[stack.length - 1].endNsec <= atNsec) stack.pop();
    return stack;
  };
  for (const event of traceEvents.filter(({ ph }) => ph === "M")) {
    const name = String(event.args?.name ?? "");
    if (event.name === "process_name") processNames.set(event.pid, name);
    else if (event.name === "thread_name") threadNames.set(trackOf(event), name);
    else if (event.name !== "thread_sort_index") fail(event, "unknown metadata");
  }
  const timed = traceEvents.filter(({ ph }) => ph !== "M").map((event) => ({ event, at: nsec(event, event.ts) }));
  for (const { event, at } of timed.sort((a, b) => a.at - b.at)) {
    if (event.ph === "X") {
      const track = trackOf(event);
      const endNsec = at + nsec(event, event.dur);
      const stack = stackAt(track, at);
      const outer = stack.at(-1);
      if (outer !== undefined && endNsec > outer.endNsec) fail(event, `overlaps ${outer.name} on its track`);
      const slice = { name: event.name, track, startNsec: at, endNsec, depth: stack.length };
      slices.push(slice);
      stack.push(slice);
    } else if (event.ph === "s" || event.ph === "f") {
      const key = `${event.cat}:${event.name}:${event.id ?? fail(event, "no id")}`;
      const slice = stackAt(trackOf(event), at).at(-1) ?? fail(event, "not within a span");
      if (event.ph === "s") {
        if (open.has(key)) fail(event, "begins twice");
        open.set(key, slice);
      } else {
        if (event.bp !== "e") fail(event, "bound to the next span, not to the one around it");
        const from = open.get(key) ?? fail(event, "ends without a beginning");
        open.delete(key);
        flows.push({ from, to: slice });
      }
    } else if (event.ph === "C") {
      const value = Object.values(event.args ?? {})[0];
      if (typeof value !== "number") fail(event, "a counter without a number");
      const key = `${event.pid}/${event.name}`;
      counters.set(key, [...(counters.get(key) ?? []), Number(value)]);
    } else {
      fail(event, "unknown phase");
    }
  }
  if (open.size > 0) throw new Error(`${open.size} arrows never end`);
  for (const { track } of slices) if (!threadNames.has(track)) throw new Error(`track ${track} has no name`);
  return { slices, flows, counters, processNames, threadNames };
}
