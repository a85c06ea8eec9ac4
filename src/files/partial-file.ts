/**
 * Files that are being written beside their place, under a name of their own. One that is not put in its place is removed,
 * also when this process is ended from outside: a small shell waits for that, as a program that computes without a pause can
 * not act on signals, and on SIGKILL none can.
 */
import { spawn } from "node:child_process";
import { chmodSync, closeSync, fsyncSync, openSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";

let made = 0;

/** A file under a temporary name. Errors are those of the system. */
export class PartialFile {
  /** Open for writing. */
  readonly descriptor: number;
  /** Its temporary name, in the same folder. */
  readonly path: string;
  private readonly place: string;
  private readonly dismissWatcher: () => void;

  /**
   * @param place where the file belongs when it is whole: a path without symbolic links
   * @param mode permissions that it shall have; null for those of a new file
   */
  constructor(place: string, mode: number | null) {
    removeLeftovers(place);
    this.place = place;
    this.path = `${place}.${process.pid}-${++made}.part`;
    // Before the file is there, so that no end of this process can leave it.
    this.dismissWatcher = removeAtDeath(this.path);
    try {
      this.descriptor = openSync(this.path, "wx");
    } catch (error) {
      this.dismissWatcher();
      throw error;
    }
    if (mode !== null) chmodSync(this.path, mode);
  }

  /** Puts the file in its place, over what is there. It is on the disk before. */
  finish(): void {
    try {
      fsyncSync(this.descriptor);
      closeSync(this.descriptor);
      renameSync(this.path, this.place);
      this.dismissWatcher();
    } catch (error) {
      this.abandon();
      throw error;
    }
  }

  /** Removes it; what was in its place stays. May be called after a failure of `finish`. */
  abandon(): void {
    try {
      closeSync(this.descriptor);
    } catch {
      // Closed already.
    }
    rmSync(this.path, { force: true });
    this.dismissWatcher();
  }
}

/** Has `path` removed, if it still exists, when this process ends or calls what is returned. */
function removeAtDeath(path: string): () => void {
  if (process.platform === "win32") return () => {};
  // The pipe to the shell ends with this process, however that ends.
  const args = ["-c", 'read -r word; rm -f -- "$1"', "sh", path];
  const watcher = spawn("/bin/sh", args, { cwd: "/", detached: true, stdio: ["pipe", "ignore", "ignore"] });
  watcher.on("error", () => {
    // Without a shell the file stays until the next process that writes there removes it.
  });
  watcher.unref();
  return () => watcher.stdin?.destroy();
}

/** Removes what processes that are no more have left half-written of `place`. */
function removeLeftovers(place: string): void {
  const folder = dirname(place);
  const prefix = `${basename(place)}.`;
  for (const name of readdirSync(folder)) {
    const match = name.startsWith(prefix) ? /^(\d+)-\d+\.part$/.exec(name.slice(prefix.length)) : null;
    if (match !== null && !isRunning(Number(match[1]))) rmSync(join(folder, name), { force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
