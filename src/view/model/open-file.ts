/** A file that somebody opens or drops on the page: what it is shows in its first bytes. */
import { InputFileError } from "../../input/errors.ts";
import { decodeData } from "../../state/container.ts";
import { kernelOfState, readStateHeader, STATE_BEGINNING, STATE_CHECKSUM_BYTES } from "../../state/state-kernel.ts";
import type { Begun } from "./begin.ts";
import { openRecording } from "./recording-file.ts";
import { hasFtraceEvents, hasReferences, openFtrace, openLackey } from "./trace-files.ts";
import { gunzip, linesOf, unpacked } from "./unpack.ts";

const NEWLINE = 0x0a;
/** As much of a trace as is looked at to see what it is. */
const GLANCE_BYTES = 2 ** 20;

/**
 * Reads a file, gzip or plain: a recording, a saved state, ftrace text with events of vmalloc, or a trace of lackey.
 * @returns what begins its run
 * @throws InputFileError for anything else, and for mistakes in it, at their line
 */
export async function openFile(name: string, given: Uint8Array): Promise<() => Begun> {
  const bytes = await unpacked(name, given);
  if (bytes.length === 0) throw new InputFileError(name, 0, "is empty");
  const beginning = new TextDecoder().decode(bytes.subarray(0, STATE_BEGINNING.length));
  if (beginning === STATE_BEGINNING) return openState(name, bytes);
  if (bytes[0] === "{".charCodeAt(0)) return openRecording(name, linesOf(name, bytes));
  const glance = bytes.subarray(0, GLANCE_BYTES);
  if (hasReferences(glance)) return openLackey(name, bytes);
  if (hasFtraceEvents(new TextDecoder().decode(glance).split("\n"))) return openFtrace(name, linesOf(name, bytes));
  const known = "a recording, a saved state, ftrace text with events of vmalloc, a trace of valgrind's lackey";
  throw new InputFileError(name, 0, `is none of these: ${known}`);
}

/** A saved state: a machine as it was, with no steps. Its checksum is looked at where the page may compute one. */
async function openState(name: string, bytes: Uint8Array): Promise<() => Begun> {
  const end = bytes.indexOf(NEWLINE);
  if (end < 0) throw new InputFileError(name, 0, `has ${bytes.length} bytes: it was cut short`);
  const header = readStateHeader(name, new TextDecoder().decode(bytes.subarray(0, end)));
  const whole = end + 1 + header.bodyBytes + STATE_CHECKSUM_BYTES;
  if (bytes.length < whole)
    throw new InputFileError(name, 0, `has ${bytes.length} bytes, not ${whole}: it was cut short`);
  const content = bytes.slice(0, end + 1 + header.bodyBytes);
  if (crypto.subtle !== undefined) {
    const checksum = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
    const saved = bytes.subarray(content.length, whole);
    if (checksum.some((byte, i) => byte !== saved[i])) {
      throw new InputFileError(name, 0, "is damaged: its checksum does not fit");
    }
  }
  const body = await gunzip(name, content.subarray(end + 1));
  const told = { title: name, text: `A saved state: ${header.madeBy}.`, found: "", lines: [], look: {} };
  return () => {
    const { kernel } = kernelOfState(name, header, decodeData(body));
    return { kernel, length: 0, step: () => false, told: () => told };
  };
}
