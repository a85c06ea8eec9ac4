/** Sweeps as array jobs of a real Slurm. Where there is none (Debian: `slurm-wlm`, `munge`), only the scripts are tested. */
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { jobScript, ranges } from "../../../../src/sweep/slurm/job-script.ts";
import { describeTasks, SlurmError, sbatch } from "../../../../src/sweep/slurm/slurm-commands.ts";
import { temporaryFolder } from "../../fixtures.ts";
import { CLI, mmulab, resultIn } from "../../run-cli.ts";
import { Cluster, HAS_SLURM } from "./cluster.ts";

const folder = temporaryFolder();
const GRID = "workload: mixed\nseeds: 3\ngrid:\n  cpus: [1, 2]\n  lazy_max_pages: [100, 10000]\n  operations: 4000\n";

describe("the script of an array job", () => {
  const job = {
    name: "mixed",
    folder: "/scratch/it's",
    file: "/home/me/sweep.yaml",
    firstSeed: 7,
    parts: 9,
    partsToRun: [1, 2, 3, 7, 9],
    jobs: 4,
    options: ["--partition=short", "--mem=2G"],
  };

  it("runs a part of the sweep in each task of the array", () => {
    const lines = jobScript(job).split("\n");
    expect(lines[0]).toBe("#!/bin/sh");
    expect(lines).toContain("#SBATCH --array=1-3,7,9");
    expect(lines).toContain("#SBATCH --cpus-per-task=4");
    expect(lines).toContain("#SBATCH --requeue");
    expect(lines.at(-2)).toMatch(/^exec \S+node\S* \S+cli\.js sweep \/home\/me\/sweep\.yaml /);
    expect(lines.at(-2)).toMatch(/ --seed 7 --jobs 4 --quiet --shard "\$SLURM_ARRAY_TASK_ID\/9"$/);
  });

  it("quotes names for the shell", () => {
    expect(jobScript(job)).toContain(`--dir '/scratch/it'\\''s'`);
  });

  it("has the user's options last, so that they win", () => {
    const options = jobScript(job)
      .split("\n")
      .filter((line) => line.startsWith("#SBATCH"));
    expect(options.slice(-2)).toEqual(["#SBATCH --partition=short", "#SBATCH --mem=2G"]);
  });

  it("is printed by --dry-run, and nothing is submitted or written", () => {
    const spec = folder.write("dry.yaml", GRID);
    const result = mmulab("sweep", spec, "--slurm", "--tasks", "5", "--dry-run", "--", "--time=10");
    expect(result).toMatchObject({ status: 0, stderr: "" });
    expect(result.stdout).toContain("#SBATCH --array=1-5\n");
    expect(result.stdout).toContain("#SBATCH --time=10\n");
    expect(readdirSync(folder.path).filter((name) => name.startsWith("dry"))).toEqual(["dry.yaml"]);
  });
});

describe("lists of array tasks", () => {
  it.each([
    [[1], "1"],
    [[3, 1, 2], "1-3"],
    [[1, 3, 4, 8], "1,3-4,8"],
  ])("%j is %s", (numbers, text) => expect(ranges(numbers)).toBe(text));
});

it("tasks are told by state, with why they wait", () => {
  expect(
    describeTasks([
      { state: "RUNNING", reason: "None", tasks: 3 },
      { state: "PENDING", reason: "BeginTime", tasks: 1 },
    ]),
  ).toBe("3 running, 1 pending (BeginTime)");
});

it.each([
  [["--slurm", "--shard", "1/2"], /--slurm makes its parts itself/],
  [["--tasks", "3"], /--tasks and --dry-run are for --slurm/],
  [["--", "--mem=2G"], /options of sbatch, --tasks and --dry-run are for --slurm/],
  [["--dir", "x", "--out", "y"], /--dir keeps results in a folder/],
])("%j is answered with one line and exit code 2", (args, message) => {
  const result = mmulab("sweep", folder.write("grid.yaml", GRID), ...args);
  expect(result).toMatchObject({ status: 2, stdout: "" });
  expect(result.stderr).toMatch(message);
});

it.skipIf(HAS_SLURM)("a machine without Slurm says so in one line", () => {
  expect(() => sbatch("#!/bin/sh\n")).toThrow(SlurmError);
});

describe.runIf(HAS_SLURM)("a sweep on a cluster", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start(3);
  }, 60_000);
  afterAll(() => cluster.stop());

  it("loses nothing with a node, and gives the table of a single run", { timeout: 300_000 }, async () => {
    const spec = folder.write("array.yaml", GRID);
    const single = mmulab("sweep", spec, "--json");
    expect(single.status).toBe(0);
    const args = [CLI, "sweep", spec, "--slurm", "--tasks", "12", "--poll", "1", "--json", "--quiet"];
    const child = spawn(process.execPath, args, { env: cluster.environment, stdio: ["ignore", "pipe", "pipe"] });
    const texts = { stdout: "", stderr: "" };
    child.stdout.on("data", (text) => (texts.stdout += text));
    child.stderr.on("data", (text) => (texts.stderr += text));
    const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
    const tasks = () =>
      cluster
        .run("squeue", "--array", "--noheader", "--format=%F_%K|%T|%N|%r")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => line.split("|"));

    await until(() => tasks().some(([, state, node]) => state === "RUNNING" && node === "node2"));
    const lost = tasks().filter(([, , node]) => node === "node2");
    cluster.lose("node2");
    // Slurm queues the lost tasks again, and holds them for two minutes.
    await until(() => lost.every(([task]) => tasks().some(([each, state]) => each === task && state === "PENDING")));
    for (const [task] of lost) cluster.run("scontrol", "update", `JobId=${task}`, "StartTime=now");

    expect(await ended, texts.stderr).toBe(0);
    expect(resultIn(texts.stdout)).toEqual(resultIn(single.stdout));
    const { done, points } = JSON.parse(mmulab("sweep", "status", join(folder.path, "array.sweep"), "--json").stdout);
    expect([done, points]).toEqual([12, 12]);
    // Nothing is left to do: the same command submits no job.
    const again = mmulab("sweep", spec, "--slurm", "--json");
    expect(again).toMatchObject({ status: 0, stderr: "" });
    expect(resultIn(again.stdout)).toEqual(resultIn(single.stdout));
  });
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 100));
}
