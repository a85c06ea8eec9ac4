/** Writing to descriptors: everything, in order, before the call returns. */
import { writeSync } from "node:fs";

/** Milliseconds until a pipe that takes nothing more is tried again. */
const RETRY_MS = 1;

const never = new Int32Array(new SharedArrayBuffer(4));

/** Writes all of `bytes`; waits where a pipe is full. @throws what the system says, where it says no */
export function writeAll(descriptor: number, bytes: Uint8Array): void {
  let at = 0;
  while (at < bytes.length) {
    try {
      at += writeSync(descriptor, bytes, at);
    } catch (error) {
      // Somebody else has set the pipe to non-blocking.
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      Atomics.wait(never, 0, 0, RETRY_MS);
    }
  }
}
