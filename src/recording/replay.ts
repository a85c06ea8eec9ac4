/** Replays a recording: the same initial state and the same calls, compared address by address and event by event. */
import { formatLinearAddress } from "../../arch/isa/linear-address.ts";
import { EventRecorder } from "../events/event-recorder.ts";
import { type RecordedEvent, sameEvent } from "../events/recorded-event.ts";
import type { Kernel } from "../machine/kernel.ts";
import { compareFinalState } from "./final-state.ts";
import type { CallItem, EndItem, RecordingItem, StartItem, WaitItem } from "./recording-parser.ts";
import { describeCall, describeEvent, eventContext, type ReplayDifference } from "./replay-difference.ts";
import { callingThread, captureState } from "./replay-kernel.ts";
import { replaySteps } from "./replay-steps.ts";
import { type Difference, diffSequences } from "./sequence-diff.ts";

/** What a replay found. */
export interface ReplayResult {
  /** The recording's name, from its header. */
  readonly recording: string;
  readonly calls: number;
  /** Recorded events. */
  readonly events: number;
  /** Calls that returned another address. */
  readonly addressMismatches: number;
  /** Events missing, extra or different, over all calls and waits. */
  readonly eventMismatches: number;
  /** Records and text lines of the final state that are missing, extra or different. */
  readonly finalStateMismatches: number;
  /** Event mismatches by the event's name (the recorded event's, where there is one). */
  readonly eventMismatchesByName: Readonly<Record<string, number>>;
  /** Final-state mismatches by part (`free`, `busy`, `vmallocinfo`, ...). */
  readonly finalStateMismatchesByPart: Readonly<Record<string, number>>;
  /** The first differences, in order. */
  readonly differences: readonly ReplayDifference[];
}

/** Choices of a replay. */
export interface ReplayOptions {
  /** How many differences to keep and describe; the others are only counted. Default 1. */
  readonly differencesMax?: number;
  /** Called now and then with the number of calls made so far. */
  readonly onProgress?: (calls: number) => void;
}

const PROGRESS_CALLS = 1024;

/**
 * Replays a recording, gzip or plain.
 * @throws InputFileError when the file cannot be read or is not a recording
 */
export async function replayRecording(file: string, options: ReplayOptions = {}): Promise<ReplayResult> {
  let comparison: Comparison | null = null;
  for await (const { item, kernel, address } of replaySteps(file)) {
    if (item.kind === "start") comparison = new Comparison(item, kernel, options);
    else comparison?.add(item, address);
  }
  if (comparison === null) throw new Error(`${file} was read without its start`);
  return comparison.result();
}

/** Compares each step of a replay with what was recorded. */
class Comparison {
  private readonly options: ReplayOptions;
  private readonly recording: string;
  private readonly kernel: Kernel;
  private readonly recorder: EventRecorder;
  private callCount = 0;
  private eventCount = 0;
  private addressMismatches = 0;
  private eventMismatches = 0;
  private finalStateMismatches = 0;
  private readonly byEventName: Record<string, number> = {};
  private readonly byStatePart: Record<string, number> = {};
  private readonly differences: ReplayDifference[] = [];
  private lastCall = "the start";

  constructor(start: StartItem, kernel: Kernel, options: ReplayOptions) {
    this.options = options;
    this.recording = start.header.name;
    this.kernel = kernel;
    const caller = callingThread(this.kernel);
    this.recorder = new EventRecorder(this.kernel.machine.loop, () => caller);
    this.kernel.vm.events = this.recorder.observer;
  }

  /** @param address what a call returned */
  add(item: Exclude<RecordingItem, StartItem>, address: number | null): void {
    switch (item.kind) {
      case "call":
        this.compareCall(item, address);
        break;
      case "wait":
        this.compareEvents(item, () => `drain after ${this.lastCall}`, this.recorder.take());
        break;
      case "migrate":
        break;
      case "end":
        this.compareEnd(item);
        break;
    }
  }

  result(): ReplayResult {
    return {
      recording: this.recording,
      calls: this.callCount,
      events: this.eventCount,
      addressMismatches: this.addressMismatches,
      eventMismatches: this.eventMismatches,
      finalStateMismatches: this.finalStateMismatches,
      eventMismatchesByName: this.byEventName,
      finalStateMismatchesByPart: this.byStatePart,
      differences: this.differences,
    };
  }

  private compareCall(item: CallItem, address: number | null): void {
    const { call, line } = item;
    const events = this.recorder.take();
    this.callCount++;
    this.lastCall = `call ${call.n}`;
    if (this.callCount % PROGRESS_CALLS === 0) this.options.onProgress?.(this.callCount);
    const where = (): string => describeCall(call);
    if ("ret" in call && address !== null && address !== call.ret) {
      this.addressMismatches++;
      this.note(() => ({
        kind: "address",
        line,
        where: where(),
        expected: formatLinearAddress(call.ret),
        actual: formatLinearAddress(address),
        context: eventContext(item.events, events, diffSequences(item.events, events, sameEvent)[0]),
      }));
    }
    this.compareEvents(item, where, events);
  }

  /** @throws InputFileError where CPUs ran at the same time and came in another order */
  private compareEvents(
    { line, events: expected, alternating }: CallItem | WaitItem,
    where: () => string,
    actual: readonly RecordedEvent[],
  ): void {
    this.eventCount += expected.length;
    for (const difference of diffSequences(expected, actual, sameEvent)) {
      if (alternating !== null) throw alternating;
      this.eventMismatches++;
      count(this.byEventName, (difference.expected ?? difference.actual)?.ev ?? "none");
      this.note(() => eventDifference(line, where(), expected, actual, difference));
    }
  }

  private compareEnd(item: EndItem): void {
    for (const { part, index, expected, actual } of compareFinalState(
      item.state,
      captureState(this.kernel),
      this.kernel.mm.version,
    )) {
      this.finalStateMismatches++;
      count(this.byStatePart, part);
      this.note(() => ({
        kind: "final state",
        line: item.line,
        where: `final ${part}, record ${index}`,
        expected: expected ?? "nothing",
        actual: actual ?? "nothing",
        context: [],
      }));
    }
  }

  private note(difference: () => ReplayDifference): void {
    if (this.differences.length < (this.options.differencesMax ?? 1)) this.differences.push(difference());
  }
}

function eventDifference(
  line: number,
  where: string,
  expected: readonly RecordedEvent[],
  actual: readonly RecordedEvent[],
  difference: Difference<RecordedEvent>,
): ReplayDifference {
  return {
    kind: "event",
    line,
    where,
    expected: describeEvent(difference.expected),
    actual: describeEvent(difference.actual),
    context: eventContext(expected, actual, difference),
  };
}

function count(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}
