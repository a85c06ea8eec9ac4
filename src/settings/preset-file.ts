/** Presets in files: JSON as `mmulab presets NAME --json` prints it (docs/presets.md). */
import { type DocumentNode, type LocationRange, parse, type ValueNode } from "@humanwhocodes/momoa";
import { MachineUsageError, type Preset, parsePreset } from "../../arch/index.ts";
import { readSmallText } from "../files/whole-file.ts";
import { InputFileError } from "../input/errors.ts";

/** A preset has some 30 KiB. */
const FILE_BYTES_MAX = 1 << 20;
/** How the subject of an error of a preset begins. */
const SUBJECT = "preset: ";

/**
 * The preset in a file.
 * @throws InputFileError naming the line, the field, its value and what was expected
 */
export function readPresetFile(file: string): Preset {
  const text = readSmallText(file, FILE_BYTES_MAX);
  const tree = parsed(file, text);
  const json = parsedStrictly(file, text);
  try {
    return parsePreset(json);
  } catch (error) {
    if (!(error instanceof MachineUsageError)) throw error;
    const path = (error.subject ?? "").replace(SUBJECT, "");
    const { line, column } = placeOf(tree.body, path === "the whole" ? [] : path.split("."));
    throw new InputFileError(file, line, error.message.replace(SUBJECT, ""), column);
  }
}

/** The syntax tree, which knows where each value stands. */
function parsed(file: string, text: string): DocumentNode {
  try {
    return parse(text, { mode: "json" });
  } catch (error) {
    const { line, column, message } = error as Error & { readonly line?: number; readonly column?: number };
    const what = message.replace(/ \(\d+:\d+\)$/, "");
    throw new InputFileError(file, line ?? 1, `is not JSON: ${what}`, column ?? 0);
  }
}

/** The data. The parser that knows places takes more than JSON allows, such as control characters in a text. */
function parsedStrictly(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const { message } = error as SyntaxError;
    const before = text.slice(0, Number(/ at position (\d+)/.exec(message)?.[1] ?? 0)).split("\n");
    const what = message.replace(/ (in JSON )?at position \d+.*$/, "");
    throw new InputFileError(file, before.length, `is not JSON: ${what}`, before[before.length - 1].length + 1);
  }
}

/** Where the value at a path begins; for a field that is missing, the object that lacks it. */
function placeOf(node: ValueNode, path: readonly string[]): LocationRange["start"] {
  const [key, ...rest] = path;
  const inner = key === undefined ? undefined : child(node, key);
  return inner === undefined ? node.loc.start : placeOf(inner, rest);
}

function child(node: ValueNode, key: string): ValueNode | undefined {
  if (node.type === "Array") return node.elements[Number(key)]?.value;
  if (node.type !== "Object") return undefined;
  return node.members.findLast(({ name }) => name.type === "String" && name.value === key)?.value;
}
