/** Files that appear only when they are whole: written beside their place under another name, then renamed. */
import { accessSync, closeSync, constants, openSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { UsageError } from "../input/errors.ts";

const BUFFER_CHARACTERS = 1 << 20;

/** The name under which a file is written until it is whole. */
export function partialName(file: string): string {
  return `${file}.part`;
}

/**
 * Turns what the system says about writing `file` into one line for the user.
 * @returns a UsageError, or the error itself when it does not come from the system
 */
export function toOutputError(file: string, error: unknown): unknown {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  if (code === undefined || error instanceof UsageError) return error;
  const reasons: Readonly<Record<string, string>> = {
    ENOENT: "its folder does not exist",
    EACCES: "permission denied",
    EISDIR: "it is a directory",
    ENOTDIR: "a part of its path is not a directory",
    ENOSPC: "the disk is full",
    EROFS: "the file system is read-only",
  };
  return new UsageError(`cannot write ${file}: ${reasons[code] ?? code}`);
}

/**
 * Refuses files that cannot be written, before there is anything to write: work of minutes is not lost to a misspelt folder.
 * @param files names; absent ones are skipped
 * @throws UsageError for the first that cannot be written
 */
export function checkOutputs(...files: readonly (string | undefined)[]): void {
  for (const file of files) {
    if (file === undefined) continue;
    const folder = dirname(file);
    try {
      if (statSync(file, { throwIfNoEntry: false })?.isDirectory()) {
        throw new UsageError(`cannot write ${file}: it is a directory`);
      }
      if (!statSync(folder).isDirectory()) throw new UsageError(`cannot write ${file}: ${folder} is not a directory`);
      accessSync(folder, constants.W_OK);
    } catch (error) {
      throw toOutputError(file, error);
    }
  }
}

/** A text file that is being written. */
export class OutputFile {
  readonly file: string;
  private readonly descriptor: number;
  private pending: string[] = [];
  private pendingCharacters = 0;

  /** @throws UsageError when it cannot be created */
  constructor(file: string) {
    this.file = file;
    try {
      this.descriptor = openSync(partialName(file), "w");
    } catch (error) {
      throw toOutputError(file, error);
    }
  }

  /** Adds text. */
  write(text: string): void {
    this.pending.push(text);
    this.pendingCharacters += text.length;
    if (this.pendingCharacters >= BUFFER_CHARACTERS) this.flush();
  }

  /** Puts the whole file in its place. */
  finish(): void {
    this.flush();
    try {
      closeSync(this.descriptor);
      renameSync(partialName(this.file), this.file);
    } catch (error) {
      throw toOutputError(this.file, error);
    }
  }

  /** Leaves nothing behind. */
  abandon(): void {
    closeSync(this.descriptor);
    rmSync(partialName(this.file), { force: true });
  }

  private flush(): void {
    if (this.pending.length === 0) return;
    const bytes = Buffer.from(this.pending.join(""));
    this.pending = [];
    this.pendingCharacters = 0;
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.descriptor, bytes, at);
    } catch (error) {
      throw toOutputError(this.file, error);
    }
  }
}
