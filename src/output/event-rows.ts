/** Events of vmalloc as rows of a table: when, where, who, what, and the event's own fields. */
import type { EventLoop } from "../../arch/time/event-loop.ts";
import { NO_EVENTS, type VmallocEvents } from "../../mm/index.ts";
import { EventRecorder } from "../events/event-recorder.ts";
import { EVENT_FIELD_KINDS, type RecordedEvent } from "../events/recorded-event.ts";

/** A row: columns that an event does not have are absent. Hexadecimal strings are addresses and page-table entries. */
export interface EventRow extends Readonly<Record<string, string | number | undefined>> {
  /** The CPU's clock, in cycles. */
  readonly cycles: number;
  readonly cpu: number;
  readonly task: string;
  readonly event: string;
}

/** How a column's values are: whole numbers, 64-bit hexadecimal strings, or text. */
export type ColumnKind = "number" | "hex" | "text";

/** All columns, in order: those of every row, then the fields of all events. */
export const EVENT_COLUMNS: readonly { readonly name: string; readonly kind: ColumnKind }[] = [
  { name: "cycles", kind: "number" },
  { name: "cpu", kind: "number" },
  { name: "task", kind: "text" },
  { name: "event", kind: "text" },
  ...[...EVENT_FIELD_KINDS]
    .filter(([name]) => name !== "cpu")
    .map(([name, kind]) => ({ name, kind: kind === "0x" ? ("hex" as const) : ("number" as const) })),
];

/**
 * An observer that hands each event to `take` as a row. Events of vmap blocks have a field `cpu` of their own, the CPU that
 * the block belongs to: it is left out, `cpu` being the CPU that acts.
 */
export function eventRows(loop: EventLoop, take: (row: EventRow) => void): VmallocEvents {
  const recorder = new EventRecorder(loop, () => loop.currentThread);
  const observer: Record<string, (...values: unknown[]) => void> = {};
  for (const name of Object.keys(NO_EVENTS)) {
    const hook = recorder[name as keyof VmallocEvents] as (...values: unknown[]) => void;
    observer[name] = (...values) => {
      hook.apply(recorder, values);
      for (const event of recorder.take()) take(rowOf(loop, event));
    };
  }
  return observer as unknown as VmallocEvents;
}

function rowOf(loop: EventLoop, event: RecordedEvent): EventRow {
  const { ev, on_cpu: _onCpu, cpu: _cpu, ...fields } = event;
  const task = loop.currentThread?.name ?? "swapper";
  const cpu = loop.currentCpu;
  return { cycles: Math.round(loop.clockCycles[cpu]), cpu, task, event: ev, ...fields };
}
