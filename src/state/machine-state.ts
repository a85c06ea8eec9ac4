/**
 * A kernel's whole state in a file: one line of JSON (what it is, of which version, of which configuration, with a checksum),
 * then the gzip'ed object graph.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { deserialize, serialize } from "node:v8";
import { gunzipSync, gzipSync } from "node:zlib";
import { z } from "zod";
import { Thread } from "../../arch/index.ts";
import { LineCache } from "../../arch/tlb/walk-caches.ts";
import { FlushAccounts, flushPolicyByName, Mutex, SpinLock, Work } from "../../mm/index.ts";
import { toInputError } from "../files/byte-chunks.ts";
import { writeOutputFile } from "../files/output-file.ts";
import { InputFileError } from "../input/errors.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../machine/kernel.ts";
import { restoreGraph, type SavedNode, StateError, saveGraph } from "./object-graph.ts";

/** Version of the format. A file of another version is refused. */
const VERSION = 1;
const FORMAT = "mmulab state";
const NEWLINE = 0x0a;
const HEADER_BYTES_MAX = 1 << 20;
/** Classes of which a running kernel may hold objects although a booted one holds none. */
const LATE_CLASSES = [Thread, LineCache, SpinLock, Mutex, Work, FlushAccounts];

const HEADER = z.object({
  format: z.literal(FORMAT),
  version: z.number(),
  madeBy: z.string(),
  config: z.looseObject({ cpus: z.number(), memoryBytes: z.number(), flushPolicy: z.string().nullable() }),
  sha256: z.string(),
  sizeBytes: z.number(),
});

/**
 * Writes the state of an idle kernel; observers of its events are left out.
 * @param madeBy a few words on what brought it there
 * @throws StateError while a thread is under way, OutputFileError when the file cannot be written
 */
export function saveKernel(kernel: Kernel, file: string, madeBy: string): void {
  const observer = kernel.vm.events;
  kernel.vm.events = null;
  let nodes: SavedNode[];
  try {
    nodes = saveGraph(kernel);
  } finally {
    kernel.vm.events = observer;
  }
  const waiting = unfinishedThreads(nodes);
  if (waiting.length > 0) throw new StateError(`the machine is not idle: ${waiting.join(", ")} would be lost`);
  const body = gzipSync(serialize(nodes), { level: 1 });
  const { config } = kernel;
  const header = {
    format: FORMAT,
    version: VERSION,
    madeBy,
    config: { ...config, preset: kernel.machine.preset, flushPolicy: config.flushPolicy?.name ?? null },
    sha256: createHash("sha256").update(body).digest("hex"),
    sizeBytes: body.length,
  };
  writeOutputFile(file, `${JSON.stringify(header)}\n`, body);
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
  if (body.length !== header.sizeBytes) {
    throw new InputFileError(file, 0, `has ${body.length} bytes of state, not ${header.sizeBytes}: it was cut short`);
  }
  if (createHash("sha256").update(body).digest("hex") !== header.sha256) {
    throw new InputFileError(file, 0, "is damaged: its checksum does not fit");
  }
  const nodes = deserialize(gunzipSync(body)) as SavedNode[];
  const { flushPolicy, ...rest } = header.config;
  try {
    const policy = flushPolicy === null ? undefined : flushPolicyByName(flushPolicy);
    const kernel = bootKernel({ ...(rest as Partial<KernelConfig>), flushPolicy: policy });
    restoreGraph(kernel, nodes, LATE_CLASSES);
    return { kernel, madeBy: header.madeBy };
  } catch (error) {
    if (error instanceof StateError) throw new InputFileError(file, 0, `cannot be loaded: ${error.message}`);
    throw error;
  }
}

/** Whether a file begins as a saved state does. */
export function isStateFile(file: string): boolean {
  try {
    return readFileSync(file)
      .subarray(0, FORMAT.length + 12)
      .includes(`"${FORMAT}"`);
  } catch {
    return false;
  }
}

function readState(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw toInputError(file, 0, error);
  }
}

function splitState(file: string, bytes: Buffer): { header: z.infer<typeof HEADER>; body: Buffer } {
  if (bytes.length === 0) throw new InputFileError(file, 0, "is empty");
  const end = bytes.subarray(0, HEADER_BYTES_MAX).indexOf(NEWLINE);
  const notState = new InputFileError(file, 0, "is not a state that mmulab saved");
  if (end < 0) throw notState;
  let json: unknown;
  try {
    json = JSON.parse(bytes.subarray(0, end).toString());
  } catch {
    throw notState;
  }
  const version = (json as { version?: unknown } | null)?.version;
  const header = HEADER.safeParse(json);
  if (!header.success) throw notState;
  if (version !== VERSION) {
    throw new InputFileError(
      file,
      0,
      `is a state of version ${String(version)}; this program reads version ${VERSION}`,
    );
  }
  return { header: header.data, body: bytes.subarray(end + 1) };
}

/** Names of threads that have begun and not ended; the one that synchronous calls run as is always there. */
function unfinishedThreads(nodes: readonly SavedNode[]): string[] {
  const names: string[] = [];
  for (const node of nodes) {
    if (node.kind !== "object" || node.type !== "Thread") continue;
    const field = (name: string): unknown => node.values[node.names.indexOf(name)];
    if (field("done") === false && field("name") !== "sync") names.push(String(field("name")));
  }
  return names;
}
