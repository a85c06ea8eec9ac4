/** What files of events have in common: rows of a table, with when, where, who, what, and the event's own fields. */
import type { EventLoop } from "../../arch/time/event-loop.ts";
import { observeEach, type VmallocEvents } from "../../mm/index.ts";
import { EventRecorder } from "../events/event-recorder.ts";
import { EVENT_FIELD_IS_HEX, type RecordedEvent } from "../events/recorded-event.ts";

/** A row: columns that an event does not have are absent. Hexadecimal strings are addresses and page-table entries. */
export interface EventRow extends Readonly<Record<string, string | number | undefined>> {
  /** The CPU's clock, in cycles. */
  readonly cycles: number;
  readonly cpu: number;
  readonly task: string;
  readonly event: string;
}

/** A file that events go to. */
export interface EventFile {
  /** To be told of the events. */
  readonly observer: VmallocEvents;
  /** Completes the file. @throws OutputFileError when it cannot be written */
  finish(): void;
  /** Leaves nothing behind. */
  abandon(): void;
}

/** How a column's values are: whole numbers, 64-bit hexadecimal strings, or text. */
export type ColumnKind = "number" | "hex" | "text";

/** All columns, in order: those of every row, then the fields of all events. */
export const EVENT_COLUMNS: readonly { readonly name: string; readonly kind: ColumnKind }[] = [
  { name: "cycles", kind: "number" },
  { name: "cpu", kind: "number" },
  { name: "task", kind: "text" },
  { name: "event", kind: "text" },
  ...[...EVENT_FIELD_IS_HEX]
    .filter(([name]) => name !== "cpu")
    .map(([name, isHex]) => ({ name, kind: isHex ? ("hex" as const) : ("number" as const) })),
];

/**
 * An observer that hands each event to `take` as a row. Events of vmap blocks have a field `cpu` of their own, the CPU that
 * the block belongs to: it is left out, `cpu` being the CPU that acts.
 */
export function eventRows(loop: EventLoop, take: (row: EventRow) => void): VmallocEvents {
  const recorder = new EventRecorder(loop, () => loop.currentThread);
  return observeEach((hook) => (...values) => {
    (recorder.observer[hook] as (...all: unknown[]) => void)(...values);
    for (const event of recorder.take()) take(rowOf(loop, event));
  });
}

function rowOf(loop: EventLoop, event: RecordedEvent): EventRow {
  const { ev, on_cpu: _onCpu, cpu: _cpu, ...fields } = event;
  const task = loop.currentThread?.name ?? "swapper";
  const cpu = loop.currentCpu;
  return { cycles: Math.round(loop.clockCycles[cpu]), cpu, task, event: ev, ...fields };
}
