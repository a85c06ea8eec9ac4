/** Progress bars: on standard error, and only where that is a terminal. */
import { Presets, SingleBar } from "cli-progress";

/** Progress of something that takes a while. */
export interface Progress {
  /** Sets how far it is, and a few words about it. */
  update(done: number, text: string): void;
  /** Removes the bar. */
  stop(): void;
}

const SILENT: Progress = { update: () => {}, stop: () => {} };

/** A bar of `total` steps; nothing at all when `quiet` or when standard error is no terminal. */
export function startProgress(total: number, quiet: boolean): Progress {
  if (quiet || !process.stderr.isTTY) return SILENT;
  const options = { format: "{bar} {value}/{total} {text}", clearOnComplete: true, stream: process.stderr };
  const bar = new SingleBar(options, Presets.shades_classic);
  bar.start(total, 0, { text: "" });
  return {
    update: (done, text) => bar.update(done, { text }),
    stop: () => bar.stop(),
  };
}
