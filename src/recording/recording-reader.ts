/** Recordings of a real kernel's vmalloc, read from files. */
import { readLineBatches } from "../files/text-lines.ts";
import { type ConcurrentItem, type RecordingItem, RecordingParser } from "./recording-parser.ts";

/**
 * Reads a recording, gzip or plain.
 * @throws InputFileError when `file` cannot be read or is not a recording of version 1, at the line that shows it; when CPUs ran at
 *   the same time in it
 */
export async function* readRecording(file: string): AsyncGenerator<RecordingItem> {
  for await (const item of readItems(file, false)) if (item.kind !== "running") yield item;
}

/**
 * Reads a recording in which CPUs may have run at the same time: events of any CPU stand anywhere.
 * @throws InputFileError when `file` cannot be read or is not a recording of version 1, at the line that shows it
 */
export function readConcurrentRecording(file: string): AsyncGenerator<ConcurrentItem> {
  return readItems(file, true);
}

async function* readItems(file: string, isConcurrent: boolean): AsyncGenerator<ConcurrentItem> {
  const parser = new RecordingParser(file, isConcurrent);
  for await (const batch of readLineBatches(file)) {
    for (let i = 0; i < batch.lines.length; i++) {
      const item = parser.feed(batch.lines[i], batch.firstLine + i);
      if (item !== null) yield item;
    }
  }
  yield parser.finish();
}
