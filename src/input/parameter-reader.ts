/** Parameters of experiments: options of the command line, each a number, a list of numbers, or a choice of words. */
import { ValueError } from "./errors.ts";
import { type ParameterSpec, type ParameterValues, parameterValue } from "./parameters.ts";

/** Values of declared parameters, read strictly. */
export class ParameterReader {
  private readonly specs: readonly ParameterSpec[];
  private readonly given: Readonly<Record<string, string | undefined>>;
  private readonly optionOf: (name: string) => string;

  /**
   * @param given what was given, by name; the rest are defaults
   * @param optionOf how the option of a parameter is spelled, for errors; without dashes
   */
  constructor(
    specs: readonly ParameterSpec[],
    given: Readonly<Record<string, string | undefined>>,
    optionOf: (name: string) => string = (name) => name,
  ) {
    this.specs = specs;
    this.given = given;
    this.optionOf = optionOf;
  }

  /** A single number. @throws ValueError naming the value and what was expected */
  number(name: string): number {
    return this.read(name, "integer") as number;
  }

  /** A list of numbers. @throws ValueError naming the value and what was expected */
  list(name: string): readonly number[] {
    return this.read(name, "integers") as readonly number[];
  }

  /** Any text; empty where nothing is meant. */
  text(name: string): string {
    return this.read(name, "text") as string;
  }

  /** Whether it is on. @throws ValueError naming the value and what was expected */
  isOn(name: string): boolean {
    return this.read(name, "boolean") as boolean;
  }

  /** One word of several. @throws ValueError naming the value and what was expected */
  word(name: string): string {
    return this.read(name, "word") as string;
  }

  /** A list of words. @throws ValueError naming the value and what was expected */
  words(name: string): readonly string[] {
    return this.read(name, "words") as readonly string[];
  }

  /** All values, for the result. @throws ValueError naming the value and what was expected */
  all(): ParameterValues {
    return Object.fromEntries(this.specs.map(({ name, kind }) => [name, this.read(name, kind)]));
  }

  private read(name: string, kind: ParameterSpec["kind"]): ParameterValues[string] {
    const spec = this.specs.find((candidate) => candidate.name === name);
    if (spec?.kind !== kind) throw new Error(`no parameter ${name} of kind ${kind}`);
    const { [name]: text } = this.given;
    if (text === undefined) return spec.default;
    return parameterValue(spec, text, (expected) => new ValueError(`--${this.optionOf(name)}`, text, expected));
  }
}
