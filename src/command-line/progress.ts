/** Progress bars: on standard error, and only where that is a terminal. */
import { Presets, SingleBar } from "cli-progress";

/** Progress of something that takes a while. */
export interface Progress {
  /** Shows how far it is, and a few words about it. */
  update(done: number, text: string): void;
  /** Takes the bar off the terminal, to make room for other lines or for good; `update` brings it back. */
  clear(): void;
}

const SILENT: Progress = { update: () => {}, clear: () => {} };

const OPTIONS = { format: "{bar} {value}/{total} {text}", clearOnComplete: true, hideCursor: true };

/** A bar of `total` steps; nothing at all when `quiet` or when standard error is no terminal. */
export function startProgress(total: number, quiet: boolean): Progress {
  if (quiet || !process.stderr.isTTY) return SILENT;
  let bar: SingleBar | null = null;
  return {
    update(done, text) {
      if (bar === null) {
        bar = new SingleBar({ ...OPTIONS, stream: process.stderr }, Presets.shades_classic);
        bar.start(total, done, { text });
      } else {
        bar.update(done, { text });
      }
    },
    clear() {
      bar?.stop();
      bar = null;
    },
  };
}
