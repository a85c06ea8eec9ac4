/**
 * A kernel's whole state in a file (docs/saved-states.md): one line of JSON that says what it is, of which version and of which
 * configuration; the gzip'ed state; and a checksum of both.
 */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { gunzipSync, gzipSync } from "node:zlib";
import { z } from "zod";
import { parsePreset, StateError } from "../../arch/index.ts";
import { MmulabError } from "../../arch/isa/errors.ts";
import { FLUSH_POLICIES, flushPolicyByName } from "../../mm/index.ts";
import { toInputError } from "../files/byte-chunks.ts";
import { writeOutputFile } from "../files/output-file.ts";
import { readSmallFile } from "../files/whole-file.ts";
import { InputFileError } from "../input/errors.ts";
import { bootKernel, type Kernel } from "../machine/kernel.ts";
import { decodeData, encodeData } from "./container.ts";
import { captureKernel, type KernelState, restoreKernel } from "./kernel-state.ts";
import { withOrigins } from "./older-preset.ts";
import { CONFIG_SCHEMA, STATE_SCHEMA } from "./schema.ts";

/** Version of the format. A file of another version is refused. */
export const STATE_VERSION = 4;
const FORMAT = "mmulab state";
/** How every file begins, of whatever version. */
const BEGINNING = `{"format":"${FORMAT}","version":`;
const NEWLINE = 0x0a;
const HEADER_BYTES_MAX = 1 << 20;
/** The largest file that is read: a machine of 512 CPUs has less than a megabyte. */
const FILE_BYTES_MAX = 2 ** 28;
/** The largest state without its packing, so that a small file cannot stand for any number of bytes. */
const STATE_BYTES_MAX = 2 ** 29;
/** How every refusal to save begins. */
const REFUSED = "the state cannot be saved";
/** SHA-256 of all that comes before it. */
const CHECKSUM_BYTES = 32;

const HEADER = z.strictObject({
  format: z.literal(FORMAT),
  version: z.literal(STATE_VERSION),
  madeBy: z.string(),
  config: CONFIG_SCHEMA,
  /** Bytes of the gzip'ed state. */
  bodyBytes: z.number().int().nonnegative(),
});
type Header = z.infer<typeof HEADER>;

/**
 * Writes the state of an idle kernel; observers of its events are left out.
 * @param madeBy a few words on what brought it there
 * @throws StateError when something of it cannot be saved, OutputFileError when the file cannot be written
 */
export function saveKernel(kernel: Kernel, file: string, madeBy: string): void {
  const bugs = kernel.config.bugs ?? [];
  if (bugs.length > 0)
    throw new StateError(REFUSED, `the kernel has former bugs of Linux switched on (${bugs.join(", ")})`);
  const state = encodeData(captured(kernel));
  const body = gzipSync(state, { level: 1 });
  if (state.length > STATE_BYTES_MAX || body.length > FILE_BYTES_MAX - HEADER_BYTES_MAX - CHECKSUM_BYTES) {
    throw new StateError(REFUSED, `${state.length} bytes, ${body.length} when packed, are more than are read again`);
  }
  const fields = { format: FORMAT, version: STATE_VERSION, madeBy, config: configOf(kernel), bodyBytes: body.length };
  const header = Buffer.from(`${JSON.stringify(fields)}\n`);
  const checksum = createHash("sha256").update(header).update(body).digest();
  writeOutputFile(file, header, body, checksum);
}

function captured(kernel: Kernel): KernelState {
  try {
    return captureKernel(kernel);
  } catch (error) {
    if (error instanceof StateError) throw new StateError(REFUSED, error.message);
    throw error;
  }
}

/** A kernel out of a file, and the words that were saved with it. */
export interface LoadedKernel {
  readonly kernel: Kernel;
  readonly madeBy: string;
}

/**
 * Boots a kernel with the saved configuration and brings it into the saved state.
 * @throws InputFileError when the file cannot be read, is damaged, or does not fit this program
 */
export function loadKernel(file: string): LoadedKernel {
  const bytes = readState(file);
  const { header, body } = splitState(file, bytes);
  const parsed = STATE_SCHEMA.safeParse(unpacked(file, body));
  if (!parsed.success) throw unfitting(file, parsed.error);
  const { madeBy, config } = header;
  try {
    const { preset, flushPolicy, ...rest } = config;
    const kernel = bootKernel({
      ...rest,
      preset: parsePreset(withOrigins(preset)),
      flushPolicy: flushPolicyByName(flushPolicy),
    });
    restoreKernel(kernel, parsed.data);
    return { kernel, madeBy };
  } catch (error) {
    if (!(error instanceof MmulabError)) throw error;
    throw new InputFileError(file, 0, `cannot be loaded: ${error.message}`);
  }
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
  const beginning = Buffer.alloc(BEGINNING.length);
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
  return beginning.toString() === BEGINNING;
}

/** All of the configuration, defaults included. */
function configOf({ config, machine, mm, vm }: Kernel) {
  const { policy, ceilingPages, isolation } = mm.flushing;

  if (!FLUSH_POLICIES.includes(policy)) {
    const known = FLUSH_POLICIES.map(({ name }) => name).join(", ");
    throw new StateError(REFUSED, `flush policy "${policy.name}": is none of ${known}`);
  }
  return {
    cpus: config.cpus,
    memoryBytes: config.memoryBytes,
    preset: machine.preset,
    features: { ...machine.features },
    topology: machine.loop.topology.config,
    numaNodes: config.numaNodes,
    kernel: mm.version.name,
    flushPolicy: policy.name,
    isolatedCpus: [...(config.isolatedCpus ?? [])],
    pageTableIsolation: isolation,
    flushCeilingPages: ceilingPages,
    ...(mm.flushing.flushFreedTables ? { flushFreedTables: true } : {}),
    ...(mm.lockdep === null ? {} : { proveLocking: true }),
    costs: config.costs,
    vmalloc: vm.config,
  };
}

function readState(file: string): Buffer {
  try {
    return readSmallFile(file, FILE_BYTES_MAX);
  } catch (error) {
    throw toInputError(file, 0, error);
  }
}

function splitState(file: string, bytes: Buffer): { header: Header; body: Buffer } {
  if (bytes.length === 0) throw new InputFileError(file, 0, "is empty");
  const notState = new InputFileError(file, 0, "is not a state that mmulab saved");
  if (bytes.subarray(0, BEGINNING.length).toString() !== BEGINNING) throw notState;
  const end = bytes.subarray(0, HEADER_BYTES_MAX).indexOf(NEWLINE);
  const [version] = /^\d+/.exec(bytes.subarray(BEGINNING.length, BEGINNING.length + 9).toString()) ?? [];
  if (version !== undefined && Number(version) !== STATE_VERSION) {
    const readable = `this program reads version ${STATE_VERSION}`;
    throw new InputFileError(file, 0, `is a state of version ${version}; ${readable}`);
  }
  const bodyBytes = bodyBytesOf(bytes.subarray(0, end + 1).toString());
  const whole = end + 1 + (bodyBytes ?? 0) + CHECKSUM_BYTES;
  if (end < 0 || (bodyBytes !== null && bytes.length < whole)) {
    throw new InputFileError(file, 0, `has ${bytes.length} bytes${end < 0 ? "" : `, not ${whole}`}: it was cut short`);
  }
  const content = bytes.subarray(0, -CHECKSUM_BYTES);
  const checksum = createHash("sha256").update(content).digest();
  if (bodyBytes === null || !checksum.equals(bytes.subarray(-CHECKSUM_BYTES))) {
    throw new InputFileError(file, 0, "is damaged: its checksum does not fit");
  }
  const header = HEADER.safeParse(parsedHeader(file, bytes.subarray(0, end).toString()));
  if (!header.success) throw unfitting(file, header.error);
  return { header: header.data, body: content.subarray(end + 1) };
}

function parsedHeader(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputFileError(file, 1, `is not valid JSON: ${(error as SyntaxError).message}`);
  }
}

/** The length of the state that a header announces; null when it is damaged. */
function bodyBytesOf(header: string): number | null {
  const match = /"bodyBytes":(\d{1,15})\}\n$/.exec(header);
  return match === null ? null : Number(match[1]);
}

/** What was written with a right checksum, but not by this version of the program. */
function unfitting(file: string, error: z.ZodError): InputFileError {
  const [issue] = error.issues;
  const where = issue.path.length === 0 ? "" : ` at ${issue.path.join(".")}`;
  return new InputFileError(file, 0, `does not fit version ${STATE_VERSION} of the format${where}: ${issue.message}`);
}
