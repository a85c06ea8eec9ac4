import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { resultLine } from "../../../src/sweep/result-lines.ts";
import { runPoint } from "../../../src/sweep/run-point.ts";
import { readSweepSpec, sweepPoints } from "../../../src/sweep/spec.ts";
import { shardPoints } from "../../../src/sweep/sweep.ts";
import { temporaryFolder } from "../fixtures.ts";
import { CLI, mmulab, resultIn } from "../run-cli.ts";

const folder = temporaryFolder();
const GRID = `
workload: mixed
seeds: [5, 6]
grid:
  cpus: [1, 2]
  lazy_max_pages: [100, 10000]
  operations: 400
`;

const specFile = (text: string, name = "sweep.yaml"): string => folder.write(name, text);

describe("the specification of a sweep", () => {
  it("means every combination, the last parameter varying fastest but for the seed", () => {
    const points = sweepPoints(readSweepSpec(specFile(GRID)));
    expect(points.map(({ values, seed }) => `${values.cpus} ${values.lazy_max_pages} ${seed}`)).toEqual([
      "1 100 5",
      "1 100 6",
      "1 10000 5",
      "1 10000 6",
      "2 100 5",
      "2 100 6",
      "2 10000 5",
      "2 10000 6",
    ]);
    expect(points.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it("counts seeds from 1, and has one without any word on them", () => {
    expect(readSweepSpec(specFile("workload: mixed\nseeds: 3\n")).seeds).toEqual([1, 2, 3]);
    expect(readSweepSpec(specFile("workload: mixed\n")).seeds).toEqual([1]);
  });

  it("may mark values and use them again", () => {
    const spec = readSweepSpec(
      specFile("workload: mixed\ngrid:\n  cpus: &two [&one 1, 2]\n  operations: [*one, 7]\n  vmap_nodes: *two\n"),
    );
    expect(spec.grid).toEqual([
      { name: "cpus", values: [1, 2] },
      { name: "operations", values: [1, 7] },
      { name: "vmap_nodes", values: [1, 2] },
    ]);
  });

  it("may give whole numbers as ranges, of figures too, and leaves to an experiment what are its own lists", () => {
    const grid = (text: string) => readSweepSpec(specFile(text)).grid.map(({ values }) => values);
    expect(
      grid(
        "workload: mixed\ngrid:\n  cpus: 1-3\n  operations: [5-6, 9]\n  isolated: [1-2]\n  kernel.callCycles: 4-6\n",
      ),
    ).toEqual([[1, 2, 3], [5, 6, 9], ["1-2"], [4, 5, 6]]);
    expect(grid("experiment: flush-cost\ngrid:\n  cpus: 1-3\n")).toEqual([["1-3"]]);
  });

  it("may have settings of guests where some of its points have one, and an experiment's own parameters of these names", () => {
    const names = (text: string) => readSweepSpec(specFile(text)).grid.map(({ name }) => name);
    expect(names("workload: mixed\ngrid:\n  guest: [false, true]\n  host_pages: [4K, 2M]\n")).toHaveLength(2);
    expect(names("experiment: nested-walk\ngrid:\n  host_pages: [4K, 2M]\n")).toEqual(["host_pages"]);
    expect(names("experiment: guest-shootdown\ngrid:\n  vcpus: [2, 4]\n")).toEqual(["vcpus"]);
  });

  it("has an experiment's own parameters, also where a workload has settings of these names", async () => {
    const spec = readSweepSpec(
      specFile(
        "experiment: lazy-threshold\ngrid:\n  cpus: 1\n  lazy_max_pages: 512\n  frees: 20\n  flush_ceiling_pages: 5\n",
      ),
    );
    const [{ rows }] = runPoint(spec, sweepPoints(spec)[0]);
    expect(rows.map(({ lazyMaxPages }) => lazyMaxPages)).toEqual([512, 8192]);
  });

  it("is refused where lists are nested too deeply", () => {
    const nested = specFile(`workload: mixed\ngrid:\n  cpus: ${"[".repeat(30_000)}`);
    expect(refusalOf(nested)).toMatch(/sweep\.yaml:\d+:\d+: is nested too deeply$/);
  });

  it("has an end: a larger file is not read", () => {
    expect(refusalOf("/dev/zero")).toMatch(/^\/dev\/zero: has more than 4194304 bytes, the most that is read$/);
  });

  it("is cut into shards that have every point once", () => {
    const spec = readSweepSpec(specFile(GRID));
    const parts = [1, 2, 3].flatMap((part) => shardPoints(spec, { part, parts: 3 }));
    expect(parts.map(({ index }) => index).sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it.each([
    ["workload: mixed\n  grid: x", /sweep\.yaml:1:11: Nested mappings/],
    ["workload: mixed\nworkload: mixed", /sweep\.yaml:2:1: Map keys must be unique/],
    ["workload: mixed\ngrid:\n  cpus: 1\n  constructor: 1", /sweep\.yaml:4:3: mixed has no parameter 'constructor'/],
    ["workload: toString", /sweep\.yaml:1:11: unknown workload 'toString'/],
    ["experiment: __proto__", /sweep\.yaml:1:13: unknown experiment '__proto__'/],
    ["workload: mixed\ngrid:\n  cpus: 1\n  __proto__: 1", /sweep\.yaml:4:3: mixed has no parameter '__proto__'/],
    ["workload: mixed\n__proto__: 1", /sweep\.yaml:2:1: unknown key '__proto__'/],
    ["workload: mixed\ngrid:\n  cpus: *c", /sweep\.yaml:3:9: \*c: no value is marked &c before it/],
    ["workload: mixed\ngrid: &g\n  cpus: *g", /sweep\.yaml:3:3: cpus: a mapping: expected a finite number/],
    ["workload: mixed\ngrid:\n  cpus: .nan", /sweep\.yaml:3:9: cpus: \.nan: expected a finite number/],
    ["workload: mixed\ngrid:\n  cpus: [1, 1e400]", /sweep\.yaml:3:13: cpus: 1e400: expected a finite number/],
    ["workload: mixed\ngrid:\n  cpus: [1, [2]]", /sweep\.yaml:3:13: cpus: a list within a list: expected/],
    ["workload: mixed\ngrid:\n  cpus: [2, 1-3]", /sweep\.yaml:3:13: cpus 2 is given twice/],
    ["workload: mixed\ngrid:\n  cpus: 1-2000", /sweep\.yaml:3:9: cpus 1-2000: expected a whole number from 1 to 1024/],
    ["workload: mixed\ngrid:\n  policy: 1-2", /sweep\.yaml:3:11: unknown flush policy '1-2'/],
    ["workload: mixed\ngrid:\n  cpus: [2, 1, 2]", /sweep\.yaml:3:16: cpus 2 is given twice/],
    ["workload: mixed\ngrid:\n  cpus:\n  pti: true", /sweep\.yaml:3:3: cpus has no value|cpus: : expected/],
    ["workload: mixed\ngrid:\n  ? [a]\n  : 1", /sweep\.yaml:3:5: expected a name before the colon/],
    ["workload: [mixed]", /sweep\.yaml:1:11: workload: a list within a list/],
    ["workload: mixed\n---\nworkload: mixed", /sweep\.yaml:2:1: Source contains multiple documents/],
    ["- a\n- b", /is no sweep: expected a mapping/],
    ["", /is no sweep/],
    ["grid:\n  cpus: 4", /expected one of workload, experiment, references, ftrace/],
    ["workload: mixed\nexperiment: flush-cost", /expected either workload or experiment/],
    ["workload: mixd", /unknown workload 'mixd' \(did you mean mixed\?\)/],
    ["experiment: flush-cots", /unknown experiment 'flush-cots' \(did you mean flush-cost\?\)/],
    ["workload: mixed\ngird:\n  cpus: 4", /gird/],
    ["workload: mixed\ngrid:\n  cpu: 4", /mixed has no parameter 'cpu' \(did you mean cpus\?\)/],
    ["workload: mixed\ngrid:\n  cpus: -4", /cpus -4: expected a whole number from 1 to 1024/],
    ["workload: mixed\ngrid:\n  cpus: [1, four]", /cpus four: expected a whole number/],
    ["workload: mixed\ngrid:\n  memory: 4GX", /memory 4GX: expected a size/],
    ["workload: mixed\ngrid:\n  policy: eagre", /unknown flush policy 'eagre' \(did you mean eager\?\)/],
    ["workload: mixed\ngrid:\n  preset: skylke", /unknown preset 'skylke' \(did you mean skylake\?\)/],
    ["workload: mixed\nseeds: 0", /seeds/],
    ["workload: mixed\ngrid:\n  cpus: []", /sweep\.yaml:3:9: cpus: expected at least one value/],
    ["workload: test_vmalloc\ngrid:\n  nr_threads: 99999999", /parameter nr_threads: '99999999'/],
    [
      "workload: mixed\ngrid:\n  host_pages: [4K, 2M]",
      /sweep\.yaml:3:3: host_pages: only guests have it \(guest: true\)/,
    ],
    ["workload: mixed\ngrid:\n  guest: false\n  vcpus: 2", /sweep\.yaml:4:3: vcpus: only guests have it/],
    ["experiment: flush-cost\ngrid:\n  pcpus: 1", /sweep\.yaml:3:3: pcpus: only guests have it/],
    ["experiment: flush-cost\ngrid:\n  pages: some", /--pages some: expected whole numbers/],
    [
      "workload: mixed\nseeds: 10000\ngrid:\n  cpus: [1,2,3,4,5,6,7,8,9,10,11]\n  operations: [1,2,3,4,5,6,7,8,9,10]",
      /has 1100000 points; the most/,
    ],
  ])("%j is refused with one line", (text, message) => {
    const refusal = refusalOf(specFile(text));
    expect(refusal).toMatch(message);
    expect(refusal).not.toContain("\n");
  });
});

function refusalOf(file: string): string {
  try {
    readSweepSpec(file);
  } catch (error) {
    return String((error as Error).message);
  }
  return "it was accepted";
}

describe("mmulab sweep", () => {
  const spec = specFile(GRID, "grid.yaml");
  const out = join(folder.path, "grid.results.jsonl");
  const table = (...args: string[]) => resultIn(mmulab("sweep", spec, "--json", ...args).stdout);

  it("gives one table with a row a point, each as a run by itself gives it", () => {
    const whole = mmulab("sweep", spec, "--json", "--jobs", "2");
    expect(whole).toMatchObject({ status: 0, stderr: "" });
    const { rows, columns } = JSON.parse(whole.stdout);
    expect(columns.slice(0, 4)).toEqual(["cpus", "lazy_max_pages", "operations", "seed"]);
    const read = readSweepSpec(spec);
    const expected = sweepPoints(read).map((point) => ({
      ...point.values,
      seed: point.seed,
      ...runPoint(read, point)[0].rows[0],
    }));
    expect(rows).toEqual(expected);
    expect(new Set(rows.map((row: { purges: number }) => row.purges)).size).toBeGreaterThan(1);
  });

  it("goes on where it stopped, whatever is left of the last line", () => {
    const before = table();
    const text = readFileSync(out, "utf8");
    const lines = text.trimEnd().split("\n");
    expect(lines).toHaveLength(9);
    writeFileSync(out, `${lines.slice(0, 6).join("\n")}\n${lines[6].slice(0, 40)}`);
    expect(table()).toEqual(before);
    expect(readFileSync(out, "utf8").trimEnd().split("\n")).toHaveLength(9);
    // A point that is there is not run again: its row is taken as it stands.
    // Points are written as they are done, so that the first line need not be the first point.
    const isFirst = (line: string): boolean => line.includes('"index":0,');
    expect(lines.filter(isFirst)).toHaveLength(1);
    const read = readSweepSpec(spec);
    const marked = lines.map((line) => {
      if (!isFirst(line)) return line;
      const { point, result } = JSON.parse(line);
      result.tables[0].rows[0].purges = 123456;
      return resultLine({ point, result }, read);
    });
    writeFileSync(out, `${marked.join("\n")}\n`);
    expect(table().rows[0].purges).toBe(123456);
    writeFileSync(out, text);
  });

  it("loses no finished point when it is interrupted", async () => {
    const slow = specFile(GRID.replace("operations: 400", "operations: 60000").replace("[5, 6]", "12"), "slow.yaml");
    const results = join(folder.path, "slow.results.jsonl");
    const child = spawn(process.execPath, [CLI, "sweep", slow, "--jobs", "1"], { stdio: ["ignore", "pipe", "pipe"] });
    let errors = "";
    child.stderr.on("data", (text) => {
      errors += text;
    });
    const linesDone = (): number => (existsSync(results) ? readFileSync(results, "utf8").split("\n").length - 2 : 0);
    while (linesDone() < 2) await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill("SIGINT");
    const code = await new Promise((resolve) => child.on("exit", resolve));
    expect(code).toBe(130);
    const done = linesDone();
    expect(done).toBeGreaterThanOrEqual(2);
    expect(done).toBeLessThan(48);
    expect(errors).toMatch(
      new RegExp(`^mmulab: interrupted; ${done} of 48 points are in .*, the same command goes on\n$`),
    );
    for (const line of readFileSync(results, "utf8").trimEnd().split("\n")) JSON.parse(line);
  });

  it("can be split over machines, and put together again", () => {
    const whole = table();
    const [first, second] = ["first.jsonl", "second.jsonl"].map((name) => join(folder.path, name));
    expect(mmulab("sweep", spec, "--shard", "1/2", "--out", first, "--quiet")).toMatchObject({ status: 0, stdout: "" });
    expect(table("--shard", "2/2", "--out", second).rows).toHaveLength(4);
    expect(table("--shard", "2/2", "--out", second, "--with", first)).toEqual(whole);
  });

  it("prints a table for people and CSV for programs", () => {
    const text = mmulab("sweep", spec, "--columns", "purges,tables");
    expect(text.stdout.split("\n")[0].trim().split(/ {2,}/)).toEqual([
      "cpus",
      "lazy_max_pages",
      "operations",
      "seed",
      "purges",
      "tables",
    ]);
    const csv = mmulab("sweep", spec, "--csv").stdout.trimEnd().split("\n");
    expect(csv).toHaveLength(9);
    expect(csv[0]).toBe([...table().columns, "madeBy"].join(","));
  });

  it("keeps what no machine can do as an error of its row, and ends with 1", () => {
    const odd = specFile("workload: mixed\ngrid:\n  policy: [invlpgb, ipi]\n  operations: 50\n", "odd.yaml");
    const result = mmulab("sweep", odd, "--json");
    expect(result.status).toBe(1);
    const { rows } = JSON.parse(result.stdout);
    expect(rows[0].error).toMatch(/invlpgb/i);
    expect(rows[1].error).toBeUndefined();
    expect(result.stderr).toBe("mmulab: 1 of 2 rows is a failure\n");
  });

  it("sweeps experiments too, with all rows of their tables", () => {
    const experiment = specFile("experiment: flush-cost\ngrid:\n  cpus: [2, 4]\n  pages: 1\n", "experiment.yaml");
    const result = mmulab("sweep", experiment, "--json");
    expect(result).toMatchObject({ status: 0, stderr: "" });
    const { rows } = JSON.parse(result.stdout);
    expect(new Set(rows.map(({ cpus }: { cpus: number }) => cpus))).toEqual(new Set([2, 4]));
  });

  it.each([
    [["none.yaml"], /none\.yaml: no such file/],
    [[""], /^mmulab: '': no such file/],
    [[specFile("workload: mixd", "typo.yaml")], /unknown workload 'mixd' \(did you mean mixed\?\)/],
    [[], /missing required argument 'spec'/],
    [[spec, "--shard", "3/2"], /'3\/2' is invalid. Expected a part such as 2\/3/],
    [[spec, "--shard", "half"], /'half' is invalid/],
    [[spec, "--jobs", "0"], /'0' is invalid/],
    [[spec, "--json", "--csv"], /--json and --csv: expected one of them/],
    [[spec, "--columns", "purge"], /--columns: unknown column 'purge' \(did you mean purges\?\); there are cpus/],
    [[spec, "--with", "none.jsonl"], /none\.jsonl: no such file/],
    [[spec, "--dir", spec], /cannot write .*: it is there already, and no directory/],
    [[spec, "--out", "/no/such/folder/x"], /cannot write \/no\/such\/folder\/x: its folder does not exist/],
    [[spec, "--out", spec], /is the same file as the specification, which is read as well/],
    [[spec, "--out", specFile("a: b\n", "foreign.yaml")], /foreign\.yaml:1: is not a file of sweep results; choose/],
    [[spec, "--out", "/dev/null"], /\/dev\/null: results are kept in a regular file/],
    [[specFile("workload: mixed\n", "other.yaml"), "--out", out], /holds results of another sweep/],
  ])("%j is answered with one line and exit code 2", (args, message) => {
    const result = mmulab("sweep", ...args);
    expect(result).toMatchObject({ status: 2, stdout: "" });
    expect(result.stderr).toMatch(message);
    expect(result.stderr).toMatch(/^mmulab: [^\n]+\n$/);
  });
});
