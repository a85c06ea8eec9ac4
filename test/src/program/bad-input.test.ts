/** Files and options that a new user gets wrong, for every command: one clear line, exit code 2, nothing written. */
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fixture, temporaryFolder } from "../fixtures.ts";
import { mmulab } from "../run-cli.ts";

const folder = temporaryFolder();
const EMPTY = folder.write("empty", "");
const NOISE = folder.write("noise", Buffer.concat([Buffer.from([0xff, 0xfe]), randomBytes(5000)]));
const JSON_FILE = folder.write("package.json", '{"name":"x"}\n');
const RECORDING = fixture("fix_smp1_s1");
const TRACE = join(import.meta.dirname, "../../traces/true.lackey.gz");
const CUT_RECORDING = folder.write("cut.jsonl.gz", readFileSync(RECORDING).subarray(0, 20_000));
const CUT_TRACE = folder.write("cut.lackey.gz", readFileSync(TRACE).subarray(0, 5000));
const SWEEP = folder.write("sweep.yaml", "workload: mixed\ngrid:\n  cpus: [1]\n  operations: 50\n");
const WAITS_FOR_EVER = folder.write("waits.mjs", "await new Promise(() => {}); export default function* () {}");
const CONTROL_CHARACTER = folder.write("control.json", '{\n "name": "a\u0000b"\n}');
const FOLDER = join(folder.path, "sub");
mkdirSync(FOLDER);
const NOWHERE = join(folder.path, "none", "file");
const MISSING = join(folder.path, "missing");

/** Arguments, and what the line must say. */
type Case = readonly [args: readonly string[], says: RegExp];

const FILES: readonly Case[] = [
  [["replay", EMPTY], /empty: is empty/],
  [["replay", FOLDER], /sub: is a directory, not a file/],
  [["replay", NOISE], /noise:1: not UTF-8 text from here on/],
  [["replay", JSON_FILE], /package\.json:1: not a recording: its first line has no "header"/],
  [["replay", TRACE], /true\.lackey\.gz: is text of valgrind's lackey, not a recording: mmulab replay --lackey .*gz$/m],
  [["replay", CUT_RECORDING], /cut\.jsonl\.gz:\d+: the gzip data ends too early/],
  [["replay", "--lackey", EMPTY], /empty: is empty/],
  [["replay", "--lackey", MISSING], /missing: no such file/],
  [["replay", "--lackey", FOLDER], /sub: is a directory/],
  [["replay", "--lackey", CUT_TRACE], /cut\.lackey\.gz:\d+: the gzip data ends too early/],
  [["replay", "--lackey", JSON_FILE], /package\.json:1: no line is a reference of valgrind's lackey \(such as/],
  [["replay", "--champsim", TRACE], /true\.lackey\.gz: record 1: is no instruction of ChampSim/],
  [["replay", "--drmemtrace", FOLDER], /sub: is a folder without \*\.trace/],
  [
    ["replay", "--references", JSON_FILE],
    /package\.json: is no trace of references .*lackey's .*drmemtrace's .*ChampSim's/,
  ],
  [["replay", "--references", NOISE], /noise: is no trace of references that is known/],
  [["replay", "--ftrace", EMPTY], /empty: is empty/],
  [["replay", "--ftrace", NOISE], /noise:1: not UTF-8 text/],
  [["replay", "--ftrace", JSON_FILE], /package\.json:1: no line is ftrace text of a vmalloc event \(such as/],
  [["run", "--load", EMPTY], /empty: is empty/],
  [["run", "--load", NOISE], /noise: is not a state that mmulab saved/],
  [["run", FOLDER], /sub: is not a file/],
  [["inspect", "tlb", MISSING], /missing: no such file/],
  [["inspect", "tlb", EMPTY], /empty: is empty/],
  [["inspect", "tlb", CUT_RECORDING], /the gzip data ends too early/],
  [
    ["sweep", EMPTY],
    /empty:1:1: is no sweep: expected a mapping with workload, experiment, references or ftrace, and grid/,
  ],
  [["sweep", FOLDER], /sub: is a directory/],
  [["sweep", SWEEP, "--out", FOLDER], /cannot write .*sub: it is a directory/],
  [["sweep", SWEEP, "--with", JSON_FILE], /package\.json:1: is not a file of sweep results/],
];

const OUTPUTS: readonly Case[] = [
  [["run", "--save", NOWHERE], /cannot write .*file: its folder does not exist/],
  [["run", "--events", `${NOWHERE}.csv`], /cannot write .*file\.csv: its folder does not exist/],
  [["run", "--timeline", FOLDER], /cannot write .*sub: it is a directory/],
  [["inspect", "meminfo", "--save", join(EMPTY, "x")], /cannot write .*x: a part of its path is not a directory/],
  [["experiment", "page-tables", "--html", NOWHERE], /cannot write .*file: its folder does not exist/],
  [["experiment", "page-tables", "--timeline", FOLDER], /cannot write .*sub: it is a directory/],
];

const COMBINATIONS: readonly Case[] = [
  [["help", "sweeep"], /unknown command 'sweeep' \(did you mean sweep\?\)/],
  [["help", "experiment", "flush-costs"], /unknown command 'flush-costs' \(did you mean flush-cost\?\)/],
  [
    ["replay", RECORDING, "--pages", "2M"],
    /--pages goes with references \(--lackey, .*\), not with recordings of a real kernel/,
  ],
  [["replay", "--lackey", TRACE, "--policy", "eager"], /--policy goes with --ftrace, not with references/],
  [["replay", RECORDING, "--cpus", "4"], /--cpus goes with references \(.*\) or --ftrace, not with recordings/],
  [["replay", "--lackey", TRACE, "--champsim", TRACE], /--lackey and --champsim exclude each other/],
  [["replay", "--references", TRACE, "--ftrace", TRACE], /--references and --ftrace exclude each other/],
  [["replay", "--lackey", TRACE, "--json", "-x,"], /--json and -x: expected one of them/],
  [
    ["replay", "--ftrace", TRACE, "--differences", "2"],
    /--differences goes with recordings of a real kernel, not with --ftrace/,
  ],
  [["replay", "--seed", "-1", RECORDING], /'-1' is invalid/],
  [["inspect", "meminfo", "--cpu", "1"], /--cpu is for tlb, psc and walk, not for meminfo/],
  [["inspect", "vmallocinfo", "--address", "0x1"], /--address is for walk, not for vmallocinfo/],
  [["inspect", "tlb", "--run", "fork_storm lives=3"], /fork_storm has no parameter 'lives' \(did you mean live\?\)/],
  [["inspect", "tlb", "--run", "test_vmalloc", "--ops", "9"], /test_vmalloc does not take --ops/],
  [["inspect", "tlb", "--cpus", "2", "--cpu", "7"], /there is no CPU 7: the machine has 2, from 0/],
  [
    ["run", "fork_storm", "live=99999999999"],
    /parameter live: '99999999999'; expected a whole number from 1 to 100000/,
  ],
  [["run", "--preset", CONTROL_CHARACTER], /control\.json:2:\d+: is not JSON: Bad control character/],
  [["run", WAITS_FOR_EVER], /nothing is left to run, but a file of one's own still waits/],
  [["run", "--load", EMPTY, "--cpus", "2"], /--cpus does not go with --load/],
  [["sweep", SWEEP, "--seed", "1.5"], /'1\.5' is invalid/],
  [
    ["experiment", "unmap-threads", "--topology", "2x4x1", "--threads", "16"],
    /--threads 16: expected 1 to 8, a CPU for each/,
  ],
  [
    ["experiment", "unmap-threads", "--cpus", "2", "--threads", "4,16"],
    /--threads 4,16: expected 1 to 2, a CPU for each/,
  ],
  [
    ["experiment", "vmap-contention", "--cpus", "1,2", "--workers", "32"],
    /--workers 32: expected 1 to 2, a CPU for each/,
  ],
  [["experiment", "madvise-loop", "--cpus", "1", "--threads", "2,4"], /--threads 2,4: expected 1 to 1, a CPU for each/],
  [["experiment", "user-flush", "--of", "mean,least"], /--of mean,least: expected one of mean, least/],
  [
    ["experiment", "madvise-loop", "--pages", "300", "--mapping", "256"],
    /--pages 300: expected at most the 256 of --mapping, or --mapping 0/,
  ],
  [["experiment", "flush-cost", "--cpus", "1,99999"], /--cpus 1,99999: expected whole numbers from 1 to 1024/],
];

describe("what a new user gets wrong", () => {
  it.each([...FILES, ...OUTPUTS, ...COMBINATIONS])("%j is answered with one line and exit code 2", (args, says) => {
    const before = readdirSync(folder.path).sort();
    const result = mmulab(...args);
    expect(result.status, result.stderr).toBe(2);
    expect(result.stdout).toBe("");
    expect(result.stderr).toMatch(says);
    expect(result.stderr).toMatch(/^mmulab: [^\n]+\n$/);
    expect(readdirSync(folder.path).sort()).toEqual(before);
  });
});

describe("every command", () => {
  const experiments = ["flush-cost", "flush-ceiling", "lazy-threshold", "vmap-contention", "page-tables"];
  const commands = [["run"], ["replay"], ["inspect"], ["sweep"], ...experiments.map((name) => ["experiment", name])];

  it.each(commands)("%s %s has help with an example, --json, --seed and --quiet", (...names) => {
    const result = mmulab(...names, "--help");
    expect(result).toMatchObject({ status: 0, stderr: "" });
    expect(result.stdout).toMatch(/Examples?:\n {2}\$ mmulab /);
    for (const option of ["--json", "--seed", "--quiet"])
      expect(result.stdout).toMatch(new RegExp(`^ +${option} `, "m"));
    expect(result.stdout).not.toMatch(/default: (null|\[|\{)/);
  });
});

describe("mmulab inspect --run", () => {
  it("takes the workload's parameters, and --quiet says nothing", () => {
    const shown = mmulab("inspect", "meminfo", "--run", "test_vmalloc test_loop_count=5 run_test_mask=1", "--json");
    expect(JSON.parse(shown.stdout).source).toBe(
      "4 CPUs after test_vmalloc, test_loop_count=5 run_test_mask=1, seed 1",
    );
    expect(mmulab("inspect", "meminfo", "--quiet")).toMatchObject({ status: 0, stdout: "", stderr: "" });
  });
});
