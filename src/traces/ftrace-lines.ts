/**
 * Lines of ftrace text with `vmalloc:*` events, as `trace_pipe`, `trace-cmd report` and `perf script` print them, in the ordinary and
 * in the latency format.
 */
import {
  EVENT_DEFINITIONS,
  PAYLOAD_READERS,
  SECOND_LEVEL_HIT_EVENTS,
  type TracepointFields,
  WALK_EVENTS,
} from "../../mm/index.ts";
import { type CallEnter, type CallExit, parseCallEvent } from "./call-lines.ts";
import { type ShootdownEvent, shootdownEvent } from "./shootdown-lines.ts";
import { type TaskEvent, taskEvent } from "./task-lines.ts";

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
  /** The task's name and number, `comm-pid`. */
  readonly task: string;
  /** Whether it happened in an interrupt handler or softirq, as the line's flags say. */
  readonly inInterrupt: boolean;
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
    })
  | (FtraceMoment & CallEnter)
  | (FtraceMoment & CallExit)
  | (FtraceMoment & {
      /** The CPU has nothing to run from now on, or has something again (`power:cpu_idle`). */
      readonly event: "idle";
      readonly isIdle: boolean;
    })
  | (FtraceMoment & {
      /** The CPU goes to user mode or comes back (`context_tracking:user_enter`, `user_exit`). */
      readonly event: "user";
      readonly isInUser: boolean;
    })
  | (FtraceMoment & {
      /** Memory in use: a page walk or a hit of the second-level TLB, as samples of perf show it. */
      readonly event: "use";
      /** Of a load (0), a store (1) or an instruction (2). */
      readonly kind: number;
      readonly address: bigint;
    })
  | (FtraceMoment & TaskEvent)
  | (FtraceMoment & ShootdownEvent);

/** A comment line that says something of the whole trace: `# release: 6.12.117`. */
export interface FtraceNote {
  readonly event: "note";
  readonly name: string;
  readonly text: string;
}

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
const TASK = String.raw`(\S.{0,63}?[-\s]\s*\d+(?:/\d+)?)`;
const EVENT = String.raw`(?:\w+:)?([\w.]+):\s*(.*)$`;
/** `TASK-PID (TGID) [CPU] FLAGS TIME: EVENT: PAYLOAD`; the time in seconds, or a whole number of counts. */
const LINE = new RegExp(
  String.raw`^${TASK}\s+(?:\(\s*[\d-]+\)\s+)?\[(\d+)\]\s+(?:([^\s\d]\S{3,6})\s+)?(\d+(?:\.\d+)?):\s+${EVENT}`,
);
/** The latency format: `TASK-PID CPUFLAGS 12us+: EVENT: PAYLOAD`. */
const LATENCY_LINE = new RegExp(String.raw`^${TASK}\s+(\d+)([^\s\d]\S{3,6})\s+(\d+)us.?\s*:\s+${EVENT}`);
/** `perf script` without CPUs: `TASK PID TIME: vmalloc:EVENT: PAYLOAD`. */
const LINE_WITHOUT_CPU = new RegExp(String.raw`^${TASK}\s+()(\d+\.\d+):\s+\w+:(\w+):\s*(.*)$`);
/** Stack traces, as ftrace and `perf script` print them below an event, and what ftrace says of its buffers. */
const AMONG_EVENTS =
  /^(?:=> |[0-9a-f]{8,16} \S.*|.{0,100}<stack trace ?>$|#|version = \d+$|cpus=\d+$|CPU \d+ is empty$)/;
/** What the recording script says of the machine and of the recording. */
const NOTE =
  /^# (release|cpus|lazy_max_pages|seconds|vmallocinfo-before|vmallocinfo-after|lost|missed|not probed|not traced): (.*)$/;
const AREA_OF_PROBE = / (?:start|va_start)=(0x[0-9a-f]+) end=(0x[0-9a-f]+)$/;
const ADDRESS = /^(?:0x)?([0-9a-f]{1,16})\b/;
const IDLE = /^state=(\d+) cpu_id=(\d+)$/;
/** `PWR_EVENT_EXIT`. */
const IDLE_EXIT = "4294967295";
const LOST = /^CPU:(\d+) \[(?:LOST (\d+) EVENTS|(\d+) EVENTS DROPPED|LOST EVENTS|EVENTS DROPPED)\]$/i;
const LOST_BY_PERF = /^CPU (\d+) .*events? (?:lost|dropped)/i;

const NOT_FTRACE: FtraceSkip = { event: "skip", reason: "is no line of ftrace text" };
const BLANK: FtraceSkip = { event: "skip", reason: "" };

/** Reads one line, without its newline. */
export function parseFtraceLine(line: string): FtraceEvent | FtraceLoss | FtraceSkip | FtraceNote {
  const text = line.trim();
  const note = NOTE.exec(text);
  if (note !== null) return noteOf(note[1], note[2]);
  if (text === "" || AMONG_EVENTS.test(text)) return BLANK;
  const found = momentOf(text);
  if (found === null) return lossOf(text) ?? NOT_FTRACE;
  const { at, name, payload } = found;
  const read = PAYLOAD_READERS.get(name);
  if (read === undefined) return otherEvent(name, at, payload);
  const fields = read(payload);
  if (fields === null) return { event: "skip", reason: `is a ${name} event whose fields are not those of Linux 6.12` };
  return eventOf(name, at, fields);
}

function noteOf(name: string, text: string): FtraceNote | FtraceLoss {
  const lost = name === "lost" ? /^(\d{1,4}) (\d{1,15})$/.exec(text) : null;
  if (lost !== null) return { event: "lost", cpu: Number(lost[1]), count: Number(lost[2]) };
  return { event: "note", name, text };
}

/** An event that is no tracepoint of vmalloc: of a probe, or of an idle CPU. */
function otherEvent(name: string, at: FtraceMoment, payload: string): FtraceEvent | FtraceSkip {
  const call = parseCallEvent(name, payload);
  if (call !== null) return { ...at, ...call };
  if (name === "cpu_idle") {
    const [, state, cpu] = IDLE.exec(payload) ?? [];
    if (state !== undefined) return { ...at, event: "idle", cpu: Number(cpu), isIdle: state !== IDLE_EXIT };
  }
  const other = userEvent(name, payload) ?? taskEvent(name, payload) ?? shootdownEvent(name, payload);
  if (other !== null) return { ...at, ...other };
  const area = name === "area_alloc" || name === "area_free" ? AREA_OF_PROBE.exec(payload) : null;
  if (area === null) return { event: "skip", reason: "is an event that vmalloc does not raise", otherEvent: name };
  const [address, end] = [BigInt(area[1]), BigInt(area[2])];
  if (name === "area_free") return { ...at, event: "free", address, lazyNr: 0, lazyMax: 0 };
  const sizeBytes = Number(end - address);
  return { ...at, event: "alloc", address, sizeBytes, align: 1, vstart: address, vend: end, failed: false };
}

/** User mode and uses of memory. */
function userEvent(
  name: string,
  payload: string,
): { event: "user"; isInUser: boolean } | { event: "use"; kind: number; address: bigint } | null {
  if (name === "user_enter" || name === "user_exit") return { event: "user", isInUser: name === "user_enter" };
  const kind = Math.max(WALK_EVENTS.indexOf(name), SECOND_LEVEL_HIT_EVENTS.indexOf(name));
  const [, address] = (kind < 0 ? null : ADDRESS.exec(payload)) ?? [];
  return address === undefined ? null : { event: "use", kind, address: BigInt(`0x${address}`) };
}

/** Flags are: interrupts off, rescheduling needed, what is interrupted (`h`, `H`, `s`, `z`, `Z`), how deep preemption is off. */
function isInterrupt(flags: string | undefined): boolean {
  return flags !== undefined && "hHszZ".includes(flags[2]);
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
    const [, task, cpu, flags, time, name, payload] = match;
    const inInterrupt = isInterrupt(flags);
    return {
      at: { task, inInterrupt, cpu: Number(cpu), seconds: Number(time), isTicks: !time.includes("."), hasCpu: true },
      name,
      payload,
    };
  }
  const latency = LATENCY_LINE.exec(text);
  if (latency !== null) {
    const [, task, cpu, flags, microseconds, name, payload] = latency;
    const inInterrupt = isInterrupt(flags);
    return {
      at: { task, inInterrupt, cpu: Number(cpu), seconds: Number(microseconds) / 1e6, isTicks: false, hasCpu: true },
      name,
      payload,
    };
  }
  const bare = LINE_WITHOUT_CPU.exec(text);
  if (bare === null) return null;
  const [, task, , time, name, payload] = bare;
  return {
    at: { task, inInterrupt: false, cpu: 0, seconds: Number(time), isTicks: false, hasCpu: false },
    name,
    payload,
  };
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
