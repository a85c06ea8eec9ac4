/** Parameters of experiments: options of the command line, each a number, a list of numbers, or a choice of words. */
import { ValueError } from "../../input/errors.ts";
import { suggestion } from "../../input/suggestion.ts";

interface Numbers {
  /** Least and greatest value. */
  readonly low: number;
  readonly high: number;
}

/** A parameter that an experiment declares. */
export type ParameterSpec = { readonly name: string; readonly summary: string; readonly default: string } & (
  | ({ readonly kind: "number" | "list" } & Numbers)
  | { readonly kind: "words"; readonly words: readonly string[] }
);

/** Values of an experiment's parameters, read strictly. */
export class ParameterReader {
  private readonly specs: readonly ParameterSpec[];
  private readonly given: Readonly<Record<string, string | undefined>>;

  /** @param given what was given, by name; the rest are defaults */
  constructor(specs: readonly ParameterSpec[], given: Readonly<Record<string, string | undefined>>) {
    this.specs = specs;
    this.given = given;
  }

  /** A single number. @throws ValueError naming the value and what was expected */
  number(name: string): number {
    return this.numbers(name)[0];
  }

  /** A list of numbers. @throws ValueError naming the value and what was expected */
  list(name: string): number[] {
    return this.numbers(name);
  }

  /** A list of words. @throws ValueError naming the value and what was expected */
  words(name: string): string[] {
    const { spec, text } = this.find(name);
    if (spec.kind !== "words") throw new Error(`parameter ${name} is not made of words`);
    return text.split(",").map((word) => {
      if (spec.words.includes(word)) return word;
      const expected = `a list of ${spec.words.join(", ")}`;
      throw new ValueError(`--${name}`, text, `${expected}${suggestion(word, spec.words)}`);
    });
  }

  /** All values, for the result. */
  all(): Record<string, number | string | readonly (number | string)[]> {
    return Object.fromEntries(
      this.specs.map(({ name, kind }) => [
        name,
        kind === "words" ? this.words(name) : kind === "list" ? this.list(name) : this.number(name),
      ]),
    );
  }

  private numbers(name: string): number[] {
    const { spec, text } = this.find(name);
    if (spec.kind === "words") throw new Error(`parameter ${name} is not made of numbers`);
    const { low, high, kind } = spec;
    const words = text.split(",");
    const expected = `${kind === "list" ? "whole numbers" : "a whole number"} from ${low} to ${high}`;
    if (kind === "number" && words.length !== 1) throw new ValueError(`--${name}`, text, expected);
    return words.map((word) => {
      const value = /^\d+$/.test(word) ? Number(word) : Number.NaN;
      if (value >= low && value <= high) return value;
      throw new ValueError(`--${name}`, text, `${expected}${kind === "list" ? ", separated by commas" : ""}`);
    });
  }

  private find(name: string): { spec: ParameterSpec; text: string } {
    const spec = this.specs.find((candidate) => candidate.name === name);
    if (spec === undefined) throw new Error(`no parameter ${name}`);
    return { spec, text: this.given[name] ?? spec.default };
  }
}
