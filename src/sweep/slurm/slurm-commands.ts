/** The two commands of Slurm that a sweep needs: `sbatch` submits a job, `squeue` says what its tasks do. */
import { spawnSync } from "node:child_process";
import { MmulabError } from "../../../arch/isa/errors.ts";

/** A task of an array job, or the tasks that have not been told apart yet. */
export interface TaskState {
  /** `PENDING`, `RUNNING`, ... as `squeue --help` lists them. */
  readonly state: string;
  /** Why it waits: `Resources`, `BeginTime`; `None` for one that runs. */
  readonly reason: string;
  /** How many tasks: more than one while they wait together. */
  readonly tasks: number;
}

/** Slurm is not there, or does not do what it is asked for. */
export class SlurmError extends MmulabError {
  override readonly name = "SlurmError";

  /** @param command `sbatch` or `squeue`; @param reason what it says */
  constructor(command: string, reason: string) {
    super("BAD_CONDITIONS", `${command}: ${reason}`, { subject: command });
  }
}

/** Submits a script and returns the number of the job. @throws SlurmError when Slurm refuses it */
export function sbatch(script: string): string {
  const { status, stdout, stderr } = run("sbatch", ["--parsable"], script);
  if (status !== 0) throw new SlurmError("sbatch", firstLine(stderr));
  // On a federation of clusters its name follows.
  return stdout.trim().split(";")[0];
}

/**
 * The tasks of a job that have not ended; empty when Slurm knows it no more.
 * @throws SlurmError when Slurm cannot be asked
 */
export function squeue(job: string): readonly TaskState[] {
  const { status, stdout, stderr } = run("squeue", [`--jobs=${job}`, "--array", "--noheader", "--format=%T|%r"]);
  if (status !== 0) {
    if (/invalid job id/i.test(stderr)) return [];
    throw new SlurmError("squeue", firstLine(stderr));
  }
  const counts = new Map<string, number>();
  for (const line of stdout.split("\n")) {
    if (line !== "") counts.set(line, (counts.get(line) ?? 0) + 1);
  }
  return [...counts].map(([line, tasks]) => {
    const [state, reason] = line.split("|");
    return { state, reason, tasks };
  });
}

/** `3 running, 1 pending (BeginTime)`. */
export function describeTasks(tasks: readonly TaskState[]): string {
  return tasks
    .map(({ state, reason, tasks: count }) => {
      const why = reason === "None" ? "" : ` (${reason})`;
      return `${count} ${state.toLowerCase()}${why}`;
    })
    .join(", ");
}

function run(
  command: string,
  args: readonly string[],
  input = "",
): { status: number | null; stdout: string; stderr: string } {
  const { error, status, stdout, stderr } = spawnSync(command, args, { input, encoding: "utf8" });
  if (error === undefined) return { status, stdout, stderr };
  const isMissing = (error as NodeJS.ErrnoException).code === "ENOENT";
  throw new SlurmError(
    command,
    isMissing ? "no such command; expected a machine from which Slurm jobs are submitted" : error.message,
  );
}

function firstLine(text: string): string {
  return text
    .trim()
    .split("\n")[0]
    .replace(/^\w+: error: /, "");
}
