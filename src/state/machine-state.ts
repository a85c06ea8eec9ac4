/**
 * A kernel's whole state in a file (docs/saved-states.md): one line of JSON that says what it is, of which version and of which
 * configuration; the gzip'ed state; and a checksum of both.
 */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { gunzipSync, gzipSync } from "node:zlib";
import { StateError } from "../../arch/index.ts";
import { toInputError } from "../files/byte-chunks.ts";
import { writeOutputFile } from "../files/output-file.ts";
import { readSmallFile } from "../files/whole-file.ts";
import { InputFileError } from "../input/errors.ts";
import type { Kernel } from "../machine/kernel.ts";
import { madeBy as madeByCommand } from "../provenance/made-by.ts";
import { decodeData } from "./container.ts";
import { REFUSED, stateHeader, stateOf } from "./saved-parts.ts";
import {
  kernelOfState,
  type LoadedKernel,
  READABLE_VERSIONS,
  readStateHeader,
  STATE_BEGINNING,
  STATE_BYTES_MAX,
  STATE_CHECKSUM_BYTES,
  type StateHeader,
} from "./state-kernel.ts";

const NEWLINE = 0x0a;
const HEADER_BYTES_MAX = 1 << 20;
/** The largest file that is read: a machine of 512 CPUs has less than a megabyte. */
const FILE_BYTES_MAX = 2 ** 28;
/**
 * Writes the state of an idle kernel; observers of its events are left out.
 * @param madeBy a few words on what brought it there
 * @throws StateError when something of it cannot be saved, OutputFileError when the file cannot be written
 */
export function saveKernel(kernel: Kernel, file: string, madeBy: string): void {
  const state = stateOf(kernel);
  const body = gzipSync(state, { level: 1 });
  if (body.length > FILE_BYTES_MAX - HEADER_BYTES_MAX - STATE_CHECKSUM_BYTES) {
    throw new StateError(REFUSED, `${state.length} bytes, ${body.length} when packed, are more than are read again`);
  }
  const command = madeByCommand();
  const header = Buffer.from(stateHeader(kernel, madeBy, body.length, command === null ? {} : { command }));
  const checksum = createHash("sha256").update(header).update(body).digest();
  writeOutputFile(file, header, body, checksum);
}

/**
 * Boots a kernel with the saved configuration and brings it into the saved state.
 * @throws InputFileError when the file cannot be read, is damaged, or does not fit this program
 */
export function loadKernel(file: string): LoadedKernel {
  const bytes = readState(file);
  const { header, body } = splitState(file, bytes);
  return kernelOfState(file, header, unpacked(file, body));
}

/** The data of a body whose checksum is right. @throws InputFileError for what this program does not write */
function unpacked(file: string, body: Buffer): unknown {
  try {
    return decodeData(gunzipSync(body, { maxOutputLength: STATE_BYTES_MAX }));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const isTooLarge = code === "ERR_BUFFER_TOO_LARGE";
    const problem = isTooLarge
      ? `its state has more than ${STATE_BYTES_MAX} bytes`
      : `its state has no right form (${message})`;
    throw new InputFileError(file, 0, problem);
  }
}

/** Whether a file begins as a saved state of any version does. */
export function isStateFile(file: string): boolean {
  const beginning = Buffer.alloc(STATE_BEGINNING.length);
  try {
    const descriptor = openSync(file, "r");
    try {
      readSync(descriptor, beginning, 0, beginning.length, 0);
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return false;
  }
  return beginning.toString() === STATE_BEGINNING;
}

function readState(file: string): Buffer {
  try {
    return readSmallFile(file, FILE_BYTES_MAX);
  } catch (error) {
    throw toInputError(file, 0, error);
  }
}

function splitState(file: string, bytes: Buffer): { header: StateHeader; body: Buffer } {
  if (bytes.length === 0) throw new InputFileError(file, 0, "is empty");
  const notState = new InputFileError(file, 0, "is not a state that mmulab saved");
  if (bytes.subarray(0, STATE_BEGINNING.length).toString() !== STATE_BEGINNING) throw notState;
  const end = bytes.subarray(0, HEADER_BYTES_MAX).indexOf(NEWLINE);
  const [version] = /^\d+/.exec(bytes.subarray(STATE_BEGINNING.length, STATE_BEGINNING.length + 9).toString()) ?? [];
  if (version !== undefined && !READABLE_VERSIONS.includes(Number(version))) {
    const readable = `this program reads versions ${READABLE_VERSIONS.join(", ")}`;
    throw new InputFileError(file, 0, `is a state of version ${version}; ${readable}`);
  }
  const bodyBytes = bodyBytesOf(bytes.subarray(0, end + 1).toString());
  const whole = end + 1 + (bodyBytes ?? 0) + STATE_CHECKSUM_BYTES;
  if (end < 0 || (bodyBytes !== null && bytes.length < whole)) {
    throw new InputFileError(file, 0, `has ${bytes.length} bytes${end < 0 ? "" : `, not ${whole}`}: it was cut short`);
  }
  const content = bytes.subarray(0, -STATE_CHECKSUM_BYTES);
  const checksum = createHash("sha256").update(content).digest();
  if (bodyBytes === null || !checksum.equals(bytes.subarray(-STATE_CHECKSUM_BYTES))) {
    throw new InputFileError(file, 0, "is damaged: its checksum does not fit");
  }
  return { header: readStateHeader(file, bytes.subarray(0, end).toString()), body: content.subarray(end + 1) };
}

/** The length of the state that a header announces; null when it is damaged. */
function bodyBytesOf(header: string): number | null {
  const match = /"bodyBytes":(\d{1,15})\}\n$/.exec(header);
  return match === null ? null : Number(match[1]);
}
