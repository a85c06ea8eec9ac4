/** How events are written down: names that tell them and their fields apart, and tracepoints that show only fields that there are. */
import { describe, expect, it } from "vitest";
import { EVENT_DEFINITIONS, type EventDefinition } from "../../../mm/views/event-definitions.ts";

const DEFINITIONS: readonly (readonly [string, EventDefinition])[] = Object.entries(EVENT_DEFINITIONS);
const KINDS = ["address", "physical", "frame", "pte", "flag", "number"];

it("each event has a name of its own", () => {
  const names = DEFINITIONS.map(([, { name }]) => name);
  expect(new Set(names).size).toBe(names.length);
});

describe.each(DEFINITIONS)("%s", (_, { name, fields, tracepoint }) => {
  it("has a name, and fields with a name and a known kind each", () => {
    expect(name).toMatch(/^[a-z][a-z0-9_]*$/);
    const fieldNames = fields.map(([field]) => field);
    for (const field of fieldNames) expect(field).toMatch(/^[a-z][a-z0-9_]*$/);
    expect(new Set(fieldNames).size).toBe(fieldNames.length);
    for (const [field, kind] of fields) expect(KINDS, `kind of ${field}`).toContain(kind);
  });

  it("shows in its tracepoint, if it has one, only fields that it has", () => {
    if (tracepoint === undefined) return;
    expect(tracepoint.name).toMatch(/^[a-z][a-z0-9_]*$/);
    const shown = Array.from(tracepoint.format.matchAll(/<(\w+)(?::decimal)?>/g), ([, field]) => field);
    expect(shown.length).toBeGreaterThan(0);
    for (const field of shown) expect(fields.map(([each]) => each)).toContain(field);
  });
});
