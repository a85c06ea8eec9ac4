/** The lines of a recording of a real kernel's vmalloc, turned into typed items one by one; nothing is kept of what has been read. */
import type { ZodError } from "zod";
import { eventProblem, type RecordedEvent } from "../events/recorded-event.ts";
import { InputFileError } from "../input/errors.ts";
import { KnownAreas } from "./known-areas.ts";
import {
  callSchemas,
  endSchema,
  headerSchema,
  migrateSchema,
  type RecordedCall,
  type RecordingHeader,
  schemaProblem,
  waitDoneSchema,
} from "./line-schemas.ts";
import { type RecordedState, StateCollector, type StatePhase } from "./recorded-state.ts";
import type { StateLines } from "./state-lines.ts";

/** The kernel's constants and the state from which the recording starts. */
export interface StartItem {
  readonly kind: "start";
  readonly header: RecordingHeader;
  readonly state: RecordedState;
  /** Where each part of the state stands. */
  readonly lines: StateLines;
}

/** A call and the events it caused. */
export interface CallItem {
  readonly kind: "call";
  /** The call's line number. */
  readonly line: number;
  readonly call: RecordedCall;
  readonly events: readonly RecordedEvent[];
  /**
   * Where events of CPUs alternate: what to say if they come in another order in the replay. Helpers of a purge do that on an emulated
   * machine too, and there in the same order each time.
   */
  readonly alternating: InputFileError | null;
}

/** The thread slept until scheduled work had run; the work's events. */
export interface WaitItem {
  readonly kind: "wait";
  readonly line: number;
  readonly events: readonly RecordedEvent[];
  /** As for a call. */
  readonly alternating: InputFileError | null;
}

/** The thread moved to another CPU. */
export interface MigrateItem {
  readonly kind: "migrate";
  readonly line: number;
  readonly cpu: number;
}

/** Events outside any call, in a recording in which CPUs ran at the same time. */
export interface RunningItem {
  readonly kind: "running";
  /** The line before the first of them. */
  readonly line: number;
  readonly events: readonly RecordedEvent[];
}

/** The state at the end. */
export interface EndItem {
  readonly kind: "end";
  /** The line at which the calls ended. */
  readonly line: number;
  readonly state: RecordedState;
}

/** A step of a recording, in the file's order: one `start`, then calls, waits and migrations, one `end`. */
export type RecordingItem = StartItem | CallItem | WaitItem | MigrateItem | EndItem;

/** A step of a recording in which CPUs may have run at the same time. */
export type ConcurrentItem = RecordingItem | RunningItem;

type Line = Record<string, unknown>;

type Step = CallItem | WaitItem | MigrateItem | RunningItem;

/** Turns lines into items; a step's item comes once the line after its last event has been seen. */
export class RecordingParser {
  private readonly file: string;
  private section: "header" | "init" | "calls" | "final" = "header";
  private header: RecordingHeader | null = null;
  private state = new StateCollector();
  /** The step whose events are being read, but for these. */
  private open: Step | null = null;
  private events: RecordedEvent[] = [];
  private endLine = 0;
  /** Calls so far. */
  private calls = 0;
  private line = 0;

  /** CPUs of the open step's events: all of them, and the last one. */
  private readonly stepCpus = new Set<unknown>();
  private lastCpu: unknown = null;
  private alternating: InputFileError | null = null;
  private readonly isConcurrent: boolean;
  private readonly knownAreas = new KnownAreas();

  constructor(file: string, isConcurrent: boolean) {
    this.file = file;
    this.isConcurrent = isConcurrent;
  }

  feed(text: string, lineNumber: number): ConcurrentItem | null {
    this.line = lineNumber;
    const line = this.parseJson(text);
    if (this.section === "calls") return this.readStep(line);
    if (this.section === "init") return this.readInit(line);
    if (this.section === "header") this.readHeader(line);
    else this.addState("final", line);
    return null;
  }

  finish(): EndItem {
    if (this.section === "header") throw new InputFileError(this.file, 0, "is empty");
    if (this.section === "init") throw this.problem('ends before {"init":"end"}');
    if (this.section === "calls") throw this.problem('ends before {"end_of_calls":1}');
    const missing = this.state.missing("final");
    if (missing !== null) throw this.problem(`ends without ${missing}`);
    return { kind: "end", line: this.endLine, state: this.state.finish() };
  }

  private parseJson(text: string): Line {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      if (this.section === "header") throw this.problem("not a recording: its first line is not JSON");
      throw this.problem(`not JSON: ${(error as Error).message}`);
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw this.problem("not a JSON object");
    return value as Line;
  }

  private readHeader(line: Line): void {
    if (!("header" in line)) throw this.problem('not a recording: its first line has no "header"');
    if (line.header !== 1) {
      throw this.problem(`header version ${JSON.stringify(line.header)}: only version 1 is understood`);
    }
    this.header = this.check(headerSchema, line, "header");
    this.section = "init";
  }

  private readInit(line: Line): StartItem | null {
    if (line.init !== "end") {
      if ("call" in line || "ev" in line) throw this.problem('a call or event before {"init":"end"}');
      this.addState("init", line);
      return null;
    }
    const missing = this.state.missing("init");
    if (missing !== null) throw this.problem(`the initial state ends without ${missing}`);
    const header = this.header as RecordingHeader;
    const state = this.state.finish(header.lazy_nr);
    const { lines } = this.state;
    lines.end = this.line;
    this.knownAreas.begin(state.snapshot.busy);
    this.state = new StateCollector();
    this.section = "calls";
    return { kind: "start", header, state, lines };
  }

  private readStep(line: Line): ConcurrentItem | null {
    if ("ev" in line) return this.readEvent(line);
    if ("wait_done" in line) {
      if (this.open?.kind !== "wait") throw this.problem('"wait_done" without "wait"');
      this.check(waitDoneSchema, line, "wait_done");
      return this.replaceOpen(null);
    }
    if (this.open?.kind === "wait") throw this.problem('something else than an event between "wait" and "wait_done"');
    return this.replaceOpen(this.readStepStart(line));
  }

  private readStepStart(line: Line): Step | null {
    if ("call" in line)
      return { kind: "call", line: this.line, call: this.readCall(line), events: [], alternating: null };
    if ("migrate" in line) {
      const cpu = this.check(migrateSchema, line, "migrate").migrate;
      if (cpu < (this.header as RecordingHeader).smp) return { kind: "migrate", line: this.line, cpu };
      throw this.problem(`migrate to CPU ${cpu}: the machine has ${this.header?.smp}`);
    }
    if ("wait" in line) {
      if (line.wait === "drain") return { kind: "wait", line: this.line, events: [], alternating: null };
      throw this.problem(`wait for ${JSON.stringify(line.wait)}: only "drain" is understood`);
    }
    if (!("end_of_calls" in line)) throw this.problem(`unknown kind of line ${JSON.stringify(Object.keys(line)[0])}`);
    const end = endSchema.safeParse(line);
    if (!end.success) throw this.problem(`end_of_calls: ${schemaProblem(line, end.error)}`);
    this.section = "final";
    this.endLine = this.line;
    return null;
  }

  private readCall(line: Line): RecordedCall {
    if (!Object.hasOwn(callSchemas, String(line.call))) throw this.problem(`unknown call ${JSON.stringify(line.call)}`);
    const name = line.call as keyof typeof callSchemas;
    const schema: { safeParse(line: Line): SafeParseResult<RecordedCall> } = callSchemas[name];
    const call = this.check(schema, line, `call "${name}"`);
    if (call.n !== this.calls) throw this.problem(`call "${name}": "n" is ${call.n}: expected ${this.calls}`);
    this.calls++;
    // Where CPUs run at the same time, a call may be told of before another that made way for it.
    const problem = this.isConcurrent ? null : this.knownAreas.problem(call);
    if (problem !== null) throw this.problem(`call "${name}": ${problem}`);
    return call;
  }

  private readEvent(line: Line): ConcurrentItem | null {
    const problem = eventProblem(line);
    if (problem !== null) throw this.problem(problem);
    const isOutside = this.open === null || this.open.kind === "migrate";
    if (!this.isConcurrent) this.checkSequential(line, isOutside);
    const ended = isOutside ? this.replaceOpen({ kind: "running", line: this.line - 1, events: [] }) : null;
    this.events.push(line as RecordedEvent);
    return ended;
  }

  /** Refuses what only happens where CPUs run at the same time: the order of their events is that machine's and not predictable. */
  private checkSequential(line: Line, isOutside: boolean): void {
    const cpu = line.on_cpu ?? 0;
    let reason: string | null = null;
    if (isOutside) reason = `event "${line.ev}" outside any call or wait`;
    else if (line.ev === "drain" && this.open?.kind === "call") reason = "the drain work runs during a call";
    else if (cpu !== this.lastCpu && this.stepCpus.has(cpu)) {
      this.alternating ??= this.concurrent(`events of CPUs ${this.lastCpu} and ${cpu} alternate`);
    }
    this.stepCpus.add(cpu);
    this.lastCpu = cpu;
    if (reason !== null) throw this.concurrent(reason);
  }

  private concurrent(reason: string): InputFileError {
    return this.problem(`${reason}: CPUs ran at the same time here, which mmulab replay --follow can follow`);
  }

  /** Ends the open step, if there is one, and begins another. */
  private replaceOpen(next: Step | null): ConcurrentItem | null {
    const { open, events, alternating } = this;
    this.open = next;
    this.alternating = null;
    this.stepCpus.clear();
    this.lastCpu = null;
    if (open === null || open.kind === "migrate") return open;
    this.events = [];
    return open.kind === "running" ? { ...open, events } : { ...open, events, alternating };
  }

  private addState(phase: StatePhase, line: Line): void {
    const problem = this.state.add(phase, line, this.line);
    if (problem !== null) throw this.problem(problem);
  }

  private check<T>(schema: { safeParse(line: Line): SafeParseResult<T> }, line: Line, what: string): T {
    const result = schema.safeParse(line);
    if (!result.success) throw this.problem(`${what}: ${schemaProblem(line, result.error)}`);
    return result.data;
  }

  private problem(reason: string): InputFileError {
    return new InputFileError(this.file, this.line, reason);
  }
}

type SafeParseResult<T> = { success: true; data: T } | { success: false; error: ZodError };
