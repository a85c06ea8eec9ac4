import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  addFields,
  EVENT_DEFINITIONS,
  type EventDefinition,
  type FieldValue,
  PAYLOAD_READERS,
} from "../../../mm/index.ts";
import { formatPayload } from "../../../mm/views/tracepoint-text.ts";

const TRACEPOINTS = Object.values(EVENT_DEFINITIONS).flatMap(({ tracepoint, fields }: EventDefinition) =>
  tracepoint === undefined ? [] : [{ ...tracepoint, fields }],
);

describe.each(TRACEPOINTS)("the payload of $name", ({ name, format, fields }) => {
  const kinds = fields.map(([, kind]) => kind);
  const values = fc.tuple(
    ...kinds.map((kind) =>
      kind === "address"
        ? fc.nat(2 ** 31 - 1).map((page) => 0xc900_0000_0000 + page * 4096)
        : kind === "flag"
          ? fc.boolean()
          : fc.nat(),
    ),
  );

  it("says to its reader what was written", () => {
    fc.assert(
      fc.property(values, (given) => {
        const event: Record<string, FieldValue> = {};
        addFields(event, fields, given);
        const read = PAYLOAD_READERS.get(name)?.(formatPayload(format, event));
        for (const [i, [field, kind]] of fields.entries()) {
          if (!format.includes(`<${field}`)) continue;
          if (kind === "address") expect(read?.addresses[field]).toBe(BigInt(event[field]));
          else expect(read?.numbers[field]).toBe(Number(given[i]));
        }
      }),
    );
  });

  it("is refused with a field that is missing, added or no number", () => {
    const event: Record<string, FieldValue> = {};
    addFields(
      event,
      fields,
      kinds.map((kind) => kind === "flag" || 0xc900_0000_0000),
    );
    const payload = formatPayload(format, event);
    const read = PAYLOAD_READERS.get(name);
    expect(read?.(payload)).not.toBeNull();
    for (const wrong of [`${payload} more=1`, payload.replace(/ \S+$/, ""), payload.replace(/\d+$/, "x")]) {
      expect(read?.(wrong), wrong).toBeNull();
    }
  });
});

it("only Linux's own tracepoints have a payload", () => {
  expect([...PAYLOAD_READERS.keys()]).toEqual(["alloc_vmap_area", "free_vmap_area_noflush", "purge_vmap_area_lazy"]);
});
