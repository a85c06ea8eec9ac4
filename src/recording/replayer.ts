/** A recording's calls made again in an emulated kernel, one recorded step after the other, wherever the steps are read from. */
import { InputFileError } from "../input/errors.ts";
import type { Kernel } from "../machine/kernel.ts";
import { startRecordedKernel } from "./recorded-start.ts";
import type { RecordingItem, StartItem } from "./recording-parser.ts";
import { ReplayCalls } from "./replay-calls.ts";
import { alignClocks, isRecordingsFault } from "./replay-kernel.ts";

/** The kernel of one recording. */
export class Replayer {
  readonly kernel: Kernel;
  private readonly file: string;
  private readonly calls: ReplayCalls;

  /**
   * Boots the recorded kernel.
   * @param file the recording's name, for messages
   * @throws InputFileError for a state that is not possible, or is more than any machine has
   */
  constructor(file: string, start: StartItem) {
    this.file = file;
    this.kernel = this.guarded(0, () => startRecordedKernel(file, start));
    this.calls = new ReplayCalls(this.kernel);
  }

  /**
   * Takes a step: a call, a wait, a migration of the thread that calls; at the start and at the end nothing happens.
   * @returns what a call returned; null for other steps and for calls that return no address
   * @throws InputFileError for a call that asks for more than any machine has
   */
  take(item: RecordingItem): number | null {
    return this.guarded(item.kind === "start" ? 0 : item.line, () => this.taken(item));
  }

  private taken(item: RecordingItem): number | null {
    if (item.kind === "call") return this.calls.make(item.call);
    if (item.kind === "migrate") this.kernel.currentCpu = item.cpu;
    if (item.kind === "wait") {
      alignClocks(this.kernel);
      this.kernel.runUntilIdle();
    }
    return null;
  }

  private guarded<T>(line: number, act: () => T): T {
    try {
      return act();
    } catch (error) {
      if (error instanceof InputFileError || !isRecordingsFault(error)) throw error;
      throw new InputFileError(this.file, line, `cannot be replayed: ${error.message}`);
    }
  }
}
