/** Bytes of gzip files unpacked where there is no Node, and their text. */
import { InputFileError } from "../../input/errors.ts";

/** Bytes of an unpacked file at the most. */
const UNPACKED_BYTES_MAX = 2 ** 28;

/** The bytes themselves, or, if they are those of a gzip file, what is in it. @throws InputFileError when it is damaged or too much */
export async function unpacked(name: string, bytes: Uint8Array): Promise<Uint8Array> {
  return bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzip(name, bytes) : bytes;
}

/** What is in a gzip file. @throws InputFileError when it is damaged or too much */
export async function gunzip(name: string, bytes: Uint8Array): Promise<Uint8Array> {
  const stream = new Blob([bytes.slice()]).stream().pipeThrough(new DecompressionStream("gzip"));
  const pieces: Uint8Array[] = [];
  let length = 0;
  try {
    const reader = stream.getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      pieces.push(next.value);
      length += next.value.length;
      if (length > UNPACKED_BYTES_MAX) break;
    }
    if (length > UNPACKED_BYTES_MAX) await reader.cancel();
  } catch {
    throw new InputFileError(name, 0, "is damaged: its gzip data end too early or are wrong");
  }
  if (length > UNPACKED_BYTES_MAX) {
    throw new InputFileError(name, 0, `has more than ${UNPACKED_BYTES_MAX} bytes when it is unpacked`);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** The lines of a text. @throws InputFileError when it is none */
export function linesOf(name: string, bytes: Uint8Array): string[] {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new InputFileError(name, 0, "is not UTF-8 text");
  }
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}
