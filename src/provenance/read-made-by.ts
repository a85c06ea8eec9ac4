/** Reading back what a file says of its making, whatever kind of file it is. */
import { closeSync, openSync, readSync } from "node:fs";
import { z } from "zod";
import { toInputError } from "../files/byte-chunks.ts";
import { InputFileError } from "../input/errors.ts";
import type { MadeBy } from "./made-by.ts";

/** It stands near the beginning of every file but Parquet's, which have it at their end. */
const LOOKED_AT_BYTES = 1 << 18;
/** What it follows in JSON, in comments of text files, in web pages and in saved states. */
const MARKERS = ['"madeBy":{', 'id="made-by">{', '"command":{'];
/** What it follows in a line of comment at the begin of a text; reports that are piped have no such line. */
const COMMENT_MARKER = "# mmulab {";
const MADE_BY = z.object({
  version: z.string(),
  command: z.array(z.string()),
  options: z.record(z.string(), z.unknown()).default({}),
});
/** The last column of tables whose rows say it each, and the first words of its cells as CSV has them. */
const COLUMN = ",madeBy";
const CELL = '"{""version"":';
const CELLS = /,"\{""version"":.*$/gm;

/**
 * What `file` says of its making.
 * @throws InputFileError when it cannot be read, or does not say
 */
export async function readMadeBy(file: string): Promise<MadeBy> {
  const start = readStart(file);
  const text =
    start.subarray(0, 4).toString("latin1") === "PAR1"
      ? await parquetMetadata(file)
      : (foundIn(start.toString("utf8"))?.text ?? cellOf(start.toString("utf8")));
  const made = MADE_BY.safeParse(parsed(text ?? ""));
  if (made.success) return made.data;
  throw new InputFileError(
    file,
    0,
    "does not say which command made it: expected a file that mmulab has written, or its --json, --csv or --html",
  );
}

/** A text without what it says of its making: two runs of one command differ in nothing else. */
export function withoutMadeBy(text: string): string {
  const start = text.slice(0, LOOKED_AT_BYTES);
  if (text.slice(0, text.indexOf("\n")).endsWith(COLUMN)) return text.replaceAll(CELLS, "");
  const comment = start.startsWith(COMMENT_MARKER) ? start.indexOf("\n") : -1;
  if (comment >= 0) return text.slice(comment + 1);
  const found = foundIn(start);
  return found === null ? text : text.slice(0, found.at) + text.slice(found.at + found.text.length);
}

/** What the last cell of the first row says, in a CSV table with such a column. */
function cellOf(text: string): string | undefined {
  const [heading, row = ""] = text.split("\n", 2);
  const at = row.lastIndexOf(CELL);
  return heading.endsWith(COLUMN) && at >= 0 ? row.slice(at + 1, -1).replaceAll('""', '"') : undefined;
}

function foundIn(text: string): { readonly at: number; readonly text: string } | null {
  for (const marker of [COMMENT_MARKER, ...MARKERS]) {
    const at = text.indexOf(marker);
    if (at < 0) continue;
    const start = at + marker.length - 1;
    const length = objectLength(text, start);
    if (length > 0) return { at: start, text: text.slice(start, start + length) };
  }
  return null;
}

/** Characters of the JSON object that begins at `start`; 0 when it does not end. */
function objectLength(text: string, start: number): number {
  let depth = 0;
  let isText = false;
  for (let at = start; at < text.length; at++) {
    const character = text[at];
    if (isText) {
      if (character === "\\") at++;
      else if (character === '"') isText = false;
    } else if (character === '"') isText = true;
    else if (character === "{") depth++;
    else if (character === "}" && --depth === 0) return at - start + 1;
  }
  return 0;
}

async function parquetMetadata(file: string): Promise<string | undefined> {
  // Its reader is loaded for such files only.
  const { asyncBufferFromFile, parquetMetadataAsync } = await import("hyparquet");
  try {
    const metadata = await parquetMetadataAsync(await asyncBufferFromFile(file));
    return metadata.key_value_metadata?.find(({ key }) => key === "mmulab")?.value;
  } catch (error) {
    throw new InputFileError(file, 0, `is no Parquet file that can be read: ${(error as Error).message}`);
  }
}

function readStart(file: string): Buffer {
  try {
    const descriptor = openSync(file, "r");
    try {
      const bytes = Buffer.alloc(LOOKED_AT_BYTES);
      return bytes.subarray(0, readSync(descriptor, bytes));
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    throw toInputError(file, 0, error);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
