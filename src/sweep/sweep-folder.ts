/**
 * A sweep that several processes work on, on one machine or many: a folder with the specification and a file of results for each
 * attempt at a part. Every file has one writer; whoever reads takes them all together.
 */
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { z } from "zod";
import { isLocked } from "../files/file-lock.ts";
import { writing } from "../files/output-error.ts";
import { OutputFile } from "../files/output-file.ts";
import { readSmallText } from "../files/whole-file.ts";
import { InputFileError } from "../input/errors.ts";
import { versionText } from "../provenance/program-version.ts";
import type { FinishedPoint } from "./result-lines.ts";
import { ResultsFile, readResults } from "./results-file.ts";
import { loadOwnCodeOfSpec, parseSweepSpec, type SweepSpec } from "./spec.ts";
import { SPEC_BYTES_MAX } from "./spec-text.ts";
import type { PointResults, Shard } from "./sweep.ts";

const FORMAT = "mmulab sweep folder";
const VERSION = 1;
/** The file of a folder that says which sweep it is. */
const SWEEP_FILE = "sweep.json";
const ATTEMPT = /^part-(\d+)-of-(\d+)\.(\d+)\.results\.jsonl$/;

const SWEEP = z.object({
  format: z.literal(FORMAT),
  version: z.literal(VERSION),
  program: z.string(),
  key: z.string(),
  firstSeed: z.number(),
  specification: z.string(),
});

/** One attempt at a part of a sweep. */
export interface Attempt {
  /** Its file of results. */
  readonly file: string;
  readonly shard: Shard;
  /** From 1 on, in the order in which the attempts at this part began. */
  readonly number: number;
  readonly points: readonly FinishedPoint[];
  /** Whether a process still adds to it, as far as can be told from here. */
  readonly isRunning: boolean;
}

/** What a folder holds. */
export interface FolderContent {
  readonly attempts: readonly Attempt[];
  /** Points that are done, by index. */
  readonly finished: ReadonlyMap<number, FinishedPoint>;
}

/**
 * Makes `folder` that of a sweep, or finds that it is.
 * @param file the specification
 * @param firstSeed the first seed, where the specification says how many
 * @throws InputFileError when the specification is wrong or the folder is that of another sweep, OutputFileError when it
 *   cannot be written
 */
export function openSweepFolder(folder: string, file: string, firstSeed: number): SweepSpec {
  const text = readSmallText(file, SPEC_BYTES_MAX);
  const spec = parseSweepSpec(file, text, firstSeed);
  writing(folder, () => mkdirSync(folder, { recursive: true }));
  if (!existsSync(join(folder, SWEEP_FILE))) {
    // Should several begin at once, all write the same.
    const { key, program } = spec;
    const content = { format: FORMAT, version: VERSION, program, key, firstSeed, specification: text };
    const output = new OutputFile(join(folder, SWEEP_FILE));
    output.write(`${JSON.stringify(content)}\n`);
    output.finish();
  }
  const there = readSweepFile(folder);
  if (there.key !== spec.key) {
    const what = there.program === spec.program ? "another sweep" : `mmulab ${there.program}, this is ${spec.program}`;
    throw new InputFileError(join(folder, SWEEP_FILE), 1, `is of ${what}; choose another --dir`);
  }
  return spec;
}

/** The sweep that a folder is of. @throws InputFileError when it is not one, or when a preset file has changed since */
export async function sweepOfFolder(folder: string): Promise<SweepSpec> {
  const { key, program, firstSeed, specification } = readSweepFile(folder);
  await loadOwnCodeOfSpec(join(folder, SWEEP_FILE), specification);
  const spec = parseSweepSpec(join(folder, SWEEP_FILE), specification, firstSeed, program);
  if (spec.key === key) return spec;
  const why = `a file that it names has changed since, or mmulab ${program} read the specification otherwise than ${versionText()}`;
  throw new InputFileError(join(folder, SWEEP_FILE), 1, `the grid is not the one that was run: ${why}`);
}

/** Reads the results in a folder, again and again at little cost: only files that have grown. */
export class FolderReader {
  private readonly folder: string;
  private readonly spec: SweepSpec;
  private readonly read = new Map<string, { readonly sizeBytes: number; readonly points: readonly FinishedPoint[] }>();

  constructor(folder: string, spec: SweepSpec) {
    this.folder = folder;
    this.spec = spec;
  }

  /** @throws InputFileError when a file is damaged, or two have different results of one point */
  content(): FolderContent {
    const attempts: Attempt[] = [];
    for (const name of readdirSync(this.folder)) {
      const match = ATTEMPT.exec(name);
      if (match === null) continue;
      const [part, parts, number] = match.slice(1).map(Number);
      const file = join(this.folder, name);
      attempts.push({ file, shard: { part, parts }, number, points: this.pointsOf(file), isRunning: isLocked(file) });
    }
    attempts.sort((a, b) => a.shard.parts - b.shard.parts || a.shard.part - b.shard.part || a.number - b.number);
    return { attempts, finished: together(attempts) };
  }

  private pointsOf(file: string): readonly FinishedPoint[] {
    const sizeBytes = statSync(file).size;
    const known = this.read.get(file);
    if (known?.sizeBytes === sizeBytes) return known.points;
    const { points } = readResults(file, this.spec);
    this.read.set(file, { sizeBytes, points });
    return points;
  }
}

/** An attempt at a part: what is done by anybody counts as done, what it does itself goes into a file of its own. */
export class FolderResults implements PointResults {
  readonly finished: Map<number, FinishedPoint>;
  private readonly folder: string;
  private readonly spec: SweepSpec;
  private readonly shard: Shard;
  private own: ResultsFile | null = null;

  /** @throws InputFileError when the folder's results are damaged */
  constructor(folder: string, spec: SweepSpec, shard: Shard) {
    this.folder = folder;
    this.spec = spec;
    this.shard = shard;
    this.finished = new Map(new FolderReader(folder, spec).content().finished);
  }

  add(finished: FinishedPoint): void {
    this.own ??= new ResultsFile(newAttempt(this.folder, this.shard), this.spec);
    this.own.add(finished);
    this.finished.set(finished.point.index, finished);
  }

  close(): void {
    this.own?.close();
  }
}

/** Creates the file of a new attempt and returns its name. */
function newAttempt(folder: string, { part, parts }: Shard): string {
  for (let number = 1; ; number++) {
    const file = join(folder, `part-${part}-of-${parts}.${number}.results.jsonl`);
    try {
      closeSync(openSync(file, "wx"));
      return file;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST")
        return writing(file, () => {
          throw error;
        });
    }
  }
}

/** Two attempts may have run one point, as on a node that was thought lost; their results are the same then. */
function together(attempts: readonly Attempt[]): ReadonlyMap<number, FinishedPoint> {
  const finished = new Map<number, FinishedPoint>();
  for (const { file, points } of attempts) {
    for (const each of points) {
      const known = finished.get(each.point.index);
      if (known !== undefined && JSON.stringify(known) !== JSON.stringify(each)) {
        const reason = `has another result of point ${each.point.index} than another file of ${basename(join(file, ".."))}`;
        throw new InputFileError(file, 0, `${reason}; remove the one that is wrong`);
      }
      finished.set(each.point.index, each);
    }
  }
  return finished;
}

function readSweepFile(folder: string): z.infer<typeof SWEEP> {
  const file = join(folder, SWEEP_FILE);
  if (!existsSync(file)) {
    throw new InputFileError(
      folder,
      0,
      `is no folder of a sweep: it has no ${SWEEP_FILE} (mmulab sweep SPEC --dir makes one)`,
    );
  }
  const text = readSmallText(file, 2 * SPEC_BYTES_MAX);
  try {
    return SWEEP.parse(JSON.parse(text));
  } catch {
    throw new InputFileError(file, 1, "does not say which sweep this is: expected what mmulab sweep SPEC --dir writes");
  }
}
