/**
 * Parameters of workloads, written NAME=VALUE as `modprobe` takes them, and of experiments, written as options: how they are declared,
 * and what their texts mean.
 */
import { unknownParameter, ValueError } from "./errors.ts";
import { suggestion } from "./suggestion.ts";
import { sizeBytes, sizeIn } from "./values.ts";

/** A value: a whole number, on/off, text, a word of several, or a list of numbers or words. */
export type ParameterValue = number | boolean | string | readonly number[] | readonly string[];

/** All parameters of a workload or an experiment by name. */
export type ParameterValues = Readonly<Record<string, ParameterValue>>;

interface Described<Kind extends string, Value extends ParameterValue> {
  readonly name: string;
  readonly kind: Kind;
  readonly default: Value;
  readonly summary: string;
}

interface Bounds {
  /** Least and greatest value. */
  readonly low: number;
  readonly high: number;
  /** What it counts, where that is memory: sizes with units are then taken as well (`2M` for 512 pages). */
  readonly unit?: keyof typeof UNIT_BYTES;
}

const UNIT_BYTES = { pages: 2 ** 12, MiB: 2 ** 20, GiB: 2 ** 30 } as const;

/** A parameter that a workload or an experiment declares. */
export type ParameterSpec =
  | (Described<"integer", number> & Bounds)
  | Described<"boolean", boolean>
  | Described<"text", string>
  | (Described<"integers", readonly number[]> & Bounds)
  | (Described<"word", string> & {
      /** What it may be: one of these. */
      readonly words: readonly string[];
    })
  | (Described<"words", readonly string[]> & {
      /** What each word may be. */
      readonly words: readonly string[];
      /** Whether it may also be another one: a file that was loaded. */
      readonly accepts?: (word: string) => boolean;
    });

/** The longest range in a list. */
const RANGE_MAX = 4096;
const TRUE_WORDS = ["1", "y", "yes", "true", "on"];
const FALSE_WORDS = ["0", "n", "no", "false", "off"];

/**
 * Values from `NAME=VALUE` words; parameters that are not named keep their defaults. Numbers are decimal or, with `0x`,
 * hexadecimal; a boolean's name alone means true.
 * @throws UnknownNameError for an unknown name, ValueError for a value out of range or a name given twice
 */
export function parseParameters(
  owner: string,
  specs: readonly ParameterSpec[],
  words: readonly string[],
): ParameterValues {
  const given = new Map<string, ParameterValue>();
  for (const word of words) {
    const split = word.indexOf("=");
    const name = split < 0 ? word : word.slice(0, split);
    const spec = specs.find((candidate) => candidate.name === name);
    if (spec === undefined) throw unknownParameter(owner, name, namesOf(specs));
    if (given.has(name)) throw new ValueError(name, word, "each parameter once", `parameter ${name} is given twice`);
    given.set(name, parseValue(spec, split < 0 ? null : word.slice(split + 1)));
  }
  return Object.fromEntries(specs.map((spec) => [spec.name, given.get(spec.name) ?? spec.default]));
}

/** The defaults of all parameters. */
export function defaultParameters(specs: readonly ParameterSpec[]): ParameterValues {
  return Object.fromEntries(specs.map((spec) => [spec.name, spec.default]));
}

/** The value of a parameter that is a number. */
export function integerParameter(values: ParameterValues, name: string): number {
  return Number(values[name]);
}

/** The value of a parameter that is on or off. */
export function booleanParameter(values: ParameterValues, name: string): boolean {
  return values[name] === true;
}

/** `test_loop_count=1000000   loops of each test`: what a list shows of a parameter. */
export function describeParameter(spec: ParameterSpec): string {
  return `${`${spec.name}=${defaultText(spec)}`.padEnd(30)} ${spec.summary}`;
}

/** The default as it would be written: numbers and words separated by commas, 1 for on, 0 for off. */
export function defaultText(spec: ParameterSpec): string {
  return String(spec.kind === "boolean" ? Number(spec.default) : spec.default);
}

function parseValue(spec: ParameterSpec, text: string | null): ParameterValue {
  if (text === null && spec.kind === "boolean") return true;
  const got = text === null ? "no value is given" : `'${text}'`;
  return parameterValue(spec, text ?? "", (expected) => {
    return new ValueError(spec.name, text, expected, `parameter ${spec.name}: ${got}; expected ${expected}`);
  });
}

/**
 * The value that `text` stands for.
 * @param problem makes the error for text that stands for none, from what was expected
 */
export function parameterValue(
  spec: ParameterSpec,
  text: string,
  problem: (expected: string) => Error,
): ParameterValue {
  switch (spec.kind) {
    case "boolean":
      if (TRUE_WORDS.includes(text.toLowerCase())) return true;
      if (FALSE_WORDS.includes(text.toLowerCase())) return false;
      throw problem("on (1, y) or off (0, n)");
    case "text":
      return text;
    case "integer": {
      const value = integerOf(text, spec.unit);
      if (value >= spec.low && value <= spec.high) return value;
      throw problem(`a whole number from ${spec.low} to ${spec.high}${orSize(spec)}`);
    }
    case "integers": {
      const all = text.split(",").flatMap((word) => {
        const values = integersOf(word, spec.unit);
        if (values !== null && values[0] >= spec.low && values[values.length - 1] <= spec.high) return values;
        throw problem(
          `whole numbers from ${spec.low} to ${spec.high}${orSize(spec)}, separated by commas, or ranges FIRST-LAST`,
        );
      });
      return eachOnce(all, problem);
    }
    case "word": {
      const found = knownWord(spec.words, text);
      if (found !== undefined) return found;
      throw problem(`one of ${spec.words.join(", ")}${suggestion(text, spec.words)}`);
    }
    case "words": {
      const all = text.split(",").map((word) => {
        const found = knownWord(spec.words, word);
        if (found !== undefined) return found;
        if (spec.accepts?.(word)) return word;
        throw problem(`a list of ${spec.words.join(", ")}${suggestion(word, spec.words)}`);
      });
      return eachOnce(all, problem);
    }
  }
}

/** The values of a list, each of which stands for runs and rows of its own: one that is there again would give the same ones twice. */
function eachOnce<T extends number | string>(values: readonly T[], problem: (expected: string) => Error): readonly T[] {
  const seen = new Set<T>();
  for (const value of values) {
    if (seen.has(value)) throw problem(`each value once, and ${value} is there twice`);
    seen.add(value);
  }
  return values;
}

/** The word of a list that `text` stands for; a size may be written in other units. */
function knownWord(words: readonly string[], text: string): string | undefined {
  return words.find((known) => known === text || sizeBytes(known) === sizeBytes(text));
}

/** A decimal number or, with `0x`, a hexadecimal one, or a size in a unit; NaN for other text. */
function integerOf(text: string, unit: Bounds["unit"]): number {
  if (unit === undefined) return /^(\d+|0x[0-9a-f]+)$/i.test(text) ? Number(text) : Number.NaN;
  const value = sizeIn(UNIT_BYTES[unit], text);
  return Number.isInteger(value) ? value : Number.NaN;
}

/** What a message adds where sizes are taken. */
function orSize({ unit }: Bounds): string {
  return unit === undefined ? "" : " or sizes such as 64MiB";
}

/**
 * The numbers that one word of a list stands for: `4`, or `1-4` for all from 1 to 4; null for other text.
 * @param unit what they count, where sizes are taken
 */
export function integersOf(word: string, unit?: Bounds["unit"]): number[] | null {
  const [, from = word, to = word] = /^([^-]+)-([^-]+)$/.exec(word) ?? [];
  const [first, last] = [integerOf(from, unit), integerOf(to, unit)];
  const count = last - first + 1;
  return count >= 1 && count <= RANGE_MAX ? Array.from({ length: count }, (_, i) => first + i) : null;
}

/** The names of parameters. */
export function namesOf(specs: readonly ParameterSpec[]): string[] {
  return specs.map(({ name }) => name);
}

const KINDS: Readonly<Record<ParameterSpec["kind"], (value: unknown) => boolean>> = {
  integer: Number.isInteger,
  boolean: (value) => typeof value === "boolean",
  text: (value) => typeof value === "string",
  word: (value) => typeof value === "string",
  integers: (value) => Array.isArray(value) && value.every(Number.isInteger),
  words: (value) => Array.isArray(value) && value.every((word) => typeof word === "string"),
};

/** What is wrong with a list of parameters that somebody else declares; null when it is one. */
export function parameterListProblem(declared: unknown): string | null {
  if (!Array.isArray(declared)) return "expected a list of { name, kind, default, summary }";
  for (const [i, spec] of declared.entries()) {
    const { name, kind, summary, low, high, words } = (spec ?? {}) as Readonly<Record<string, unknown>>;
    const where = `number ${i + 1}`;
    if (typeof name !== "string" || !/^\w+$/.test(name)) return `${where} has no name of letters, digits and _`;
    if (typeof summary !== "string") return `${name} has no summary`;
    const isOfKind = Object.hasOwn(KINDS, String(kind)) ? KINDS[kind as ParameterSpec["kind"]] : null;
    if (isOfKind === null) return `${name} is of kind ${String(kind)}, expected ${Object.keys(KINDS).join(", ")}`;
    if (!isOfKind(spec.default)) return `the default of ${name} is not of kind ${String(kind)}`;
    const isBounded = kind === "integer" || kind === "integers";
    if (isBounded && !(typeof low === "number" && typeof high === "number")) return `${name} has no low and high`;
    if ((kind === "words" || kind === "word") && !KINDS.words(words)) return `${name} has no words`;
  }
  return null;
}
