/** The way through a recording, step by step: what is compared or shown on the way is the caller's. */
import type { Kernel } from "../machine/kernel.ts";
import type { RecordingItem } from "./recording-parser.ts";
import { readRecording } from "./recording-reader.ts";
import { Replayer } from "./replayer.ts";

/** A step that has been taken. */
export interface ReplayStep {
  readonly item: RecordingItem;
  readonly kernel: Kernel;
  /** What a call returned; null for other steps and for calls that return no address. */
  readonly address: number | null;
}

/**
 * Boots the recorded kernel, then takes one recorded step after the other: calls, waits, migrations of the thread that calls,
 * and the end, at which nothing happens.
 * @param callsMax stops before the call after that many
 * @throws InputFileError when the file cannot be read, is not a recording, or asks for more than any machine has
 */
export async function* replaySteps(file: string, callsMax = Number.POSITIVE_INFINITY): AsyncGenerator<ReplayStep> {
  let replayer: Replayer | null = null;
  let made = 0;
  for await (const item of readRecording(file)) {
    if (item.kind === "call" && made++ === callsMax) return;
    if (item.kind === "start") replayer = new Replayer(file, item);
    if (replayer === null) throw new Error(`${file} was read without its start`);
    yield { item, kernel: replayer.kernel, address: replayer.take(item) };
  }
}
