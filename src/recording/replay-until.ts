/** The state of a recorded kernel after some of its calls. */
import { InputFileError } from "../input/errors.ts";
import type { Kernel } from "../machine/kernel.ts";
import { startRecordedKernel } from "./recorded-start.ts";
import { readRecording } from "./recording-reader.ts";
import { ReplayCalls } from "./replay-calls.ts";
import { alignClocks, isRecordingsFault } from "./replay-kernel.ts";

/** A kernel part of the way through a recording. */
export interface PartialReplay {
  readonly kernel: Kernel;
  readonly recording: string;
  /** Calls that were made: fewer than asked for when the recording has no more. */
  readonly calls: number;
}

/**
 * Boots the recorded kernel and makes its first `calls` calls, with the waits and migrations between them.
 * @throws InputFileError when the file cannot be read or is not a recording
 */
export async function replayUntil(file: string, calls: number): Promise<PartialReplay> {
  let kernel: Kernel | null = null;
  let replay: ReplayCalls | null = null;
  let recording = "";
  let made = 0;
  for await (const item of readRecording(file)) {
    try {
      if (item.kind === "start") {
        kernel = startRecordedKernel(file, item);
        replay = new ReplayCalls(kernel);
        recording = item.header.name;
      }
      if (kernel === null || replay === null) continue;
      if (item.kind === "call") {
        if (made === calls) break;
        replay.make(item.call);
        made++;
      } else if (item.kind === "wait") {
        alignClocks(kernel);
        kernel.runUntilIdle();
      } else if (item.kind === "migrate") kernel.currentCpu = item.cpu;
    } catch (error) {
      if (error instanceof InputFileError) throw error;
      if (isRecordingsFault(error)) {
        throw new InputFileError(file, item.kind === "start" ? 0 : item.line, `cannot be replayed: ${error.message}`);
      }
      throw error;
    }
  }
  if (kernel === null) throw new InputFileError(file, 0, "has no calls");
  return { kernel, recording, calls: made };
}
