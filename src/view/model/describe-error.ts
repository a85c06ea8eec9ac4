/** What went wrong, in one line for the page. */
import { MmulabError } from "../../../arch/index.ts";

/** The message of an error that is for people; of any other, that it is a bug. */
export function describeError(error: unknown): string {
  if (error instanceof MmulabError) return error.message;
  return `the emulator failed (a bug): ${error instanceof Error ? error.message : String(error)}`;
}
