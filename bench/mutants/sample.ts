/** Drawing mutants at random, so that a score can be stated for more code than can be gone through. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { Instrumenter } from "@stryker-mutator/instrumenter";
import { randomStream } from "../../src/machine/random.ts";

/** A place in a file as the mutation tool counts: lines and columns from 0. */
interface Position {
  readonly line: number;
  readonly column: number;
}

/** What tells one mutant from all others. */
export interface MutantIdentity {
  /** Absolute, or seen from the working folder. */
  readonly fileName: string;
  readonly location: { readonly start: Position; readonly end: Position };
  readonly mutatorName: string;
  readonly replacement?: string | undefined;
}

const SILENT = {
  isTraceEnabled: () => false,
  isDebugEnabled: () => false,
  isInfoEnabled: () => false,
  isWarnEnabled: () => false,
  isErrorEnabled: () => false,
  isFatalEnabled: () => false,
  trace: () => undefined,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  fatal: () => undefined,
};

/** All files of TypeScript below some folders, in the order of their names. */
export function sourceFiles(folders: readonly string[]): string[] {
  return folders
    .flatMap((folder) => readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => join(folder, name)))
    .filter((name) => name.endsWith(".ts"))
    .sort();
}

/** Every mutant that can be made of some files. */
export async function allMutants(files: readonly string[]): Promise<MutantIdentity[]> {
  const sources = files.map((name) => ({ name, mutate: true, content: readFileSync(name, "utf8") }));
  const options = { plugins: null, excludedMutations: [], ignorers: [] };
  const { mutants } = await new Instrumenter(SILENT).instrument(sources, options);
  return mutants.map(({ fileName, location, mutatorName, replacement }) => ({
    fileName,
    location,
    mutatorName,
    replacement,
  }));
}

/** Some of the mutants, each as likely as every other; the same for the same seed. In the order in which they were. */
export function drawn<T>(mutants: readonly T[], count: number, seed: number): T[] {
  const random = randomStream(seed);
  const places = mutants.map((_, i) => i);
  for (let i = 0; i < Math.min(count, places.length); i++) {
    const other = random.between(i, places.length - 1);
    [places[i], places[other]] = [places[other], places[i]];
  }
  return places
    .slice(0, count)
    .sort((a, b) => a - b)
    .map((place) => mutants[place]);
}

/** The place of a mutant as an argument of the mutation tool: lines from 1, columns from 0. */
export function placeOf({ fileName, location: { start, end } }: MutantIdentity): string {
  const file = relative(process.cwd(), resolve(fileName));
  return `${file}:${start.line + 1}:${start.column}-${end.line + 1}:${end.column}`;
}

/** A mutant of a report, where lines and columns are counted from 1, as the other parts of the mutation tool have it. */
export function fromReport<T extends MutantIdentity>(result: T): T {
  const less = ({ line, column }: Position): Position => ({ line: line - 1, column: column - 1 });
  const { start, end } = result.location;
  return { ...result, location: { start: less(start), end: less(end) } };
}

/** A text that only this mutant has. */
export function identityOf(mutant: MutantIdentity): string {
  return `${placeOf(mutant)} ${mutant.mutatorName} ${mutant.replacement}`;
}

/** Bounds between which a share lies with 95 % confidence (Wilson's interval), in percent. */
export function confidenceInterval(hits: number, trials: number): [low: number, high: number] {
  if (trials === 0) return [0, 100];
  const z = 1.959964;
  const share = hits / trials;
  const middle = share + z ** 2 / (2 * trials);
  const half = z * Math.sqrt((share * (1 - share)) / trials + z ** 2 / (4 * trials ** 2));
  return [middle - half, middle + half].map((bound) => (100 * bound) / (1 + z ** 2 / trials)) as [number, number];
}
