/** The payload of a tracepoint's line, from an event and back: both from the format in `event-definitions.ts`. */
import { EVENT_DEFINITIONS, type EventDefinition } from "./event-definitions.ts";
import type { FieldValue } from "./event-fields.ts";
import { isHex } from "./event-fields.ts";

/** A `<field>` or `<field:decimal>` of a format. */
const PLACEHOLDER = /<(\w+)(:decimal)?>/g;

/** What a payload says, by field: addresses of 64 bits, and numbers. */
export interface TracepointFields {
  readonly addresses: Readonly<Record<string, bigint>>;
  readonly numbers: Readonly<Record<string, number>>;
}

/** The payload of an event's tracepoint. @param fields of the event as a recording has them */
export function formatPayload(format: string, fields: Readonly<Record<string, FieldValue>>): string {
  return format.replace(PLACEHOLDER, (_all, name: string, decimal: string | undefined) =>
    String(decimal === undefined ? fields[name] : BigInt(fields[name])),
  );
}

/** Reads payloads of one tracepoint; null for text that does not have its form. */
export type PayloadReader = (payload: string) => TracepointFields | null;

/** What reads the payloads of each tracepoint, by its name. */
export const PAYLOAD_READERS: ReadonlyMap<string, PayloadReader> = new Map(
  Object.values(EVENT_DEFINITIONS).flatMap(({ tracepoint, fields }: EventDefinition) =>
    tracepoint === undefined ? [] : [[tracepoint.name, payloadReader(tracepoint.format, fields)] as const],
  ),
);

function payloadReader(format: string, fields: EventDefinition["fields"]): PayloadReader {
  const kinds = new Map(fields);
  const names: string[] = [];
  const pattern = format.replace(PLACEHOLDER, (_all, name: string, decimal: string | undefined) => {
    names.push(name);
    const kind = kinds.get(name);
    if (kind === undefined) throw new Error(`no field ${name} in '${format}'`);
    if (kind === "flag") return "([01])";
    return isHex(kind) && decimal === undefined ? "(0x[0-9a-f]+)" : "(\\d+)";
  });
  const whole = new RegExp(`^${pattern}$`);
  return (payload) => {
    const match = whole.exec(payload);
    if (match === null) return null;
    const addresses: Record<string, bigint> = {};
    const numbers: Record<string, number> = {};
    for (const [i, name] of names.entries()) {
      if (kinds.get(name) === "address") addresses[name] = BigInt(match[i + 1]);
      else numbers[name] = Number(match[i + 1]);
    }
    return { addresses, numbers };
  };
}
