/** Compares the state at the end of a replay with the recorded one: record by record, and the kernel's text views line by line. */

import type { KernelVersion } from "../../mm/index.ts";
import { formatVmallocinfoLine, parseVmallocinfoLine, type VmallocinfoLine } from "../../mm/views/vmallocinfo-line.ts";
import type { RecordedState } from "./recorded-state.ts";
import { diffSequences } from "./sequence-diff.ts";
import { SNAPSHOT_PARTS, snapshotLines } from "./snapshot-text.ts";

/** A record or line of the final state that is not as recorded; a side that lacks it is undefined. */
export interface StateDifference {
  /** `free`, `busy`, `lazy`, `pool`, `vbfree`, `vb`, `meta`, `vmallocinfo`, `page tables` or `meminfo`. */
  readonly part: string;
  readonly index: number;
  readonly expected: string | undefined;
  readonly actual: string | undefined;
}

const CALLER_MARK = " [replay]";

/** Lines of `/proc/meminfo` that vmalloc alone decides; the others tell of the rest of the kernel. */
const COMPARED_MEMINFO = /^Vmalloc(Total|Used|Chunk):/;

/** The caller to give an area that a replayed call makes, until the recording tells its return address. */
export function replayedCaller(call: string): string {
  return `${call}+0x0/0x0${CALLER_MARK}`;
}

/**
 * Every difference between the recorded final state and the replay's.
 * @param version of the recorded kernel, which may show some of it late
 */
export function compareFinalState(
  expected: RecordedState,
  actual: RecordedState,
  version: KernelVersion,
): StateDifference[] {
  const differences: StateDifference[] = [];
  const compare = (part: string, left: readonly string[], right: readonly string[]): void => {
    for (const difference of diffSequences(left, right, Object.is)) differences.push({ part, ...difference });
  };
  for (const part of SNAPSHOT_PARTS) {
    compare(part, snapshotLines(expected.snapshot, part), snapshotLines(actual.snapshot, part));
  }
  compare("vmallocinfo", expected.vmallocinfo, withLearnedCallers(expected.vmallocinfo, actual.vmallocinfo));
  compare("page tables", expected.pageTables, actual.pageTables);
  const ofVmalloc = (line: string): boolean =>
    COMPARED_MEMINFO.test(line) && !(version.vmallocUsedLags && line.startsWith("VmallocUsed:"));
  compare("meminfo", expected.meminfo.filter(ofVmalloc), actual.meminfo.filter(ofVmalloc));
  return differences;
}

/**
 * The replay's `/proc/vmallocinfo` with the recorded callers in it. The caller of an area is the return address of whoever
 * called vmalloc: here, a place in the module that made the recording, which a call line does not tell. So it is learned:
 * of the areas that one kind of call made, the first that both sides have gives its caller to all of them. Any other area
 * of that kind with another caller is then a difference.
 */
function withLearnedCallers(expected: readonly string[], actual: readonly string[]): string[] {
  const recorded = new Map<number, VmallocinfoLine>();
  for (const text of expected) {
    const line = parseVmallocinfoLine(text);
    if (line.caller !== "") recorded.set(line.start, line);
  }
  const learned = new Map<string, string>();
  return actual.map((text) => {
    if (!text.includes(CALLER_MARK)) return text;
    const line = parseVmallocinfoLine(text);
    const caller = learned.get(line.caller) ?? recorded.get(line.start)?.caller;
    if (caller === undefined) return text;
    learned.set(line.caller, caller);
    return formatVmallocinfoLine({ ...line, caller });
  });
}
