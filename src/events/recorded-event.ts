/** The events of a recording: one step inside vmalloc each, as the recording's lines have them. */

/** An event's fields in the line's order: `ev` first, addresses as `0x` hexadecimal strings, sizes and counts as numbers. */
export interface RecordedEvent {
  readonly ev: string;
  readonly [field: string]: string | number;
}

/** Fields of each event: `0x` for a hexadecimal string, `1` for a number. Every one must be there. */
const EVENT_FIELDS: ReadonlyMap<string, Readonly<Record<string, "0x" | "1">>> = new Map(
  Object.entries({
    alloc: { addr: "0x", size: "1", align: "1", vstart: "0x", vend: "0x", va_flags: "1", fail: "1" },
    free: { addr: "0x", end: "0x", lazy_nr: "1", lazy_max: "1", va_flags: "1", node: "1" },
    purge_begin: { start: "0x", end: "0x", full_decay: "1", lazy_nr: "1" },
    purge: { start: "0x", end: "0x", areas: "1", full_decay: "1", nodes: "1", lazy_nr: "1" },
    purge_node: { node: "1", skip_populate: "1" },
    merge: { start: "0x", end: "0x" },
    flush_range: { start: "0x", end: "0x", full: "1" },
    flush_all: {},
    pool_add: { node: "1", start: "0x", end: "0x", len: "1" },
    pool_del: { node: "1", start: "0x", end: "0x", len: "1" },
    pool_rot: { node: "1", start: "0x", end: "0x", align: "1" },
    decay: { node: "1", index: "1", len: "1", full: "1", n_decay: "1" },
    decay_va: { node: "1", start: "0x", end: "0x" },
    new_block: { start: "0x", end: "0x", cpu: "1", order: "1" },
    free_block: { start: "0x", end: "0x", cpu: "1" },
    purge_frag: { start: "0x", free: "1", dirty: "1", force: "1", cpu: "1" },
    vb_alloc: { addr: "0x", order: "1", block: "0x", free: "1", dirty: "1", cpu: "1" },
    vb_free: { addr: "0x", order: "1", block: "0x", free: "1", dirty: "1", cpu: "1" },
    drain_sched: { lazy_nr: "1", lazy_max: "1", queued: "1" },
    drain: { lazy_nr: "1" },
    aliases: { start: "0x", end: "0x", flush: "1" },
    map_pages: { start: "0x", end: "0x", page_shift: "1", prot: "0x", pfn0: "0x" },
    map_range: { start: "0x", end: "0x", phys: "0x", prot: "0x", max_shift: "1" },
    vunmap: { start: "0x", end: "0x" },
    pt_alloc: { level: "1", table: "0x", entry: "0x" },
    pt_free: { level: "1", table: "0x", entry: "0x", addr: "0x" },
  } as const),
);

/** Every field that an event of any kind has, in the order in which they first come: `0x` hexadecimal strings, `1` numbers. */
export const EVENT_FIELD_KINDS: ReadonlyMap<string, "0x" | "1"> = new Map(
  [...EVENT_FIELDS.values()].flatMap((fields) => Object.entries(fields)),
);

/** Fields that depend on which frames the rest of the kernel had taken, and so are not compared. */
const PHYSICAL_FIELDS: ReadonlySet<string> = new Set(["pfn0", "table", "entry"]);

/** The names of all events. */
export const EVENT_NAMES: readonly string[] = [...EVENT_FIELDS.keys()];

/** What is wrong with an event line, or null when it has a known name and every field with the right type. */
export function eventProblem(event: Record<string, unknown>): string | null {
  const fields = EVENT_FIELDS.get(String(event.ev));
  if (fields === undefined) return `unknown event ${JSON.stringify(event.ev)}`;
  for (const field in fields) {
    const value = event[field];
    if (fields[field] === "1" ? typeof value === "number" : typeof value === "string") continue;
    const expected = fields[field] === "1" ? "a number" : "a hexadecimal string";
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
    if (expected[key] !== actual[key] && !PHYSICAL_FIELDS.has(key)) return false;
  }
  return true;
}
