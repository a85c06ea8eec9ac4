/** The way through a recording, step by step: what is compared or shown on the way is the caller's. */
import { InputFileError } from "../input/errors.ts";
import type { Kernel } from "../machine/kernel.ts";
import { startRecordedKernel } from "./recorded-start.ts";
import { type RecordingItem, readRecording } from "./recording-reader.ts";
import { ReplayCalls } from "./replay-calls.ts";
import { alignClocks, isRecordingsFault } from "./replay-kernel.ts";

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
  let started: { readonly kernel: Kernel; readonly calls: ReplayCalls } | null = null;
  let made = 0;
  for await (const item of readRecording(file)) {
    if (item.kind === "call" && made++ === callsMax) return;
    let address: number | null = null;
    try {
      if (item.kind === "start") {
        const kernel = startRecordedKernel(file, item);
        started = { kernel, calls: new ReplayCalls(kernel) };
      }
      if (started === null) throw new Error(`${file} was read without its start`);
      address = take(item, started.kernel, started.calls);
    } catch (error) {
      if (error instanceof InputFileError || !isRecordingsFault(error)) throw error;
      throw new InputFileError(file, item.kind === "start" ? 0 : item.line, `cannot be replayed: ${error.message}`);
    }
    yield { item, kernel: started.kernel, address };
  }
}

function take(item: RecordingItem, kernel: Kernel, calls: ReplayCalls): number | null {
  switch (item.kind) {
    case "call":
      return calls.make(item.call);
    case "wait":
      alignClocks(kernel);
      kernel.runUntilIdle();
      return null;
    case "migrate":
      kernel.currentCpu = item.cpu;
      return null;
    case "start":
    case "end":
      return null;
  }
}
