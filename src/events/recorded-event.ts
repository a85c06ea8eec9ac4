/** The events of a recording: one step inside vmalloc each, as the recording's lines have them. */
import { EVENT_DEFINITIONS, type EventDefinition, isHex } from "../../mm/index.ts";

/** An event's fields in the line's order: `ev` first, addresses as `0x` hexadecimal strings, sizes and counts as numbers. */
export interface RecordedEvent {
  readonly ev: string;
  readonly [field: string]: string | number;
}

/** The fields of each event by its name, each with whether it is a hexadecimal string; else it is a number. Every one must be there. */
const EVENT_FIELDS: ReadonlyMap<string, ReadonlyMap<string, boolean>> = new Map(
  Object.values(EVENT_DEFINITIONS).map(({ name, fields }: EventDefinition) => [
    name,
    new Map(fields.map(([field, kind]) => [field, isHex(kind)])),
  ]),
);

/** Every field that an event of any kind has, in the order in which they first come, with whether it is a hexadecimal string. */
export const EVENT_FIELD_IS_HEX: ReadonlyMap<string, boolean> = new Map(
  [...EVENT_FIELDS.values()].flatMap((fields) => [...fields]),
);

/** A number of 64 bits at most. */
const HEX = /^0x[0-9a-f]{1,16}$/;

/** Fields that depend on which frames the rest of the kernel had taken, and so are not compared. */
const FRAME_FIELDS: ReadonlySet<string> = new Set(
  Object.values(EVENT_DEFINITIONS).flatMap(({ fields }: EventDefinition) =>
    fields.filter(([, kind]) => kind === "frame").map(([field]) => field),
  ),
);

/** The names of all events. */
export const EVENT_NAMES: readonly string[] = [...EVENT_FIELDS.keys()];

/** What is wrong with an event line, or null when it has a known name and every field with the right type. */
export function eventProblem(event: Record<string, unknown>): string | null {
  const fields = EVENT_FIELDS.get(String(event.ev));
  if (fields === undefined) return `unknown event ${JSON.stringify(event.ev)}`;
  for (const [field, isHexField] of fields) {
    const value = event[field];
    if (isHexField ? typeof value === "string" && HEX.test(value) : typeof value === "number") continue;
    const expected = isHexField ? "a hexadecimal string" : "a number";
    if (value === undefined) return `event "${event.ev}": "${field}" is missing (expected ${expected})`;
    return `event "${event.ev}": "${field}" is ${JSON.stringify(value)}, expected ${expected}`;
  }
  return null;
}

/** Whether two events agree in every field, in the fields' order, but for frame numbers. */
export function sameEvent(expected: RecordedEvent, actual: RecordedEvent): boolean {
  const expectedKeys = Object.keys(expected);
  const actualKeys = Object.keys(actual);
  if (expectedKeys.length !== actualKeys.length) return false;
  for (let i = 0; i < expectedKeys.length; i++) {
    const key = expectedKeys[i];
    if (key !== actualKeys[i]) return false;
    if (expected[key] !== actual[key] && !FRAME_FIELDS.has(key)) return false;
  }
  return true;
}
