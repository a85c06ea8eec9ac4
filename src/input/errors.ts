/** Mistakes of the person at the command line. */

/** A mistake of the user: shown as one line, without a stack trace; the exit code is 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Exit code: all is well. */
export const EXIT_OK = 0;
/** Exit code: the command ran and found differences. */
export const EXIT_DIFFERENCES = 1;
/** Exit code: the program itself failed. */
export const EXIT_FAILURE = 1;
/** Exit code: the command could not be carried out as given. */
export const EXIT_USAGE = 2;
