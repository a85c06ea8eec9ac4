/** A sweep as an array job of Slurm: submitted, followed while it runs, found again after whoever followed it has gone. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { OutputFile } from "../../files/output-file.ts";
import { readSmallText } from "../../files/whole-file.ts";
import type { SweepSpec } from "../spec.ts";
import { sweepPoints } from "../spec.ts";
import { type Shard, shardPoints } from "../sweep.ts";
import { FolderReader } from "../sweep-folder.ts";
import { type ArrayJob, jobScript } from "./job-script.ts";
import { describeTasks, SlurmError, sbatch, squeue, type TaskState } from "./slurm-commands.ts";

/** The file of a folder that says which job works on it. */
const JOB_FILE = "slurm.json";
const JOB_BYTES_MAX = 1 << 16;
const JOB = z.object({ job: z.string().regex(/^\d+$/) });
/** So often in a row may Slurm not answer, as while its controller is restarted, before that ends the following. */
const SILENCES_MAX = 30;

/** Parts of a sweep that have points to run. */
export function partsToRun(spec: SweepSpec, folder: string, parts: number): number[] {
  const { finished } = new FolderReader(folder, spec).content();
  return Array.from({ length: parts }, (_, i): Shard => ({ part: i + 1, parts }))
    .filter((shard) => shardPoints(spec, shard).some(({ index }) => !finished.has(index)))
    .map(({ part }) => part);
}

/** The job that works on a folder now, or null. @throws SlurmError when Slurm cannot be asked */
export function runningJob(folder: string): string | null {
  const file = join(folder, JOB_FILE);
  if (!existsSync(file)) return null;
  const found = JOB.safeParse(parsed(readSmallText(file, JOB_BYTES_MAX)));
  return found.success && squeue(found.data.job).length > 0 ? found.data.job : null;
}

/** Submits an array job and notes its number in the folder. @throws SlurmError when Slurm refuses it */
export function submit(job: ArrayJob): string {
  const number = sbatch(jobScript(job));
  const output = new OutputFile(join(job.folder, JOB_FILE));
  output.write(`${JSON.stringify({ job: number })}\n`);
  output.finish();
  return number;
}

/**
 * Waits until no task of a job is left, or every point is done.
 * @param pollSeconds how often Slurm is asked
 * @param onState told how many points are done and what the tasks do
 * @throws SlurmError when Slurm does not answer for long
 */
export async function follow(
  job: string,
  spec: SweepSpec,
  folder: string,
  pollSeconds: number,
  onState: (done: number, tasks: string) => void,
): Promise<void> {
  const reader = new FolderReader(folder, spec);
  const points = sweepPoints(spec).length;
  for (let silences = 0; ; ) {
    let tasks: readonly TaskState[] | null = null;
    try {
      tasks = squeue(job);
      silences = 0;
    } catch (error) {
      if (!(error instanceof SlurmError) || ++silences > SILENCES_MAX) throw error;
    }
    // Read after Slurm was asked: what a task that has ended wrote is there.
    const done = reader.content().finished.size;
    onState(done, tasks === null ? "Slurm does not answer" : describeTasks(tasks));
    if (done === points || tasks?.length === 0) return;
    await new Promise((resolve) => setTimeout(resolve, pollSeconds * 1000));
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
