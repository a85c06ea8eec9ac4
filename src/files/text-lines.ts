/** Lines of a text file, gzip or plain, streamed: memory stays constant for any length. */
import { readByteChunks, toInputError } from "./byte-chunks.ts";

/** Consecutive lines without their newlines; `firstLine` counts from 1. */
export interface LineBatch {
  readonly firstLine: number;
  readonly lines: readonly string[];
}

/**
 * The lines of `file` (`-`: standard input) in batches. A last line without a newline counts; an empty rest after the last
 * newline does not.
 * @param onRead told how many bytes of the file have been read so far
 * @throws RecordingError when the file cannot be read, its gzip data is damaged or cut short, or it is not UTF-8 text
 */
export async function* readLineBatches(file: string, onRead?: (bytes: number) => void): AsyncGenerator<LineBatch> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let firstLine = 1;
  let rest = "";
  try {
    for await (const chunk of readByteChunks(file, onRead)) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      if (lines.length === 0) continue;
      yield { firstLine, lines };
      firstLine += lines.length;
    }
    rest += decoder.decode();
  } catch (error) {
    throw toInputError(file, firstLine, error);
  }
  if (rest !== "") yield { firstLine, lines: [rest] };
}
