/** Where an output really goes: what its path leads to, and whether two paths lead to the same place. */
import { accessSync, constants, fstatSync, readlinkSync, realpathSync, type Stats, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { OutputFileError } from "../input/errors.ts";
import { writing } from "./output-error.ts";

/** How an output is written. */
export type OutputTarget =
  /** A regular file, there already or not: its path with all symbolic links followed, and the mode that it has now. */
  | { readonly kind: "file"; readonly path: string; readonly mode: number | null }
  /** A device, a pipe or a terminal: opened and written as it is. */
  | { readonly kind: "stream"; readonly path: string }
  /** A descriptor that this process has open (`/dev/stdout`, `/dev/fd/3`): written as it is. */
  | { readonly kind: "descriptor"; readonly descriptor: number };

/** As many symbolic links as Linux follows (`MAXSYMLINKS`). */
const SYMBOLIC_LINKS_MAX = 40;

/**
 * What writing to `file` means.
 * @throws OutputFileError for a directory, or a path that leads nowhere
 */
export function outputTarget(file: string): OutputTarget {
  return writing(file, () => {
    const path = finalPath(file);
    const descriptor = ownDescriptor(path);
    if (descriptor !== null) return { kind: "descriptor", descriptor };
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return { kind: "file", path, mode: null };
    if (stat.isDirectory()) throw new OutputFileError(file, "it is a directory");
    return stat.isFile() ? { kind: "file", path, mode: stat.mode & 0o7777 } : { kind: "stream", path };
  });
}

/** A file that a command writes or reads, and the option or argument that names it. */
export interface NamedFile {
  /** `--events`, `the recording`: for messages. */
  readonly what: string;
  readonly file: string | undefined;
}

/**
 * Refuses outputs that cannot be written or that would destroy an input or another output, before there is anything to
 * write: work of minutes is not lost to a misspelt folder.
 * @param outputs what is written; an absent file is skipped
 * @param inputs what the same command reads
 * @throws OutputFileError for the first that is wrong
 */
export function checkOutputs(outputs: readonly NamedFile[], inputs: readonly NamedFile[] = []): void {
  const taken = inputs.flatMap((input) => placesOf(input, "read"));
  for (const output of outputs) {
    if (output.file === undefined) continue;
    checkWritable(output.file);
    for (const place of placesOf(output, "written")) {
      const other = taken.find((each) => each.identity === place.identity);
      if (other !== undefined) {
        const { what, file, use } = other;
        const name = file === output.file ? "" : ` (${file})`;
        const reason = `is the same file as ${what}${name}, which is ${use} as well`;
        throw new OutputFileError(output.file, reason, `${output.what} ${output.file}: ${reason}`);
      }
      taken.push(place);
    }
  }
}

function checkWritable(file: string): void {
  const target = outputTarget(file);
  if (target.kind === "descriptor") return;
  writing(file, () => {
    if (target.kind === "stream") {
      accessSync(target.path, constants.W_OK);
      return;
    }
    const folder = dirname(target.path);
    if (!statSync(folder).isDirectory()) throw new OutputFileError(file, `${folder} is not a directory`);
    accessSync(folder, constants.W_OK);
    if (target.mode !== null) accessSync(target.path, constants.W_OK);
    const { dev, ino } = statSync(target.path, { throwIfNoEntry: false }) ?? {};
    if (ino === undefined) return;
    for (const descriptor of [1, 2]) {
      const open = descriptorStat(descriptor);
      if (open?.dev !== dev || open?.ino !== ino) continue;
      const stream = descriptor === 1 ? "standard output" : "standard error";
      throw new OutputFileError(file, `${stream} goes there (/dev/stdout names it)`);
    }
  });
}

interface Place {
  readonly what: string;
  readonly file: string;
  readonly use: "read" | "written";
  readonly identity: string;
}

/** What identifies a file, however it is called; nothing for devices, which may be written by all. */
function placesOf({ what, file }: NamedFile, use: Place["use"]): Place[] {
  if (file === undefined || file === "-") return [];
  let stat: Stats | undefined;
  let path = resolve(file);
  try {
    stat = statSync(file, { throwIfNoEntry: false });
    path = finalPath(file);
  } catch {
    // Whoever reads or writes it says what is wrong.
  }
  if (stat?.isCharacterDevice() || stat?.isBlockDevice()) return [];
  return [{ what, file, use, identity: stat === undefined ? path : `${stat.dev}:${stat.ino}` }];
}

/** The absolute path without symbolic links; the last part need not exist. Descriptors stay `/proc/PID/fd/N`. */
function finalPath(file: string): string {
  let path = resolve(file);
  for (let links = 0; links < SYMBOLIC_LINKS_MAX; links++) {
    path = join(realpathSync(dirname(path)), basename(path));
    if (ownDescriptor(path) !== null) return path;
    const target = linkTarget(path);
    if (target === null) return path;
    path = resolve(dirname(path), target);
  }
  return realpathSync(path);
}

/** What a symbolic link says, or null for anything else. */
function linkTarget(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EINVAL" || code === "ENOENT") return null;
    throw error;
  }
}

function ownDescriptor(path: string): number | null {
  const match = /^\/proc\/(\d+)(?:\/task\/\d+)?\/fd\/(\d+)$/.exec(path);
  return match !== null && Number(match[1]) === process.pid ? Number(match[2]) : null;
}

function descriptorStat(descriptor: number): Stats | null {
  try {
    return fstatSync(descriptor);
  } catch {
    return null;
  }
}
