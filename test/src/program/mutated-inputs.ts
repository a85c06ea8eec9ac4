/** Inputs with random changes, given to what reads them: each must be taken, or refused in one line that names the file. */
import { MmulabError } from "../../../arch/index.ts";
import { type Random, randomStream } from "../../../src/machine/random.ts";
import type { temporaryFolder } from "../fixtures.ts";

/** Seed of the changes (MMULAB_SEED), and how many inputs of each format are tried (MMULAB_INPUTS). */
const SEED = Number(process.env.MMULAB_SEED ?? 1);
const INPUTS = Number(process.env.MMULAB_INPUTS ?? 100);

/** Reads a changed input: the file that it was written to, and its text. */
export type Reader = (file: string, text: string) => unknown;

/** An input that is tried with changes. */
export interface FuzzedFormat {
  readonly folder: ReturnType<typeof temporaryFolder>;
  /** Name of the file. */
  readonly name: string;
  /** A good input; of a binary format, a character a byte (latin1). */
  readonly text: string;
  readonly isBinary?: boolean;
  readonly read: Reader;
  /** Whether a refusal must name the file: not where another reader says in which file it is. */
  readonly namesFile: boolean;
}

/** Tries changed inputs; what was refused in another way than with one line that names the file, by number, with the seed. */
export async function wronglyRefused({
  folder,
  name,
  text,
  isBinary,
  read,
  namesFile,
}: FuzzedFormat): Promise<string[]> {
  const random = randomStream(SEED);
  const wrong: string[] = [];
  for (let i = 0; i < INPUTS; i++) {
    const mutant = mutated(text, random);
    const file = folder.write(name, isBinary ? Buffer.from(mutant, "latin1") : mutant);
    try {
      await read(file, mutant);
    } catch (error) {
      const isOneLine = error instanceof MmulabError && !error.message.includes("\n");
      if (isOneLine && (!namesFile || error.message.includes(name))) continue;
      wrong.push(`MMULAB_SEED=${SEED}, input ${i}: ${String((error as Error).stack).slice(0, 300)}`);
    }
  }
  return wrong;
}

const WORDS = [
  "0",
  "-1",
  "1e400",
  "NaN",
  "null",
  "__proto__",
  "constructor",
  "\n",
  '"',
  "{",
  "[",
  "*a",
  "&a",
  ": ",
  "0xffffffffffffffff",
  "9007199254740993",
  "\u0000",
  "é",
];

/** One to three changes: bytes flipped, pieces deleted, doubled or moved, odd words put in. */
function mutated(text: string, random: Random): string {
  let result = text;
  for (let changes = random.between(1, 3); changes > 0; changes--) {
    const at = random.between(0, Math.max(0, result.length - 1));
    const end = Math.min(result.length, at + random.between(1, 40));
    const [before, piece, after] = [result.slice(0, at), result.slice(at, end), result.slice(end)];
    const word = WORDS[random.between(0, WORDS.length - 1)];
    const flipped = String.fromCharCode((result.charCodeAt(at) || 32) ^ (1 << random.between(0, 6)));
    result = [
      before + after,
      before + piece + piece + after,
      before + word + after,
      before + word + piece + after,
      before + flipped + result.slice(at + 1),
      before,
    ][random.between(0, 5)];
  }
  return result;
}
