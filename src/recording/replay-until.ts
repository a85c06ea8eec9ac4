/** The state of a recorded kernel after some of its calls. */
import { InputFileError } from "../input/errors.ts";
import type { Kernel } from "../machine/kernel.ts";
import { replaySteps } from "./replay-steps.ts";

/** A kernel part of the way through a recording. */
export interface PartialReplay {
  readonly kernel: Kernel;
  readonly recording: string;
  /** Calls that were made: fewer than asked for when the recording has no more. */
  readonly calls: number;
}

/**
 * Boots the recorded kernel and makes its first `calls` calls, with the waits and migrations up to the next.
 * @throws InputFileError when the file cannot be read or is not a recording
 */
export async function replayUntil(file: string, calls: number): Promise<PartialReplay> {
  let kernel: Kernel | null = null;
  let recording = "";
  let made = 0;
  for await (const step of replaySteps(file, calls)) {
    kernel = step.kernel;
    if (step.item.kind === "start") recording = step.item.header.name;
    else if (step.item.kind === "call") made++;
  }
  if (kernel === null) throw new InputFileError(file, 0, "has no calls");
  return { kernel, recording, calls: made };
}
