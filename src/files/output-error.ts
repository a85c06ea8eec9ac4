/** What the system says about writing, in words for the user. */
import { MmulabError } from "../../arch/isa/errors.ts";
import { OutputFileError } from "../input/errors.ts";

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "its folder does not exist",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EISDIR: "it is a directory",
  EEXIST: "it is there already, and no directory",
  ENOTDIR: "a part of its path is not a directory",
  ELOOP: "its symbolic links lead in a circle",
  ENAMETOOLONG: "its name is too long",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EFBIG: "it would be larger than files may be",
  EROFS: "the file system is read-only",
  EBUSY: "it is a mount point and cannot be replaced",
  EPIPE: "nobody reads it any more",
  ENXIO: "it is a socket, or a device that is not there",
  EIO: "the device reports an error",
};

/**
 * Turns what the system says about writing `file` into one line for the user.
 * @returns an OutputFileError, or the error itself when it does not come from the system
 */
export function toOutputError(file: string, error: unknown): unknown {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  if (code === undefined || error instanceof MmulabError) return error;
  return new OutputFileError(file, REASONS[code] ?? code);
}

/** Runs `action`, which writes `file`. @throws OutputFileError where the system refuses */
export function writing<T>(file: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw toOutputError(file, error);
  }
}
