/** Templates of workloads, policies, presets and experiments: each runs as it is, and fits the library's types. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { findExperiment, runExperiment } from "../../../src/experiments/index.ts";
import { loadExperimentFile } from "../../../src/experiments/own-experiment.ts";
import { parameterListProblem, parseParameters } from "../../../src/input/parameters.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { runOnKernel } from "../../../src/runs/run.ts";
import { loadPolicyFile } from "../../../src/settings/own-policy.ts";
import { readPresetFile } from "../../../src/settings/preset-file.ts";
import { findPreset } from "../../../src/settings/presets.ts";
import { loadOwnCodeOfSpec, readSweepSpec, sweepPoints } from "../../../src/sweep/spec.ts";
import runTask from "../../../src/sweep/worker.ts";
import { TEMPLATES } from "../../../src/templates/index.ts";
import { loadWorkload } from "../../../src/workloads/index.ts";
import { temporaryFolder } from "../fixtures.ts";
import { mmulab, resultIn } from "../run-cli.ts";

const folder = temporaryFolder();
const ROOT = join(import.meta.dirname, "../../..");
const write = (kind: string, name = `my-${kind}`): string =>
  folder.write(`${name}${TEMPLATES[kind].ending}`, TEMPLATES[kind].text(name));

describe("the templates", () => {
  it("fit the types of the library", () => {
    const files = ["workload", "policy", "experiment"].map((kind) => write(kind, `typed-${kind}`));
    const program = ts.createProgram(files, {
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      allowImportingTsExtensions: true,
      target: ts.ScriptTarget.ES2023,
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      types: ["node"],
      typeRoots: [join(ROOT, "node_modules/@types")],
      paths: {
        mmulab: [join(ROOT, "src/index.ts")],
        "mmulab/arch": [join(ROOT, "arch/index.ts")],
        "mmulab/mm": [join(ROOT, "mm/index.ts")],
      },
    });
    const found = files.flatMap((file) => ts.getPreEmitDiagnostics(program, program.getSourceFile(file)));
    expect(found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, " "))).toEqual([]);
  }, 60_000);

  it("of a workload and a policy run together, and every load gives what was stored", async () => {
    const workload = await loadWorkload(write("workload"));
    const flushPolicy = await loadPolicyFile(write("policy"));
    const kernel = bootKernel({ cpus: 2, flushPolicy, vmalloc: { lazyMaxPages: 50 } });
    const parameters = parseParameters("own", workload.parameters ?? [], ["live=5"]);
    const report = runOnKernel(kernel, workload, { operations: 200, seed: 1, parameters });
    expect(report.memory.wrongLoads).toBe(0);
    expect(report.operations.vmalloc.done).toBe(200);
    expect(report.vmalloc.fullFlushes).toBeGreaterThan(0);
    expect(kernel.verify()).toEqual([]);
  });

  it("of an experiment and a preset run, the experiment with each of its parameters and settings", async () => {
    const file = write("experiment");
    expect(await loadExperimentFile(file)).toBe(findExperiment(file));
    const preset = readPresetFile(write("preset"));
    expect(preset).toMatchObject({ ...findPreset("skylake"), name: "my-preset", description: expect.any(String) });
    const run = (areas: string) => runExperiment(findExperiment(file), preset, 1, { cpus: "1,4", areas });
    const [few, many] = [run("4"), run("400")].map(({ tables }) => tables[0].rows.map((row) => Number(row[1])));
    expect(few[1]).toBeGreaterThan(few[0]);
    expect(many[1]).toBeGreaterThan(few[1]);
  });

  it("are in sweeps what those that come with the program are, and part of what identifies a sweep", async () => {
    const [workload, policy] = [write("workload", "swept"), write("policy", "swept-policy")];
    const spec = folder.write(
      "own.yaml",
      `workload: ${workload}\ngrid:\n  policy: [ipi, ${policy}]\n  operations: 50\n  live: [3]\n`,
    );
    await loadOwnCodeOfSpec(spec);
    const read = readSweepSpec(spec);
    for (const point of sweepPoints(read)) {
      const result = await runTask({ spec: read, point });
      expect(result).toMatchObject({ tables: [{ rows: [{ wrongLoads: 0 }] }] });
    }
    writeFileSync(workload, `${readFileSync(workload, "utf8")}\n// changed\n`);
    expect(readSweepSpec(spec).key).not.toBe(read.key);
  });
});

describe("a policy of one's own", () => {
  it("is one of those that an experiment compares, in sweeps too", async () => {
    const file = write("policy", "compared");
    const given = ["--policies", `ipi,${file}`, "--threads", "1", "--loops", "20", "--json"];
    const { tables } = resultIn(mmulab("experiment", "madvise-loop", ...given).stdout);
    expect(tables[0].rows.map(([policy]: string[]) => policy)).toEqual(["ipi", "compared"]);
    const grid = `grid:\n  policies: ["ipi,${file}"]\n  threads: ["1"]\n  loops: [20]\n`;
    const spec = folder.write("compared.yaml", `experiment: madvise-loop\n${grid}`);
    await loadOwnCodeOfSpec(spec);
    const read = readSweepSpec(spec);
    const [point] = sweepPoints(read);
    const result = await runTask({ spec: read, point });
    expect(result).toMatchObject({ tables: [{ rows: [{ policy: "ipi" }, { policy: "compared" }] }] });
    writeFileSync(file, `${readFileSync(file, "utf8")}\n// changed\n`);
    expect(readSweepSpec(spec).key).not.toBe(read.key);
  });

  it("that is not there is told in one line", () => {
    expect(mmulab("experiment", "madvise-loop", "--policies=ipi,./nowhere.ts")).toMatchObject({
      status: 2,
      stderr: "mmulab: ./nowhere.ts: no such file\n",
    });
  });
});

describe("mmulab new", () => {
  it("writes a file that its command line runs, and never overwrites one", () => {
    const file = join(folder.path, "fresh-policy");
    const made = mmulab("new", "policy", file);
    expect(made).toMatchObject({
      status: 0,
      stderr: "",
      stdout: `wrote ${file}.ts\n  $ mmulab run --policy ${file}.ts\n`,
    });
    const ran = mmulab("run", "mixed", "--ops", "50", "--policy", `${file}.ts`, "--json");
    expect(JSON.parse(ran.stdout)).toMatchObject({
      machine: { settings: { policy: "fresh-policy" } },
      memory: { wrongLoads: 0 },
    });
    const again = mmulab("new", "policy", file);
    expect(again).toMatchObject({
      status: 2,
      stdout: "",
      stderr: `mmulab: ${file}.ts exists; it is not overwritten\n`,
    });
  });
});

describe("files of one's own that are wrong", () => {
  it.each([
    ["export default 5;", /is no flush policy: expected export default policy/],
    ['export default { name: "ipi", summary: "x" };', /name is ipi, expected one that no other policy has/],
    [
      'export default { name: "x", summary: "x", eager: false, check: () => {} };',
      /flush is undefined, expected a function/,
    ],
  ])("%s is told in one line", async (text, message) => {
    await expect(loadPolicyFile(folder.write(`bad${text.length}.mjs`, text))).rejects.toThrow(message);
  });

  it("are told in one line as experiments and as parameters too", async () => {
    const file = folder.write("bad-experiment.mjs", 'export default { name: "x" };');
    await expect(loadExperimentFile(file)).rejects.toThrow(/summary is undefined, expected a text/);
    const base = { name: "a", summary: "b", default: 1 };
    expect(parameterListProblem([{ ...base, kind: "integer", low: 0, high: 2 }])).toBeNull();
    expect(parameterListProblem([{ ...base, kind: "integer" }])).toBe("a has no low and high");
    expect(parameterListProblem([{ ...base, kind: "number" }])).toMatch(/kind number, expected integer, boolean/);
    expect(parameterListProblem([{ ...base, kind: "text" }])).toBe("the default of a is not of kind text");
  });
});
