/** A lock on a file that one process at a time writes: a second file beside it that names the process. */
import { linkSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { OutputFileError } from "../input/errors.ts";
import { writing } from "./output-error.ts";

/** Who holds a lock. A process number that is used again belongs to a process that began at another time. */
interface Holder {
  readonly host: string;
  readonly pid: number;
  /** In the system's own unit; empty where the system does not tell. */
  readonly began: string;
}

/** Attempts to take a lock that a dead process left, should others try the same. */
const ATTEMPTS_MAX = 5;

/**
 * Locks `file`, which exists, and returns what unlocks it. A lock of a process that is no more does not count.
 * @param use what the holder does, for the message: `a sweep is adding to it`
 * @throws OutputFileError while another process holds it
 */
export function lockFile(file: string, use: string): () => void {
  const lock = `${writing(file, () => realpathSync(file))}.lock`;
  const text = `${JSON.stringify(thisProcess())}\n`;
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    if (writing(lock, () => createWhole(lock, text))) return () => removeOwn(lock, text);
    const held = readHolder(lock);
    if (held === null) continue;
    if (held.holder !== null && isAlive(held.holder)) {
      const { pid, host } = held.holder;
      const where = host === hostname() ? "" : ` on ${host}`;
      const reason = `${use} (process ${pid}${where}); remove ${lock} if that is not so`;
      throw new OutputFileError(file, reason, `${file}: ${reason}`);
    }
    removeStale(lock, held.text);
  }
  const reason = `cannot be locked; remove ${lock} if no other process uses it`;
  throw new OutputFileError(file, reason, `${file}: ${reason}`);
}

/** Whether a process holds the lock on `file`; one on another host counts as alive. */
export function isLocked(file: string): boolean {
  try {
    const held = readHolder(`${realpathSync(file)}.lock`);
    return held?.holder != null && isAlive(held.holder);
  } catch {
    return false;
  }
}

/** Creates the lock with its whole text at once; false when there is one. */
function createWhole(lock: string, text: string): boolean {
  const own = `${lock}.${process.pid}`;
  writeFileSync(own, text);
  try {
    linkSync(own, lock);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    return false;
  } finally {
    rmSync(own, { force: true });
  }
}

/** Takes a lock away that holds `text`; one that somebody else has made meanwhile is put back. */
function removeStale(lock: string, text: string): void {
  const aside = `${lock}.${process.pid}`;
  try {
    renameSync(lock, aside);
    if (readFileSync(aside, "utf8") !== text) linkSync(aside, lock);
  } catch {
    // Somebody else was quicker: the next attempt sees what is there.
  }
  rmSync(aside, { force: true });
}

function removeOwn(lock: string, text: string): void {
  if (readHolder(lock)?.text === text) rmSync(lock, { force: true });
}

/** What a lock says, or null when there is none; the holder is null where the text is none of ours. */
function readHolder(lock: string): { readonly text: string; readonly holder: Holder | null } | null {
  let text: string;
  try {
    text = readFileSync(lock, "utf8");
  } catch {
    return null;
  }
  try {
    const { host, pid, began } = JSON.parse(text) as Partial<Holder>;
    const isHolder = typeof host === "string" && Number.isInteger(pid) && typeof began === "string";
    return { text, holder: isHolder ? { host, pid: Number(pid), began } : null };
  } catch {
    return { text, holder: null };
  }
}

/** Of a process on another host nothing is known: it counts as alive. */
function isAlive(holder: Holder): boolean {
  if (holder.host !== hostname()) return true;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  const began = beginOf(holder.pid);
  return began === "" || began === holder.began;
}

function thisProcess(): Holder {
  return { host: hostname(), pid: process.pid, began: beginOf(process.pid) };
}

/** When a process began: field 22 of Linux's `/proc/PID/stat`. */
function beginOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return "";
  }
}
