/**
 * Lines of ftrace text with `vmalloc:*` events, as `trace_pipe`, `trace-cmd report` and `perf script` print them:
 * `TASK-PID [CPU] FLAGS SECONDS: EVENT: PAYLOAD`; TGID, flags and the `vmalloc:` before the event may be there or not.
 */

/** What one line says. Addresses are 64-bit, sizes bytes, times seconds of the traced machine. */
export type FtraceEvent =
  | {
      readonly event: "alloc";
      readonly cpu: number;
      readonly seconds: number;
      readonly address: bigint;
      readonly sizeBytes: number;
      readonly align: number;
      readonly vstart: bigint;
      readonly vend: bigint;
      readonly failed: boolean;
    }
  | {
      readonly event: "free";
      readonly cpu: number;
      readonly seconds: number;
      readonly address: bigint;
      readonly lazyNr: number;
      readonly lazyMax: number;
    }
  | { readonly event: "purge"; readonly cpu: number; readonly seconds: number; readonly areas: number };

/** A line that holds no event of vmalloc: why, in words that do not depend on the line; "" for comments and blanks. */
export interface FtraceSkip {
  readonly event: "skip";
  readonly reason: string;
}

/** A name of a task has at most 15 characters, its TGID and PID some more: the bound keeps matching linear. */
const LINE =
  /^(\S.{0,63}?)[-\s]\s*(\d+)\s+(?:\(\s*[\d-]+\)\s+)?\[(\d+)\]\s+(?:([^\s\d][^\s]{3,4})\s+)?(\d+\.\d+):\s+(?:\w+:)?(\w+):\s*(.*)$/;
const ALLOC = /^va_start: (\d+) size=(\d+) align=(\d+) vstart=0x([0-9a-f]+) vend=0x([0-9a-f]+) failed=([01])$/;
const FREE = /^va_start=0x([0-9a-f]+) nr_lazy=(\d+) nr_lazy_max=(\d+)$/;
const PURGE = /^start=0x[0-9a-f]+ end=0x[0-9a-f]+ num_purged=(\d+)$/;
const LOST = /^(?:CPU:\d+ \[(?:LOST \d+ EVENTS|EVENTS DROPPED)\]|CPU \d+ .*events? (?:lost|dropped))/i;

const NOT_FTRACE: FtraceSkip = { event: "skip", reason: "is no line of ftrace text" };
const LOST_EVENTS: FtraceSkip = { event: "skip", reason: "says that the tracer lost events" };
const OTHER_EVENT: FtraceSkip = { event: "skip", reason: "is an event that vmalloc does not raise" };
const BLANK: FtraceSkip = { event: "skip", reason: "" };

/** Reads one line, without its newline. */
export function parseFtraceLine(line: string): FtraceEvent | FtraceSkip {
  const text = line.trim();
  if (text === "" || text.startsWith("#") || /^cpus=\d+$/.test(text)) return BLANK;
  if (LOST.test(text)) return LOST_EVENTS;
  const match = LINE.exec(text);
  if (match === null) return NOT_FTRACE;
  const [, , , cpuText, , secondsText, name, payload] = match;
  const at = { cpu: Number(cpuText), seconds: Number(secondsText) };
  switch (name) {
    case "alloc_vmap_area":
      return parseAlloc(at, payload);
    case "free_vmap_area_noflush":
      return parseFree(at, payload);
    case "purge_vmap_area_lazy": {
      const purge = PURGE.exec(payload);
      return purge === null ? malformed(name) : { event: "purge", ...at, areas: Number(purge[1]) };
    }
    default:
      return OTHER_EVENT;
  }
}

interface Moment {
  readonly cpu: number;
  readonly seconds: number;
}

function parseAlloc(at: Moment, payload: string): FtraceEvent | FtraceSkip {
  const match = ALLOC.exec(payload);
  if (match === null) return malformed("alloc_vmap_area");
  const [, address, size, align, vstart, vend, failed] = match;
  return {
    event: "alloc",
    ...at,
    address: BigInt(address),
    sizeBytes: Number(size),
    align: Number(align),
    vstart: BigInt(`0x${vstart}`),
    vend: BigInt(`0x${vend}`),
    failed: failed === "1",
  };
}

function parseFree(at: Moment, payload: string): FtraceEvent | FtraceSkip {
  const match = FREE.exec(payload);
  if (match === null) return malformed("free_vmap_area_noflush");
  const [, address, lazyNr, lazyMax] = match;
  return { event: "free", ...at, address: BigInt(`0x${address}`), lazyNr: Number(lazyNr), lazyMax: Number(lazyMax) };
}

function malformed(event: string): FtraceSkip {
  return { event: "skip", reason: `is a ${event} event whose fields are not those of Linux 6.12` };
}
