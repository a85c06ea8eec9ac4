/** A recording of a real kernel, replayed step by step: a step is a call, a wait or a migration. */
import { formatLinearAddress } from "../../../arch/index.ts";
import { compareFinalState } from "../../recording/final-state.ts";
import { type EndItem, type RecordingItem, RecordingParser } from "../../recording/recording-parser.ts";
import { describeCall } from "../../recording/replay-difference.ts";
import { captureState } from "../../recording/replay-kernel.ts";
import { Replayer } from "../../recording/replayer.ts";
import type { Begun, Told } from "./begin.ts";

/**
 * Reads a recording.
 * @returns what begins its replay
 * @throws InputFileError at the line that is wrong
 */
export function openRecording(name: string, lines: readonly string[]): () => Begun {
  const parser = new RecordingParser(name, false);
  const items: RecordingItem[] = [];
  lines.forEach((line, i) => {
    const item = parser.feed(line, i + 1);
    if (item !== null && item.kind !== "running") items.push(item);
  });
  items.push(parser.finish());
  return () => beginReplay(name, items);
}

function beginReplay(name: string, items: readonly RecordingItem[]): Begun {
  const [start, ...steps] = items;
  if (start.kind !== "start") throw new Error(`${name} was read without its start`);
  const replayer = new Replayer(name, start);
  const { kernel } = replayer;
  let next = 0;
  let told: Told | null = null;
  const step = (): boolean => {
    if (next >= steps.length) return false;
    const item = steps[next++];
    const address = replayer.take(item);
    told = { ...tell(item, address), text: "", lines: [], look: { cpu: kernel.currentCpu, address: address ?? 0 } };
    if (item.kind === "end") told = { ...told, found: finalState(item) };
    return true;
  };
  const finalState = ({ state }: EndItem): string => {
    const [first, ...others] = compareFinalState(state, captureState(kernel), kernel.mm.version);
    return first === undefined
      ? "the final state is as recorded"
      : `${others.length + 1} records differ: ${first.part}`;
  };
  return { kernel, length: steps.length, step, told: () => told };
}

function tell(item: RecordingItem, address: number | null): Pick<Told, "title" | "found"> {
  if (item.kind === "call") {
    const recorded = "ret" in item.call ? item.call.ret : null;
    if (address === null || recorded === null) return { title: describeCall(item.call), found: "" };
    const as = address === recorded ? "as recorded" : `recorded: ${formatLinearAddress(recorded)}`;
    return { title: describeCall(item.call), found: `${formatLinearAddress(address)}, ${as}` };
  }
  if (item.kind === "wait") return { title: "the thread sleeps until queued work has run", found: "" };
  if (item.kind === "migrate") return { title: `the thread moves to CPU ${item.cpu}`, found: "" };
  return { title: "the end", found: "" };
}
