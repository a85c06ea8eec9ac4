/**
 * Lines of ftrace text with `vmalloc:*` events, as `trace_pipe`, `trace-cmd report` and `perf script` print them, in the ordinary and
 * in the latency format.
 */
import { EVENT_DEFINITIONS, PAYLOAD_READERS, type TracepointFields } from "../../mm/index.ts";

/** When and where an event happened. */
export interface FtraceMoment {
  /** The CPU; 0 where the line names none. */
  readonly cpu: number;
  /** Seconds of the traced machine, or counts of its clock where `isTicks`. */
  readonly seconds: number;
  /** Whether the trace clock counts (`x86-tsc`, `counter`) and does not tell seconds. */
  readonly isTicks: boolean;
  /** Whether the line names a CPU. */
  readonly hasCpu: boolean;
}

/** What one line says. Addresses are 64-bit, sizes bytes. */
export type FtraceEvent =
  | (FtraceMoment & {
      readonly event: "alloc";
      readonly address: bigint;
      readonly sizeBytes: number;
      readonly align: number;
      readonly vstart: bigint;
      readonly vend: bigint;
      readonly failed: boolean;
    })
  | (FtraceMoment & {
      readonly event: "free";
      readonly address: bigint;
      readonly lazyNr: number;
      readonly lazyMax: number;
    })
  | (FtraceMoment & {
      readonly event: "purge";
      readonly areas: number;
      /** The range that was flushed; empty when nothing was. */
      readonly start: bigint;
      readonly end: bigint;
    });

/** A line that holds no event of vmalloc. */
export interface FtraceSkip {
  readonly event: "skip";
  /** Why, in words that do not depend on the line; "" for lines that always stand among events (comments, stack traces). */
  readonly reason: string;
  /** The event's name, where it is one of another subsystem. */
  readonly otherEvent?: string;
}

/** A line that says that the tracer lost events. */
export interface FtraceLoss {
  readonly event: "lost";
  readonly cpu: number;
  /** How many; null where the line does not say. */
  readonly count: number | null;
}

/*
 * A name of a task has at most 15 characters, its TGID and PID some more: the bounds keep matching linear. Flags are five characters,
 * four before 5.16, seven on PREEMPT_RT, or absent (`trace-cmd report`).
 */
const TASK = String.raw`(\S.{0,63}?)[-\s]\s*\d+(?:/\d+)?`;
const EVENT = String.raw`(?:\w+:)?(\w+):\s*(.*)$`;
/** `TASK-PID (TGID) [CPU] FLAGS TIME: EVENT: PAYLOAD`; the time in seconds, or a whole number of counts. */
const LINE = new RegExp(
  String.raw`^${TASK}\s+(?:\(\s*[\d-]+\)\s+)?\[(\d+)\]\s+(?:[^\s\d]\S{3,6}\s+)?(\d+(?:\.\d+)?):\s+${EVENT}`,
);
/** The latency format: `TASK-PID CPUFLAGS 12us+: EVENT: PAYLOAD`. */
const LATENCY_LINE = new RegExp(String.raw`^${TASK}\s+(\d+)[^\s\d]\S{3,6}\s+(\d+)us.?\s*:\s+${EVENT}`);
/** `perf script` without CPUs: `TASK PID TIME: vmalloc:EVENT: PAYLOAD`. */
const LINE_WITHOUT_CPU = new RegExp(String.raw`^${TASK}\s+()(\d+\.\d+):\s+\w+:(\w+):\s*(.*)$`);
/** Stack traces, as ftrace and `perf script` print them below an event, and what ftrace says of its buffers. */
const AMONG_EVENTS =
  /^(?:=> |[0-9a-f]{8,16} \S.*|.{0,100}<stack trace ?>$|#|version = \d+$|cpus=\d+$|CPU \d+ is empty$)/;
const LOST = /^CPU:(\d+) \[(?:LOST (\d+) EVENTS|(\d+) EVENTS DROPPED|LOST EVENTS|EVENTS DROPPED)\]$/i;
const LOST_BY_PERF = /^CPU (\d+) .*events? (?:lost|dropped)/i;

const NOT_FTRACE: FtraceSkip = { event: "skip", reason: "is no line of ftrace text" };
const BLANK: FtraceSkip = { event: "skip", reason: "" };

/** Reads one line, without its newline. */
export function parseFtraceLine(line: string): FtraceEvent | FtraceLoss | FtraceSkip {
  const text = line.trim();
  if (text === "" || AMONG_EVENTS.test(text)) return BLANK;
  const found = momentOf(text);
  if (found === null) return lossOf(text) ?? NOT_FTRACE;
  const { at, name, payload } = found;
  const read = PAYLOAD_READERS.get(name);
  if (read === undefined) return { event: "skip", reason: "is an event that vmalloc does not raise", otherEvent: name };
  const fields = read(payload);
  if (fields === null) return { event: "skip", reason: `is a ${name} event whose fields are not those of Linux 6.12` };
  return eventOf(name, at, fields);
}

interface FoundEvent {
  readonly at: FtraceMoment;
  readonly name: string;
  readonly payload: string;
}

/** An event in any of the forms; null for another line. */
function momentOf(text: string): FoundEvent | null {
  const match = LINE.exec(text);
  if (match !== null) {
    const [, , cpu, time, name, payload] = match;
    return {
      at: { cpu: Number(cpu), seconds: Number(time), isTicks: !time.includes("."), hasCpu: true },
      name,
      payload,
    };
  }
  const latency = LATENCY_LINE.exec(text);
  if (latency !== null) {
    const [, , cpu, microseconds, name, payload] = latency;
    return {
      at: { cpu: Number(cpu), seconds: Number(microseconds) / 1e6, isTicks: false, hasCpu: true },
      name,
      payload,
    };
  }
  const bare = LINE_WITHOUT_CPU.exec(text);
  if (bare === null) return null;
  const [, , , time, name, payload] = bare;
  return { at: { cpu: 0, seconds: Number(time), isTicks: false, hasCpu: false }, name, payload };
}

function lossOf(text: string): FtraceLoss | null {
  const match = LOST.exec(text);
  if (match !== null) {
    const count = match[2] ?? match[3];
    return { event: "lost", cpu: Number(match[1]), count: count === undefined ? null : Number(count) };
  }
  const perf = LOST_BY_PERF.exec(text);
  return perf === null ? null : { event: "lost", cpu: Number(perf[1]), count: null };
}

/** An event of a tracepoint that has a reader. */
function eventOf(name: string, at: FtraceMoment, { addresses, numbers }: TracepointFields): FtraceEvent {
  if (name === EVENT_DEFINITIONS.purge.tracepoint?.name) {
    return { event: "purge", ...at, areas: numbers.areas, start: addresses.start, end: addresses.end };
  }
  if (name === EVENT_DEFINITIONS.free.tracepoint?.name) {
    return { event: "free", ...at, address: addresses.addr, lazyNr: numbers.lazy_nr, lazyMax: numbers.lazy_max };
  }
  return {
    event: "alloc",
    ...at,
    address: addresses.addr,
    sizeBytes: numbers.size,
    align: numbers.align,
    vstart: addresses.vstart,
    vend: addresses.vend,
    failed: numbers.fail === 1,
  };
}
