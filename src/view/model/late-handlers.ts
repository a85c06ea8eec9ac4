/**
 * Interrupt handlers that begin in their CPU's past. Code between two pauses is emulated in one go, so that a CPU learns of an interrupt
 * when its clock is already past it. The clock is set back for the handler, and what the CPU did after the handler's begin moves to
 * later times, by as many cycles as the handler took.
 */
import type { Recent } from "./recent.ts";

/** What a CPU was doing for a time. */
interface TimedSpan {
  readonly cpu: number;
  readonly activity: string;
  fromCycles: number;
  toCycles: number;
}

/** What happened on a CPU at a time. */
interface TimedEvent {
  readonly cpu: number;
  atCycles: number;
}

/** What was moved, to move it back and to move it again. */
export type Moved =
  | { readonly span: TimedSpan; readonly before: readonly [number, number]; readonly after: readonly [number, number] }
  | { readonly event: TimedEvent; readonly before: number; readonly after: number };

/** Moves what such handlers interrupted. */
export class LateHandlers {
  private readonly spans: Recent<TimedSpan>;
  private readonly events: Recent<TimedEvent>;
  /** What was added after something later: the handlers' own, and the rest of what they divided. */
  private readonly late = new WeakSet<object>();
  private moved: Moved[] = [];
  private readonly begun = { atCycles: 0, sinceCycles: 0, spans: 0, events: 0 };

  constructor(spans: Recent<TimedSpan>, events: Recent<TimedEvent>) {
    this.spans = spans;
    this.events = events;
  }

  /** A handler begins at `atCycles` on a CPU that has done the same thing since `sinceCycles`, which may be later. */
  begin(atCycles: number, sinceCycles: number): void {
    const { begun, spans, events } = this;
    begun.atCycles = atCycles;
    begun.sinceCycles = sinceCycles;
    begun.spans = spans.total;
    begun.events = events.total;
  }

  /** It ends. @returns since when the CPU has done what it does now */
  end(cpu: number, endCycles: number): number {
    const { begun, spans, events, late } = this;
    const { atCycles, sinceCycles } = begun;
    const laterCycles = endCycles - atCycles;
    for (const added of spans.items.slice(Math.max(0, begun.spans - spans.forgotten))) late.add(added);
    for (const added of events.items.slice(Math.max(0, begun.events - events.forgotten))) late.add(added);
    this.moveEvents(cpu, laterCycles);
    // What it does now began before the handler: nothing else was interrupted.
    if (sinceCycles <= atCycles) return endCycles;
    this.moveSpans(cpu, laterCycles);
    return sinceCycles + laterCycles;
  }

  private moveSpans(cpu: number, laterCycles: number): void {
    const { begun, spans, late } = this;
    const { atCycles } = begun;
    const rests: TimedSpan[] = [];
    for (let i = begun.spans - spans.forgotten - 1; i >= 0; i--) {
      const span = spans.items[i];
      if (span.cpu !== cpu) continue;
      const { activity, fromCycles, toCycles } = span;
      if (toCycles <= atCycles) {
        if (late.has(span)) continue;
        break;
      }
      if (fromCycles >= atCycles) this.move(span, fromCycles + laterCycles, toCycles + laterCycles);
      else {
        this.move(span, fromCycles, atCycles);
        rests.push({ cpu, activity, fromCycles: atCycles + laterCycles, toCycles: toCycles + laterCycles });
      }
    }
    for (const rest of rests) {
      late.add(rest);
      spans.push(rest);
    }
  }

  private moveEvents(cpu: number, laterCycles: number): void {
    const { begun, events, late } = this;
    for (let i = begun.events - events.forgotten - 1; i >= 0; i--) {
      const event = events.items[i];
      if (event.cpu !== cpu) continue;
      const { atCycles } = event;
      if (atCycles > begun.atCycles) {
        event.atCycles = atCycles + laterCycles;
        this.moved.push({ event, before: atCycles, after: event.atCycles });
      } else if (!late.has(event)) break;
    }
  }

  private move(span: TimedSpan, fromCycles: number, toCycles: number): void {
    this.moved.push({ span, before: [span.fromCycles, span.toCycles], after: [fromCycles, toCycles] });
    span.fromCycles = fromCycles;
    span.toCycles = toCycles;
  }

  /** What was moved since it was called last. */
  takeTail(): readonly Moved[] {
    const { moved } = this;
    if (moved.length > 0) this.moved = [];
    return moved.length > 0 ? moved : NOTHING;
  }

  /** Moves back what was moved last. */
  removeTail(tail: readonly Moved[]): void {
    for (let i = tail.length - 1; i >= 0; i--) put(tail[i], "before");
  }

  /** Moves it again. */
  addTail(tail: readonly Moved[]): void {
    for (const each of tail) put(each, "after");
  }
}

const NOTHING: readonly Moved[] = [];

function put(moved: Moved, when: "before" | "after"): void {
  if ("event" in moved) moved.event.atCycles = moved[when];
  else [moved.span.fromCycles, moved.span.toCycles] = moved[when];
}
