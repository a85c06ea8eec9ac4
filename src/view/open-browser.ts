/** Opening an address in the person's browser, where there is a desktop to show it on. */
import { spawn } from "node:child_process";

/** Where the program runs, as far as it matters here. */
export interface Surroundings {
  readonly platform: NodeJS.Platform;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether somebody sits at a terminal and reads what is printed. */
  readonly isTerminal: boolean;
}

/** A program and its arguments. */
export interface OpenCommand {
  readonly file: string;
  readonly args: readonly string[];
}

/**
 * What opens an address in the browser of the desktop.
 * @returns null where there is none that anybody would see: in CI, in a pipe, over ssh, without a display
 */
export function openCommand(url: string, { platform, env, isTerminal }: Surroundings): OpenCommand | null {
  const isSet = (name: string): boolean => (env[name] ?? "") !== "";
  if (!isTerminal || isSet("CI") || isSet("SSH_CONNECTION") || isSet("SSH_TTY")) return null;
  if (platform === "darwin") return { file: "open", args: [url] };
  // `start` is a word of the command interpreter; & in an address would end its line.
  if (platform === "win32") return { file: "cmd", args: ["/c", "start", '""', url.replaceAll("&", "^&")] };
  return isSet("DISPLAY") || isSet("WAYLAND_DISPLAY") ? { file: "xdg-open", args: [url] } : null;
}

/** Runs it and does not wait. Where it cannot be run nothing happens: the address has been printed. */
export function startOpening({ file, args }: OpenCommand): void {
  const child = spawn(file, args, { stdio: "ignore", detached: true, windowsVerbatimArguments: true });
  child.on("error", () => {});
  child.unref();
}
