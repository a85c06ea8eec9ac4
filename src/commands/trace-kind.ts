/** What a file is that was given as a recording and is none: a trace, for which `mmulab replay` has an option. */

import { isTraceFolder, traceFilesOf } from "../references/drmemtrace-folder.ts";
import type { ReferenceFormat } from "../references/reference-batch.ts";
import { binaryFormatOf } from "../references/reference-source.ts";
import { readTraceBytes, withHead } from "../references/trace-bytes.ts";
import { parseFtraceLine } from "../traces/ftrace-lines.ts";

/** Bytes at the beginning that are looked at: valgrind and the traced program may have written some lines before the first reference. */
const HEAD_BYTES = 65_536;
/** A line of valgrind's lackey: a reference, or its first message. */
const LACKEY_LINE = /^(?:I {2}| [LSM] )[0-9a-f]{1,16},\d{1,5}$|^==\d+== Lackey, /i;

/** What traces are called, by the option that replays them. */
const NAMES: Readonly<Record<ReferenceFormat | "ftrace", string>> = {
  lackey: "text of valgrind's lackey",
  drmemtrace: "a trace of DynamoRIO's drmemtrace",
  champsim: "a trace of ChampSim",
  ftrace: "ftrace text",
};

/**
 * Says of a file that is no recording which trace it is and with which option it is replayed; null where it is none that is known, or cannot be
 * read. It is told by the contents, packed or not.
 */
export async function describeTrace(file: string): Promise<string | null> {
  const kind = await traceKindOf(file);
  return kind === null ? null : `is ${NAMES[kind]}, not a recording: mmulab replay --${kind} ${file}`;
}

async function traceKindOf(file: string): Promise<keyof typeof NAMES | null> {
  // What was read of standard input is gone.
  if (file === "-") return null;
  try {
    if (isTraceFolder(file)) return traceFilesOf(file).length > 0 ? "drmemtrace" : null;
    for await (const head of withHead(readTraceBytes(file), HEAD_BYTES)) return kindOfHead(head);
  } catch {
    // What is wrong with the file has been said.
  }
  return null;
}

function kindOfHead(head: Uint8Array): keyof typeof NAMES | null {
  const format = binaryFormatOf(head);
  if (format !== null) return format;
  const lines = new TextDecoder("latin1").decode(head.subarray(0, HEAD_BYTES)).split(/\r?\n/);
  if (lines.some((line) => LACKEY_LINE.test(line))) return "lackey";
  return lines.some(isFtrace) ? "ftrace" : null;
}

/** Whether a line is an event of ftrace, be it one that a replay has no use for, or says which tracer wrote it. */
function isFtrace(line: string): boolean {
  if (line.startsWith("# tracer: ")) return true;
  const { event, ...rest } = parseFtraceLine(line);
  return event === "skip" ? "otherEvent" in rest : event !== "note";
}
