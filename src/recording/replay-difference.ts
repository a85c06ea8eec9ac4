/** A difference between a recorded kernel and the emulated one, with what is needed to understand it. */
import { formatLinearAddress } from "../../arch/isa/linear-address.ts";
import { type RecordedEvent, sameEvent } from "../events/recorded-event.ts";
import type { RecordedCall } from "./line-schemas.ts";
import type { Difference } from "./sequence-diff.ts";

/** One difference between the recorded kernel and the emulated one. */
export interface ReplayDifference {
  readonly kind: "address" | "event" | "final state";
  /** The recording's line with the call or wait, or with the end of the calls. */
  readonly line: number;
  /** `call 17: vmalloc size=4096`, `drain after call 17`, or `final busy, record 3`. */
  readonly where: string;
  /** What the recorded kernel did; `nothing` when only the emulated one did something. */
  readonly expected: string;
  /** What the emulated kernel did; `nothing` when it did not. */
  readonly actual: string;
  /** The events around it: `  ` before one of both, `- ` of the recorded kernel alone, `+ ` of the emulated one alone. */
  readonly context: readonly string[];
}

/** Events shown before and after a difference. */
const CONTEXT_EVENTS = 3;

/** `call 17: get_vm_area_range size=4096 vm_flags=4 start=0x... end=0x...`. */
export function describeCall(call: RecordedCall): string {
  let text = `call ${call.n}: ${call.call}`;
  for (const [name, value] of Object.entries(call)) {
    if (name === "call" || name === "n" || name === "ret") continue;
    const isLinear = name === "addr" || name === "start" || name === "end";
    const shown = isLinear ? formatLinearAddress(Number(value)) : name === "phys" ? `0x${value.toString(16)}` : value;
    text += ` ${name}=${shown}`;
  }
  return text;
}

/** An event as its line in a recording; `nothing` for none. */
export function describeEvent(event: RecordedEvent | undefined): string {
  return event === undefined ? "nothing" : JSON.stringify(event);
}

/** The events around a difference, or the first ones when all are the same. */
export function eventContext(
  expected: readonly RecordedEvent[],
  actual: readonly RecordedEvent[],
  difference: Difference<RecordedEvent> | undefined,
): string[] {
  const lines: string[] = [];
  const index = difference?.index ?? 0;
  for (const event of expected.slice(Math.max(0, index - CONTEXT_EVENTS), index))
    lines.push(`  ${describeEvent(event)}`);
  let left = index;
  let right = index;
  if (difference !== undefined) {
    if (difference.expected !== undefined) lines.push(`- ${describeEvent(expected[left++])}`);
    if (difference.actual !== undefined) lines.push(`+ ${describeEvent(actual[right++])}`);
  }
  for (let shown = 0; shown < CONTEXT_EVENTS; shown++) {
    const recorded = expected[left++];
    const emulated = actual[right++];
    if (recorded !== undefined && emulated !== undefined && sameEvent(recorded, emulated)) {
      lines.push(`  ${describeEvent(recorded)}`);
      continue;
    }
    if (recorded !== undefined) lines.push(`- ${describeEvent(recorded)}`);
    if (emulated !== undefined) lines.push(`+ ${describeEvent(emulated)}`);
  }
  return lines;
}
