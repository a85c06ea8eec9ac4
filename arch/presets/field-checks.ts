/**
 * Checks of plain data that people give: an object is checked field by field, and the first mistake is named with the path of
 * its field, its value and what was expected. No check throws, whatever it is given.
 */

/** A field that is wrong. */
export interface FieldProblem {
  /** Names and indices that lead to it, with dots between: `tlbs.2.sets`; empty for the whole. */
  readonly path: string;
  /** What it holds, short enough for a message. */
  readonly value: unknown;
  /** What it should hold. */
  readonly expected: string;
}

/** What is wrong with a value that is found at `path`, or null. */
export type FieldCheck = (value: unknown, path: string) => FieldProblem | null;

/** Characters of a wrong value that a message shows. */
const SHOWN_LENGTH = 60;

/** A problem with a value at a path. */
export function fieldProblem(path: string, value: unknown, expected: string): FieldProblem {
  return { path, value: shown(value), expected };
}

/** A check that a value passes when `isRight` says so. */
export function checkThat(isRight: (value: unknown) => boolean, expected: string): FieldCheck {
  return (value, path) => (isRight(value) ? null : fieldProblem(path, value, expected));
}

/** Whether a value is an object with fields: no array, no null. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * An object with a check for each of its own fields. One that is missing is checked as undefined, unless it is `optional`; one
 * without a check is a mistake. What an object inherits does not count.
 */
export function objectOf(checks: Readonly<Record<string, FieldCheck>>, optional: readonly string[] = []): FieldCheck {
  const known = new Map(Object.entries(checks));
  return (value, path) => {
    if (!isRecord(value)) return fieldProblem(path, value, "an object");
    const unknown = Object.keys(value).find((key) => !known.has(key));
    if (unknown !== undefined) {
      const names = [...known.keys()].join(", ");
      return fieldProblem(inner(path, unknown), value[unknown], `no field of that name, only ${names}`);
    }
    for (const [key, check] of known) {
      const field = Object.hasOwn(value, key) ? value[key] : undefined;
      if (field === undefined && optional.includes(key)) continue;
      const problem = check(field, inner(path, key));
      if (problem !== null) return problem;
    }
    return null;
  };
}

/** One check for each key of a list. */
export function eachOf(keys: readonly string[], check: FieldCheck): Record<string, FieldCheck> {
  return Object.fromEntries(keys.map((key) => [key, check]));
}

/** An array of `low` to `high` elements with the same check for each. */
export function arrayOf(check: FieldCheck, low: number, high: number): FieldCheck {
  return (value, path) => {
    if (!Array.isArray(value) || value.length < low || value.length > high) {
      return fieldProblem(path, value, `an array of ${low === high ? low : `${low} to ${high}`} elements`);
    }
    for (let index = 0; index < value.length; index++) {
      const problem = check(value[index], inner(path, String(index)));
      if (problem !== null) return problem;
    }
    return null;
  };
}

/** An array of names out of a list: one at least, none twice. */
export function setOf(names: readonly string[]): FieldCheck {
  const elements = arrayOf(oneOf(names), 1, names.length);
  return (value, path) => {
    const problem = elements(value, path);
    if (problem !== null) return problem;
    const given = value as string[];
    return new Set(given).size === given.length ? null : fieldProblem(path, value, "each name once");
  };
}

/** One value out of a list. */
export function oneOf(values: readonly unknown[]): FieldCheck {
  return checkThat((value) => values.includes(value), `one of ${values.join(", ")}`);
}

/** A number from `low` to `high`, with or without a fraction. */
export function numberFrom(low: number, high: number, range = `${low} to ${high}`): FieldCheck {
  return checkThat((value) => typeof value === "number" && value >= low && value <= high, `a number from ${range}`);
}

/** A whole number from `low` to `high`. */
export function wholeFrom(low: number, high: number): FieldCheck {
  const isRight = (value: unknown) => Number.isInteger(value) && (value as number) >= low && (value as number) <= high;
  return checkThat(isRight, `a whole number from ${low} to ${high}`);
}

/**
 * What one operation may cost: up to 2^32 cycles, more than a second of any CPU. Clocks are doubles, exact up to 2^53: two
 * million of the dearest operations keep them exact.
 */
export const COST_CYCLES: FieldCheck = numberFrom(0, 2 ** 32, "0 to 2^32");

function inner(path: string, key: string): string {
  const name = key === "" ? '""' : key.slice(0, SHOWN_LENGTH);
  return path === "" ? name : `${path}.${name}`;
}

function shortened(text: string): string {
  return text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}...` : text;
}

/** A value as a message shows it: objects as JSON, and nothing longer than a few words. */
function shown(value: unknown): unknown {
  if (typeof value === "string") return value === "" ? '""' : shortened(value);
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return value;
  try {
    return shortened(JSON.stringify(value));
  } catch {
    // It holds itself, or a number that JSON has no form for.
    return Array.isArray(value) ? "an array" : "an object";
  }
}
