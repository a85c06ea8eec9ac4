/** Events of a concurrent recording, read into numbers, with who did them; and what was found wrong with them. */
import { parseLinearAddress } from "../../../arch/isa/linear-address.ts";
import type { RecordedEvent } from "../../events/recorded-event.ts";
import { describeEvent, type ReplayDifference } from "../replay-difference.ts";

/** One event, in the recorded order. */
export interface FollowedEvent {
  readonly event: RecordedEvent;
  readonly line: number;
  readonly cpu: number;
  /** Whether the thread that makes the recorded calls did it. */
  readonly isCaller: boolean;
}

/** Puts an event's line, CPU and context beside it. */
export function followedEvent(event: RecordedEvent, line: number): FollowedEvent {
  return { event, line, cpu: Number(event.on_cpu ?? 0), isCaller: event.ctx === undefined };
}

/** A number of an event. */
export function numberOf({ event }: FollowedEvent, field: string): number {
  return Number(event[field]);
}

/** A linear address of an event. */
export function addressOf({ event }: FollowedEvent, field: string): number {
  return parseLinearAddress(String(event[field]));
}

/** Fields that say who did it, or depend on which frames the rest of the kernel had taken. */
const NOT_COMPARED: ReadonlySet<string> = new Set(["ctx", "on_cpu", "pfn0", "table", "entry"]);

/** What differs from the recording, counted; the first ones kept. */
export class Findings {
  addressMismatches = 0;
  eventMismatches = 0;
  finalStateMismatches = 0;
  readonly byEventName: Record<string, number> = {};
  readonly byStatePart: Record<string, number> = {};
  readonly differences: ReplayDifference[] = [];
  private readonly differencesMax: number;

  constructor(differencesMax: number) {
    this.differencesMax = differencesMax;
  }

  /** Compares an event with what must have happened: `predicted` has the fields that are known. */
  compare(followed: FollowedEvent, predicted: Readonly<Record<string, string | number>>): void {
    const { event } = followed;
    for (const field in predicted) {
      if (NOT_COMPARED.has(field) || event[field] === predicted[field]) continue;
      this.mismatch(followed, describeEvent({ ...predicted, ev: event.ev }));
      return;
    }
  }

  /** The event is not what must have happened. */
  mismatch({ event, line, cpu }: FollowedEvent, actual: string): void {
    this.eventMismatches++;
    this.byEventName[event.ev] = (this.byEventName[event.ev] ?? 0) + 1;
    this.note({
      kind: "event",
      line,
      where: `${event.ev} of CPU ${cpu}`,
      expected: describeEvent(event),
      actual,
      context: [],
    });
  }

  /** A call did not return what it must have. */
  address(line: number, where: string, expected: string, actual: string): void {
    this.addressMismatches++;
    this.note({ kind: "address", line, where, expected, actual, context: [] });
  }

  /** A record of the final state differs. */
  finalState(line: number, part: string, index: number, expected = "nothing", actual = "nothing"): void {
    this.finalStateMismatches++;
    this.byStatePart[part] = (this.byStatePart[part] ?? 0) + 1;
    this.note({ kind: "final state", line, where: `final ${part}, record ${index}`, expected, actual, context: [] });
  }

  private note(difference: ReplayDifference): void {
    if (this.differences.length < this.differencesMax) this.differences.push(difference);
  }
}
