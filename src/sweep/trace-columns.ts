/** Sweeps of a trace: which columns their grids may have, and what of the trace is part of what identifies a sweep. */
import { createHash } from "node:crypto";
import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";
import { ValueError } from "../input/errors.ts";
import { wholeNumber } from "../input/values.ts";
import { parsePageRules } from "../references/page-rules.ts";
import { traceFilePaths } from "../references/reference-source.ts";
import { parseWarmup, REFERENCES_MAX } from "../references/warmup.ts";
import { parseCpus, parseMemorySize } from "../settings/machine-limits.ts";
import { GUEST_SETTING_NAMES } from "../settings/setting-names.ts";
import { presetNamed, unknownColumn } from "./figure-columns.ts";
import { SETTING_COLUMNS, settingsOf } from "./setting-columns.ts";
import type { GridValue, SubjectKind } from "./spec-text.ts";

/** Traces that a sweep may replay: memory references, or vmalloc's events of ftrace. */
export type TraceKind = "references" | "ftrace";

const READ_BYTES = 1 << 20;

/** How a value of a column is checked that is no setting of the machine. @throws ValueError, UnknownNameError */
type Check = (text: string) => unknown;
const BOTH: Readonly<Record<string, Check>> = { cpus: parseCpus, memory: parseMemorySize, preset: presetNamed };
const COLUMNS: Readonly<Record<TraceKind, Readonly<Record<string, Check>>>> = {
  ftrace: BOTH,
  references: {
    ...BOTH,
    pages: parsePageRules,
    skip: wholeNumber(0, REFERENCES_MAX),
    warmup: parseWarmup,
    limit: wholeNumber(1, REFERENCES_MAX),
    window: wholeNumber(1, REFERENCES_MAX),
    independent: readBoolean,
    structures: readBoolean,
  },
};

/** Whether a sweep replays a trace. */
export function isTraceKind(kind: SubjectKind): kind is TraceKind {
  return kind === "references" || kind === "ftrace";
}

/** Columns that are settings of the machine: for references those of guests, since nothing else of a kernel runs. */
function settingColumns(kind: TraceKind): string[] {
  const guests: readonly string[] = GUEST_SETTING_NAMES;
  return Object.keys(SETTING_COLUMNS).filter((column) => kind === "ftrace" || guests.includes(SETTING_COLUMNS[column]));
}

/** Checks a value of a column. @throws UnknownNameError for a column that there is not, ValueError and others for the value */
export function checkTraceColumn(kind: TraceKind, column: string, value: GridValue): void {
  const settings = settingColumns(kind);
  if (settings.includes(column)) settingsOf({ [column]: value });
  else if (Object.hasOwn(COLUMNS[kind], column)) COLUMNS[kind][column](String(value));
  else throw unknownColumn(`a replay of ${kind}`, column, [...Object.keys(COLUMNS[kind]), ...settings]);
}

/** What a trace has to be so that it can be replayed again and again, in words; null if it is. */
export function traceProblem(kind: TraceKind, file: string): string | null {
  if (!existsSync(file)) return "a file that there is";
  const found = statSync(file);
  if (found.isFile() || (kind === "references" && found.isDirectory())) return null;
  return kind === "references" ? "a file, or a folder of drmemtrace" : "a file";
}

/** A digest of what the trace holds. @throws InputFileError for a folder without traces */
export function traceContents(kind: TraceKind, file: string): string {
  const hash = createHash("sha256");
  const buffer = new Uint8Array(READ_BYTES);
  for (const path of kind === "references" ? traceFilePaths(file) : [file]) {
    const descriptor = openSync(path, "r");
    try {
      for (let got = -1; got !== 0; ) {
        got = readSync(descriptor, buffer);
        hash.update(buffer.subarray(0, got));
      }
    } finally {
      closeSync(descriptor);
    }
  }
  return hash.digest("hex");
}

function readBoolean(text: string): boolean {
  if (text === "true" || text === "false") return text === "true";
  throw new ValueError("", text, "true or false");
}
