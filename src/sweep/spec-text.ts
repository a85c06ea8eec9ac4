/** The text of a sweep's specification, YAML, as plain parts that know where they stand. */
import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
} from "yaml";
import { type FilePlace, InputFileError, inputErrorAt } from "../input/errors.ts";
import { suggestion } from "../input/suggestion.ts";

/** A value of a grid. */
export type GridValue = number | string | boolean;

/** Something of the specification, and where it stands. */
export interface Located<T> {
  readonly value: T;
  readonly at: FilePlace;
}

/** A parameter of the grid with its values, in the order of the file. */
export interface GridText {
  readonly name: string;
  readonly at: FilePlace;
  readonly values: readonly Located<GridValue>[];
}

/** What a specification says, not yet compared with what there is. */
export interface SpecText {
  /** What it is a sweep of, by the key that says so: one in a specification that makes sense. */
  readonly subjects: readonly (Located<string> & { readonly kind: SubjectKind })[];
  readonly seeds?: Located<number | readonly number[]>;
  readonly grid: readonly GridText[];
}

/** Bytes of the largest specification: a million values fit. */
export const SPEC_BYTES_MAX = 2 ** 22;
const SUBJECTS = ["workload", "experiment", "references", "ftrace"] as const;
/** A key that says what a sweep is of: a workload, an experiment, a trace of memory references, or one of ftrace. */
export type SubjectKind = (typeof SUBJECTS)[number];
const KEYS: readonly string[] = [...SUBJECTS, "seeds", "grid"];
const SEEDS_MAX = 10_000;
const SEED_MAX = 2 ** 32 - 1;

/**
 * Reads a specification. Anchors and aliases mean what they mean in YAML.
 * @param file its name, for messages
 * @throws InputFileError with line and column for the first thing that is wrong
 */
export function readSpecText(file: string, text: string): SpecText {
  return new SpecReader(file, text).read();
}

class SpecReader {
  private readonly file: string;
  private readonly lines = new LineCounter();
  private readonly document: Document;

  constructor(file: string, text: string) {
    this.file = file;
    try {
      this.document = parseDocument(text, { lineCounter: this.lines });
    } catch (error) {
      throw new InputFileError(file, 1, `${problemText(error as Error)}`, 1);
    }
    const [problem] = this.document.errors;
    if (problem !== undefined) throw inputErrorAt(this.position(problem.pos[0]), `${problemText(problem)}`);
  }

  read(): SpecText {
    const top = this.document.contents;
    if (!isMap(top)) {
      const at = top === null ? { file: this.file, line: 1, column: 1 } : this.at(top);
      throw inputErrorAt(
        at,
        "is no sweep: expected a mapping with workload, experiment, references or ftrace, and grid",
      );
    }
    const parts = new Map<string, Node>();
    for (const { key, value } of this.pairs(top)) {
      const name = key.value;
      if (!KEYS.includes(name)) {
        throw inputErrorAt(key.at, `unknown key '${name}'${suggestion(name, KEYS)}; there are ${KEYS.join(", ")}`);
      }
      if (value === null) throw inputErrorAt(key.at, `${name} has no value`);
      parts.set(name, value);
    }
    const [seeds, grid] = [parts.get("seeds"), parts.get("grid")];
    return {
      subjects: SUBJECTS.flatMap((kind) => {
        const node = parts.get(kind);
        return node === undefined ? [] : [{ kind, ...this.word(node, kind) }];
      }),
      ...(seeds === undefined ? {} : { seeds: this.seeds(seeds) }),
      grid: grid === undefined ? [] : this.grid(grid),
    };
  }

  private word(node: Node, name: string): Located<string> {
    const { value, at } = this.scalar(node, name);
    if (typeof value === "string") return { value, at };
    throw inputErrorAt(at, `${name} ${value}: expected a name`);
  }

  private seeds(node: Node): Located<number | readonly number[]> {
    const at = this.at(node);
    const whole = (found: Located<GridValue>, low: number, high: number): number => {
      const { value } = found;
      if (typeof value === "number" && Number.isInteger(value) && value >= low && value <= high) return value;
      throw inputErrorAt(found.at, `seeds ${value}: expected a whole number from ${low} to ${high}`);
    };
    if (!isSeq(node)) return { value: whole(this.scalar(node, "seeds"), 1, SEEDS_MAX), at };
    const seeds = this.values(node, "seeds").map((found) => whole(found, 0, SEED_MAX));
    return { value: seeds, at };
  }

  private grid(node: Node): GridText[] {
    if (!isMap(node)) throw inputErrorAt(this.at(node), "grid: expected a mapping of parameters to their values");
    return this.pairs(node).map(({ key, value }) => {
      if (value === null) throw inputErrorAt(key.at, `${key.value} has no value`);
      const values = isSeq(value) ? this.values(value, key.value) : [this.scalar(value, key.value)];
      return { name: key.value, at: key.at, values };
    });
  }

  /** The values of a list, each of them once. */
  private values(node: Node, name: string): Located<GridValue>[] {
    if (!isSeq(node)) throw inputErrorAt(this.at(node), `${name}: expected a list`);
    if (node.items.length === 0) throw inputErrorAt(this.at(node), `${name}: expected at least one value`);
    const seen = new Set<GridValue>();
    return node.items.map((item) => {
      const found = this.scalar(this.resolved(item as Node), name);
      if (seen.has(found.value)) throw inputErrorAt(found.at, `${name} ${found.value} is given twice`);
      seen.add(found.value);
      return found;
    });
  }

  private scalar(node: Node, name: string): Located<GridValue> {
    const at = this.at(node);
    const value = isScalar(node) ? node.value : undefined;
    if (typeof value === "string" || typeof value === "boolean") return { value, at };
    if (typeof value === "number" && Number.isFinite(value)) return { value, at };
    const got = isScalar(node) ? String(node.source ?? value) : isMap(node) ? "a mapping" : "a list within a list";
    throw inputErrorAt(at, `${name}: ${got}: expected a finite number, a word, true or false`);
  }

  private pairs(map: Node): { key: Located<string>; value: Node | null }[] {
    if (!isMap(map)) return [];
    return map.items.map((pair) => {
      const key = this.resolved(pair.key as Node);
      if (!isScalar(key)) throw inputErrorAt(this.at(key), "expected a name before the colon");
      const value = pair.value === null ? null : this.resolved(pair.value as Node);
      return { key: { value: String(key.value), at: this.at(key) }, value };
    });
  }

  /** What an alias stands for; other nodes as they are. */
  private resolved(node: Node): Node {
    if (!isAlias(node)) return node;
    const target = (node as Alias).resolve(this.document);
    if (target !== undefined) return target;
    throw inputErrorAt(this.at(node), `*${node.source}: no value is marked &${node.source} before it`);
  }

  private at(node: Node): FilePlace {
    return this.position(node.range?.[0] ?? 0);
  }

  private position(offset: number): FilePlace {
    const { line, col } = this.lines.linePos(offset);
    return { file: this.file, line: Math.max(line, 1), column: Math.max(col, 1) };
  }
}

function problemText({ message }: Error): string {
  if (message.includes("call stack")) return "is nested too deeply";
  return message.split(" at line")[0].split("\n")[0];
}
