/** Reading a whole file that is small by its nature. */
import { closeSync, openSync, readSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { InputFileError } from "../input/errors.ts";
import { toInputError } from "./byte-chunks.ts";
import { packingOf } from "./unpack.ts";

const READ_BYTES = 1 << 16;

/**
 * The text of `file`, which may be a pipe.
 * @param bytesMax nothing that is larger is read to its end, as a device has none
 * @throws InputFileError when it cannot be read, is larger or is not UTF-8 text
 */
export function readSmallText(file: string, bytesMax: number): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(readSmallFile(file, bytesMax));
  } catch (error) {
    throw toInputError(file, 1, error);
  }
}

/**
 * The lines of `file`, plain or gzip, without their ends.
 * @param bytesMax nothing that is larger, packed or not, is read to its end
 * @throws InputFileError when it cannot be read, is damaged, larger or not UTF-8 text
 */
export function readWholeLines(file: string, bytesMax: number): string[] {
  try {
    const bytes = readSmallFile(file, bytesMax);
    const text = packingOf(bytes) === "gzip" ? gunzipSync(bytes, { maxOutputLength: bytesMax }) : bytes;
    return new TextDecoder("utf-8", { fatal: true }).decode(text).split(/\r?\n/);
  } catch (error) {
    throw toInputError(file, 1, error);
  }
}

/**
 * The bytes of `file`, which may be a pipe.
 * @param bytesMax nothing that is larger is read to its end, as a device has none
 * @throws InputFileError when it is larger; otherwise what the system says, for `toInputError`
 */
export function readSmallFile(file: string, bytesMax: number): Buffer {
  const descriptor = openSync(file, "r");
  try {
    const pieces: Buffer[] = [];
    for (let size = 0; ; ) {
      const piece = Buffer.alloc(READ_BYTES);
      const got = readSync(descriptor, piece);
      if (got === 0) return Buffer.concat(pieces);
      size += got;
      if (size > bytesMax) throw new InputFileError(file, 0, `has more than ${bytesMax} bytes, the most that is read`);
      pieces.push(piece.subarray(0, got));
    }
  } finally {
    closeSync(descriptor);
  }
}
