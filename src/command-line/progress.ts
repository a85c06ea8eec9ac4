/** Progress bars: on standard error, and only where that is a terminal. */
import { createRequire } from "node:module";
import type { Options, Params, SingleBar } from "cli-progress";

/** Progress of something that takes a while. */
export interface Progress {
  /** Shows how far it is, and a few words about it. */
  update(done: number, text: string): void;
  /** Takes the bar off the terminal, to make room for other lines or for good; `update` brings it back. */
  clear(): void;
}

const SILENT: Progress = { update: () => {}, clear: () => {} };

/** The bars themselves. Only those who see one wait for them (10 ms); this kind of package can be had at once. */
const cliProgress = (): typeof import("cli-progress") => createRequire(import.meta.url)("cli-progress");

const OPTIONS = { format: line, clearOnComplete: true, hideCursor: true };

/** What stands beside the numbers of a bar. */
interface Words {
  readonly unit: string;
  readonly text: string;
}

/** The bar, how far it is, the time that is left where steps have shown how long they take, and a few words. */
function line(options: Options, { progress, value, total, eta }: Params, { unit, text }: Words): string {
  return `${cliProgress().Format.BarFormat(progress, options)} ${value}/${total}${unit} ${timeLeft(Number(eta))}${text}`;
}

/** `1:05 left `, in minutes and seconds, from an hour on `2:01:05 left `; empty while nothing is known. */
export function timeLeft(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds <= 0) return "";
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const two = (number: number): string => String(number).padStart(2, "0");
  return `${hours > 0 ? `${hours}:${two(minutes)}` : minutes}:${two(Math.floor(seconds) % 60)} left `;
}

/**
 * A bar of `total` steps; nothing at all when `quiet` or when standard error is no terminal.
 * @param unit of the steps, where they are not things that `text` names
 */
export function startProgress(total: number, quiet: boolean, unit = ""): Progress {
  const behind = unit === "" ? "" : ` ${unit}`;
  if (quiet || !process.stderr.isTTY) return SILENT;
  let bar: SingleBar | null = null;
  return {
    update(done, text) {
      if (bar === null) {
        const { SingleBar, Presets } = cliProgress();
        bar = new SingleBar({ ...OPTIONS, stream: process.stderr }, Presets.shades_classic);
        bar.start(total, done, { unit: behind, text });
      } else {
        bar.update(done, { unit: behind, text });
      }
    },
    clear() {
      bar?.stop();
      bar = null;
    },
  };
}
