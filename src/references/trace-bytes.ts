/** The bytes of a trace: of a file, compressed or not, of standard input, or of all entries of a zip archive, one after another. */
import { closeSync, openSync, readSync } from "node:fs";
import type { Entry, ZipFile } from "yauzl";
import { inputName, type OnRead, readByteChunks } from "../files/byte-chunks.ts";
import { InputFileError } from "../input/errors.ts";

/** A local file header of a zip archive (APPNOTE.TXT, 4.3.7). */
const ZIP_MAGIC = [0x50, 0x4b, 0x03, 0x04];

/**
 * The decompressed bytes of a trace in pieces.
 * @throws InputFileError for an archive that is damaged; otherwise as `readByteChunks`
 */
export async function* readTraceBytes(file: string, onRead?: OnRead): AsyncGenerator<Uint8Array> {
  if (isZip(file)) yield* readZip(file, onRead);
  else yield* readByteChunks(file, onRead);
}

/** The pieces from the first `bytes` bytes on: those, or all if there are fewer, are in the first piece. */
export async function* withHead(chunks: AsyncGenerator<Uint8Array>, bytes: number): AsyncGenerator<Uint8Array> {
  let head: Uint8Array = new Uint8Array(0);
  for await (const chunk of chunks) {
    if (head.length >= bytes) {
      yield chunk;
      continue;
    }
    head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
    if (head.length >= bytes) yield head;
  }
  if (head.length > 0 && head.length < bytes) yield head;
}

/** Whether a regular file is a zip archive; archives are read from their end, so standard input is none. */
function isZip(file: string): boolean {
  if (file === "-") return false;
  let descriptor: number;
  try {
    descriptor = openSync(file, "r");
  } catch {
    // What is wrong with the file is said by whoever reads it.
    return false;
  }
  try {
    const head = new Uint8Array(ZIP_MAGIC.length);
    // From its beginning, which a pipe does not have.
    return (
      readSync(descriptor, head, 0, head.length, 0) === head.length && ZIP_MAGIC.every((byte, i) => head[i] === byte)
    );
  } catch {
    return false;
  } finally {
    closeSync(descriptor);
  }
}

async function* readZip(file: string, onRead: OnRead | undefined): AsyncGenerator<Uint8Array> {
  const { open } = await import("yauzl");
  const damaged = (error: Error) =>
    new InputFileError(inputName(file), 0, `the zip archive is damaged (${error.message})`);
  const zip = await new Promise<ZipFile>((resolve, reject) => {
    open(file, { lazyEntries: true, autoClose: false }, (error, opened) =>
      error ? reject(damaged(error)) : resolve(opened),
    );
  });
  let bytes = 0;
  try {
    for (let entry = await nextEntry(zip); entry !== null; entry = await nextEntry(zip)) {
      const stream = await openEntry(zip, entry);
      for await (const chunk of stream) yield chunk as Uint8Array;
      bytes += entry.compressedSize;
      onRead?.(bytes, new Uint8Array(0));
    }
  } catch (error) {
    // Errors without a code of the system are of the archive.
    const isOfSystem = (error as NodeJS.ErrnoException).code !== undefined || error instanceof InputFileError;
    throw isOfSystem ? error : damaged(error as Error);
  } finally {
    zip.close();
  }
}

function nextEntry(zip: ZipFile): Promise<Entry | null> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      zip.removeAllListeners();
      act();
    };
    zip.once("entry", (entry: Entry) => settle(() => resolve(entry)));
    zip.once("end", () => settle(() => resolve(null)));
    zip.once("error", (error: Error) => settle(() => reject(error)));
    zip.readEntry();
  });
}

function openEntry(zip: ZipFile, entry: Entry): Promise<NodeJS.ReadableStream> {
  return new Promise((resolve, reject) => {
    zip.openReadStream(entry, (error, stream) => (error ? reject(error) : resolve(stream)));
  });
}
