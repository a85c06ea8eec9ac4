/** Parameters of workloads, written NAME=VALUE as `modprobe` takes them. */
import { unknownParameter, ValueError } from "./errors.ts";

/** A value: a whole number, or on/off. */
export type ParameterValue = number | boolean;

/** All parameters of a workload by name. */
export type ParameterValues = Readonly<Record<string, ParameterValue>>;

/** A parameter that a workload declares. */
export type ParameterSpec =
  | {
      readonly name: string;
      readonly kind: "integer";
      readonly default: number;
      /** Least and greatest value. */
      readonly low: number;
      readonly high: number;
      readonly summary: string;
    }
  | { readonly name: string; readonly kind: "boolean"; readonly default: boolean; readonly summary: string };

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
  return `${`${spec.name}=${spec.kind === "boolean" ? Number(spec.default) : spec.default}`.padEnd(30)} ${spec.summary}`;
}

function parseValue(spec: ParameterSpec, text: string | null): ParameterValue {
  if (spec.kind === "boolean") {
    if (text === null || TRUE_WORDS.includes(text.toLowerCase())) return true;
    if (FALSE_WORDS.includes(text.toLowerCase())) return false;
    const line = `parameter ${spec.name}: '${text}' is neither on (1, y) nor off (0, n)`;
    throw new ValueError(spec.name, text, "on (1, y) or off (0, n)", line);
  }
  const value = text !== null && /^(\d+|0x[0-9a-f]+)$/i.test(text) ? Number(text) : Number.NaN;
  if (value >= spec.low && value <= spec.high) return value;
  const got = text === null ? "no value is given" : `'${text}'`;
  const expected = `a whole number from ${spec.low} to ${spec.high}`;
  throw new ValueError(spec.name, text, expected, `parameter ${spec.name}: ${got}; expected ${expected}`);
}

/** The names of parameters. */
export function namesOf(specs: readonly ParameterSpec[]): string[] {
  return specs.map(({ name }) => name);
}
