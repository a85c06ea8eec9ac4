/**
 * What each event of vmalloc looks like where it is written down: its name in recordings, its fields, and for a tracepoint of the
 * kernel the text that ftrace prints. Recordings, tables of events (CSV, JSON lines, Parquet) and ftrace text, their writers and
 * their readers, are made from this; that the fields are what the hook is called with, the type checker holds.
 */
import type { VmallocEvents } from "../kernel/vmalloc-events.ts";

/**
 * How a hook's argument is written. `address`: a linear address, shown as 64 bits. `physical`: a physical address. `frame`: a
 * physical address or frame number that depends on what the rest of the kernel had taken. `pte`: two arguments, the words of
 * a page-table entry. `flag`: true or false as 1 or 0. `number`: a count, size or index in decimal. All but the last two are
 * hexadecimal strings with `0x`.
 */
export type FieldKind = "address" | "physical" | "frame" | "pte" | "flag" | "number";

/** A field: its name in a recording, and its kind. */
export type EventField = readonly [name: string, kind: FieldKind];

/** A tracepoint of the kernel (`include/trace/events/vmalloc.h`). */
export interface Tracepoint {
  readonly name: string;
  /** Its payload, with `<field>` where a field stands, or `<field:decimal>` for an address that is printed in decimal. */
  readonly format: string;
}

/** The fields that a hook with these parameters has. */
type FieldsOf<P extends readonly unknown[]> = P extends readonly [infer First, ...infer Rest]
  ? First extends boolean
    ? readonly [readonly [string, "flag"], ...FieldsOf<Rest>]
    :
        | readonly [readonly [string, "address" | "physical" | "frame" | "number"], ...FieldsOf<Rest>]
        | (Rest extends readonly [number, ...infer Behind]
            ? readonly [readonly [string, "pte"], ...FieldsOf<Behind>]
            : never)
  : readonly [];

/** An event, whichever it is. */
export interface EventDefinition<Fields extends readonly EventField[] = readonly EventField[]> {
  /** `ev` of a recording's line. */
  readonly name: string;
  readonly fields: Fields;
  readonly tracepoint?: Tracepoint;
}

/** The hooks' events, in the order in which columns of tables have their fields. */
export const EVENT_DEFINITIONS: {
  readonly [Hook in keyof VmallocEvents]: EventDefinition<FieldsOf<Parameters<VmallocEvents[Hook]>>>;
} = {
  alloc: {
    name: "alloc",
    fields: [
      ["addr", "address"],
      ["size", "number"],
      ["align", "number"],
      ["vstart", "address"],
      ["vend", "address"],
      ["va_flags", "number"],
      ["fail", "flag"],
    ],
    tracepoint: {
      name: "alloc_vmap_area",
      format: "va_start: <addr:decimal> size=<size> align=<align> vstart=<vstart> vend=<vend> failed=<fail>",
    },
  },
  free: {
    name: "free",
    fields: [
      ["addr", "address"],
      ["end", "address"],
      ["lazy_nr", "number"],
      ["lazy_max", "number"],
      ["va_flags", "number"],
      ["node", "number"],
    ],
    tracepoint: {
      name: "free_vmap_area_noflush",
      format: "va_start=<addr> nr_lazy=<lazy_nr> nr_lazy_max=<lazy_max>",
    },
  },
  purgeBegin: {
    name: "purge_begin",
    fields: [
      ["start", "address"],
      ["end", "address"],
      ["full_decay", "flag"],
      ["lazy_nr", "number"],
    ],
  },
  purge: {
    name: "purge",
    fields: [
      ["start", "address"],
      ["end", "address"],
      ["areas", "number"],
      ["full_decay", "flag"],
      ["nodes", "number"],
      ["lazy_nr", "number"],
    ],
    tracepoint: {
      name: "purge_vmap_area_lazy",
      format: "start=<start> end=<end> num_purged=<areas>",
    },
  },
  purgeNode: {
    name: "purge_node",
    fields: [
      ["node", "number"],
      ["skip_populate", "flag"],
    ],
  },
  merge: {
    name: "merge",
    fields: [
      ["start", "address"],
      ["end", "address"],
    ],
  },
  flushRange: {
    name: "flush_range",
    fields: [
      ["start", "address"],
      ["end", "address"],
      ["full", "flag"],
    ],
  },
  flushAll: { name: "flush_all", fields: [] },
  poolAdd: {
    name: "pool_add",
    fields: [
      ["node", "number"],
      ["start", "address"],
      ["end", "address"],
      ["len", "number"],
    ],
  },
  poolDel: {
    name: "pool_del",
    fields: [
      ["node", "number"],
      ["start", "address"],
      ["end", "address"],
      ["len", "number"],
    ],
  },
  poolRot: {
    name: "pool_rot",
    fields: [
      ["node", "number"],
      ["start", "address"],
      ["end", "address"],
      ["align", "number"],
    ],
  },
  decay: {
    name: "decay",
    fields: [
      ["node", "number"],
      ["index", "number"],
      ["len", "number"],
      ["full", "flag"],
      ["n_decay", "number"],
    ],
  },
  decayVa: {
    name: "decay_va",
    fields: [
      ["node", "number"],
      ["start", "address"],
      ["end", "address"],
    ],
  },
  newBlock: {
    name: "new_block",
    fields: [
      ["start", "address"],
      ["end", "address"],
      ["cpu", "number"],
      ["order", "number"],
    ],
  },
  freeBlock: {
    name: "free_block",
    fields: [
      ["start", "address"],
      ["end", "address"],
      ["cpu", "number"],
    ],
  },
  purgeFrag: {
    name: "purge_frag",
    fields: [
      ["start", "address"],
      ["free", "number"],
      ["dirty", "number"],
      ["force", "flag"],
      ["cpu", "number"],
    ],
  },
  vbAlloc: {
    name: "vb_alloc",
    fields: [
      ["addr", "address"],
      ["order", "number"],
      ["block", "address"],
      ["free", "number"],
      ["dirty", "number"],
      ["cpu", "number"],
    ],
  },
  vbFree: {
    name: "vb_free",
    fields: [
      ["addr", "address"],
      ["order", "number"],
      ["block", "address"],
      ["free", "number"],
      ["dirty", "number"],
      ["cpu", "number"],
    ],
  },
  drainSched: {
    name: "drain_sched",
    fields: [
      ["lazy_nr", "number"],
      ["lazy_max", "number"],
      ["queued", "flag"],
    ],
  },
  drain: { name: "drain", fields: [["lazy_nr", "number"]] },
  aliases: {
    name: "aliases",
    fields: [
      ["start", "address"],
      ["end", "address"],
      ["flush", "flag"],
    ],
  },
  mapPages: {
    name: "map_pages",
    fields: [
      ["start", "address"],
      ["end", "address"],
      ["page_shift", "number"],
      ["prot", "pte"],
      ["pfn0", "frame"],
    ],
  },
  mapRange: {
    name: "map_range",
    fields: [
      ["start", "address"],
      ["end", "address"],
      ["phys", "physical"],
      ["prot", "pte"],
      ["max_shift", "number"],
    ],
  },
  vunmap: {
    name: "vunmap",
    fields: [
      ["start", "address"],
      ["end", "address"],
    ],
  },
  ptAlloc: {
    name: "pt_alloc",
    fields: [
      ["level", "number"],
      ["table", "frame"],
      ["entry", "frame"],
    ],
  },
  ptFree: {
    name: "pt_free",
    fields: [
      ["level", "number"],
      ["table", "frame"],
      ["entry", "frame"],
      ["addr", "address"],
    ],
  },
};

/** A value that a hook is called with. */
export type HookArgument = number | boolean;

/** An observer whose hook for each event is what `make` returns for it. */
export function observeEach(
  make: (hook: keyof VmallocEvents, definition: EventDefinition) => (...values: HookArgument[]) => void,
): VmallocEvents {
  const definitions = Object.entries(EVENT_DEFINITIONS) as [keyof VmallocEvents, EventDefinition][];
  const observer: Record<string, (...values: HookArgument[]) => void> = {};
  for (const [hook, definition] of definitions) observer[hook] = make(hook, definition);
  return observer as unknown as VmallocEvents;
}

function ignore(): void {
  // This observer has no use for the event.
}

/** Observes nothing: to be spread below the few events that an observer cares for. */
export const NO_EVENTS: VmallocEvents = observeEach(() => ignore);
