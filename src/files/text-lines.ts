/** Lines of a text file, gzip or plain, streamed: memory stays constant for any length. */
import { InputFileError } from "../input/errors.ts";
import { inputName, type OnRead, readByteChunks, toInputError } from "./byte-chunks.ts";

/** Consecutive lines without their newlines; `firstLine` counts from 1. */
export interface LineBatch {
  readonly firstLine: number;
  readonly lines: readonly string[];
}

/** The longest line that is read, in characters; the longest of a real recording has 0.1 million. */
const LINE_CHARACTERS_MAX = 2 ** 25;

/**
 * The lines of `file` (`-`: standard input) in batches. A last line without a newline counts; an empty rest after the last
 * newline does not.
 * @param onRead told how many bytes of the file have been read so far, and the last of them as they lie in the file
 * @throws InputFileError when the file cannot be read, its gzip data is damaged or cut short, it is not UTF-8 text, or a line
 *   is longer than any that it can mean
 */
export async function* readLineBatches(file: string, onRead?: OnRead): AsyncGenerator<LineBatch> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let firstLine = 1;
  const rest = new OpenLine();
  try {
    for await (const chunk of readByteChunks(file, onRead)) {
      const lines = decoder.decode(chunk, { stream: true }).split("\n");
      const open = lines.pop() ?? "";
      if (lines.length > 0) {
        lines[0] = rest.take(lines[0]);
        yield { firstLine, lines };
        firstLine += lines.length;
      }
      rest.add(open);
      if (rest.characters <= LINE_CHARACTERS_MAX) continue;
      const problem = `is longer than ${LINE_CHARACTERS_MAX} characters, the most that a line may have`;
      throw new InputFileError(inputName(file), firstLine, problem);
    }
    rest.add(decoder.decode());
  } catch (error) {
    throw toInputError(file, firstLine, error);
  }
  const last = rest.take("");
  if (last !== "") yield { firstLine, lines: [last] };
}

/** The beginning of a line whose end has not come yet; each piece is kept once, so that a long line costs linear time. */
class OpenLine {
  characters = 0;
  private pieces: string[] = [];

  add(piece: string): void {
    if (piece === "") return;
    this.pieces.push(piece);
    this.characters += piece.length;
  }

  /** The whole line, which ends with `end`; the next one begins. */
  take(end: string): string {
    if (this.pieces.length === 0) return end;
    this.pieces.push(end);
    const line = this.pieces.join("");
    this.pieces = [];
    this.characters = 0;
    return line;
  }
}
