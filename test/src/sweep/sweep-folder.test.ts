/** Sweeps that several processes work on: a folder with a file of results for each attempt at a part. */
import { spawnSync } from "node:child_process";
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parquetReadObjects } from "hyparquet";
import { describe, expect, it } from "vitest";
import { resultLine } from "../../../src/sweep/result-lines.ts";
import { readSweepSpec, sweepPoints } from "../../../src/sweep/spec.ts";
import { shardPoints } from "../../../src/sweep/sweep.ts";
import { FolderReader, FolderResults, openSweepFolder, sweepOfFolder } from "../../../src/sweep/sweep-folder.ts";
import { temporaryFolder } from "../fixtures.ts";
import { CLI, mmulab, resultIn } from "../run-cli.ts";

const files = temporaryFolder();
const GRID = "workload: mixed\nseeds: 2\ngrid:\n  cpus: [1, 2]\n  lazy_max_pages: [100, 10000]\n  operations: 300\n";
const spec = files.write("grid.yaml", GRID);
const single = resultIn(mmulab("sweep", spec, "--json").stdout);
let folders = 0;
const newFolder = (): string => join(files.path, `sweep-${++folders}`);

const status = (folder: string) => {
  const result = mmulab("sweep", "status", folder, "--json");
  return { code: result.status, ...JSON.parse(result.stdout) };
};

describe("shards", () => {
  const grid = readSweepSpec(
    files.write("large.yaml", "workload: mixed\ngrid:\n  operations: [1,2,3,4,5,6,7,8,9,10]\n  cpus: [1, 4, 16, 64]\n"),
  );

  it.each([1, 2, 3, 4, 7, 40, 41])("%i of them have every point once, and differ by one point at most", (parts) => {
    const shards = Array.from({ length: parts }, (_, i) => shardPoints(grid, { part: i + 1, parts }));
    const indexes = shards.flat().map(({ index }) => index);
    expect(indexes.sort((a, b) => a - b)).toEqual(sweepPoints(grid).map(({ index }) => index));
    const sizes = shards.map((points) => points.length);
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
  });

  it("do not follow the columns of the grid: none has all the large machines", () => {
    for (const parts of [2, 4]) {
      for (let part = 1; part <= parts; part++) {
        const cpus = new Set(shardPoints(grid, { part, parts }).map(({ values }) => values.cpus));
        expect(cpus.size).toBeGreaterThan(1);
      }
    }
  });
});

describe("a sweep in a folder", () => {
  it("is merged before any point is done: none of them are, whatever columns are asked for", () => {
    const folder = newFolder();
    openSweepFolder(folder, spec, 1);
    const merged = mmulab("sweep", "merge", folder, "--columns", "flushes");
    expect(merged).toMatchObject({ status: 1, stderr: "mmulab: 0 of 8 points are done\n" });
  });

  it("is the table of a single run when all its parts have run", () => {
    const folder = newFolder();
    for (const part of [1, 2, 3]) {
      const result = mmulab("sweep", spec, "--dir", folder, "--shard", `${part}/3`, "--quiet");
      expect(result).toMatchObject({ status: 0, stdout: "", stderr: "" });
    }
    const merged = mmulab("sweep", "merge", folder, "--json");
    expect(merged).toMatchObject({ status: 0, stderr: "" });
    expect(resultIn(merged.stdout)).toEqual(single);
    expect(status(folder)).toMatchObject({ code: 0, points: 8, done: 8, failed: 0 });
  });

  it("says how many points are there while some are missing, and ends with 1", () => {
    const folder = newFolder();
    mmulab("sweep", spec, "--dir", folder, "--shard", "2/3", "--quiet");
    const own = shardPoints(readSweepSpec(spec), { part: 2, parts: 3 }).length;
    const merged = mmulab("sweep", "merge", folder, "--json");
    expect(merged).toMatchObject({ status: 1, stderr: `mmulab: ${own} of 8 points are done\n` });
    expect(JSON.parse(merged.stdout).rows).toHaveLength(own);
    expect(status(folder)).toMatchObject({
      code: 1,
      done: own,
      attempts: [{ part: "2/3", attempt: 1, points: own, failed: 0, isRunning: false }],
    });
    const text = mmulab("sweep", "status", folder);
    expect(text.stdout).toContain(`mixed: ${own} of 8 points are done\n`);
  });

  it("gives each attempt a file of its own, and runs no point again that any of them has", () => {
    const folder = newFolder();
    mmulab("sweep", spec, "--dir", folder, "--shard", "1/2", "--quiet");
    const first = join(folder, "part-1-of-2.1.results.jsonl");
    const lines = readFileSync(first, "utf8").trimEnd().split("\n");
    // The first attempt died in the middle of its third line.
    writeFileSync(first, `${lines.slice(0, 3).join("\n")}\n${lines[3].slice(0, 30)}`);
    mmulab("sweep", spec, "--dir", folder, "--shard", "1/2", "--quiet");
    const second = readFileSync(join(folder, "part-1-of-2.2.results.jsonl"), "utf8").trimEnd().split("\n");
    expect(second.slice(1).sort()).toEqual(lines.slice(3).sort());
    // Other parts than before: only what nobody has is left.
    expect(resultIn(mmulab("sweep", spec, "--dir", folder, "--json").stdout)).toEqual(single);
    expect(readdirSync(folder).sort()).toEqual([
      "part-1-of-1.1.results.jsonl",
      "part-1-of-2.1.results.jsonl",
      "part-1-of-2.2.results.jsonl",
      "sweep.json",
    ]);
  });

  it("takes the same result twice, as of a node that was thought lost, but not two different ones", async () => {
    const folder = newFolder();
    mmulab("sweep", spec, "--dir", folder, "--quiet");
    const file = join(folder, "part-1-of-1.1.results.jsonl");
    const twice = join(folder, "part-1-of-2.1.results.jsonl");
    copyFileSync(file, twice);
    expect(resultIn(mmulab("sweep", "merge", folder, "--json").stdout)).toEqual(single);
    const read = sweepOfFolder(folder);
    const [header, line, ...others] = readFileSync(file, "utf8").split("\n");
    const { point, result } = JSON.parse(line);
    result.tables[0].rows[0].purges += 1;
    writeFileSync(twice, [header, resultLine({ point, result }, await read), ...others].join("\n"));
    const merged = mmulab("sweep", "merge", folder);
    expect(merged).toMatchObject({ status: 2, stdout: "" });
    expect(merged.stderr).toMatch(/part-1-of-2\.1\.results\.jsonl: has another result of point \d+ than another file/);
  });

  it("shows who is at work", () => {
    const folder = newFolder();
    const read = openSweepFolder(folder, spec, 1);
    const results = new FolderResults(folder, read, { part: 1, parts: 1 });
    const [point] = sweepPoints(read);
    results.add({ point, result: { error: "no room" } });
    const reader = new FolderReader(folder, read);
    expect(reader.content().attempts).toMatchObject([{ number: 1, isRunning: true, points: [{ point }] }]);
    results.close();
    expect(reader.content().attempts).toMatchObject([{ isRunning: false }]);
    expect(status(folder)).toMatchObject({ done: 1, failed: 1 });
  });

  it("is of one sweep, run by one version of the program", () => {
    const folder = newFolder();
    mmulab("sweep", spec, "--dir", folder, "--quiet");
    const other = files.write("other.yaml", GRID.replace("300", "301"));
    expect(mmulab("sweep", other, "--dir", folder).stderr).toMatch(
      /sweep\.json:1: is of another sweep; choose another --dir/,
    );
    const sweepFile = join(folder, "sweep.json");
    const content = JSON.parse(readFileSync(sweepFile, "utf8"));
    writeFileSync(sweepFile, JSON.stringify({ ...content, program: "0.0.1", key: "0" }));
    expect(mmulab("sweep", spec, "--dir", folder).stderr).toMatch(/is of mmulab 0\.0\.1, this is \d/);
    expect(mmulab("sweep", "merge", folder).stderr).toMatch(/the grid is not the one that was run/);
    writeFileSync(sweepFile, "{}");
    expect(mmulab("sweep", "status", folder).stderr).toMatch(/sweep\.json:1: does not say which sweep this is/);
    expect(mmulab("sweep", "merge", files.path).stderr).toMatch(/is no folder of a sweep: it has no sweep\.json/);
  });
});

describe("the table of a sweep", () => {
  const experiment = files.write("experiment.yaml", "experiment: flush-cost\ngrid:\n  cpus: [2, 4]\n  pages: 1\n");
  const json = JSON.parse(mmulab("sweep", experiment, "--json").stdout);

  it("has all tables of an experiment, each row with the name of its own", () => {
    const policies = (table: string): Set<string> =>
      new Set(
        json.rows.filter((row: { table: string }) => row.table === table).map((row: { policy: string }) => row.policy),
      );
    expect(new Set(json.rows.map((row: { table: string }) => row.table))).toEqual(
      new Set(["flushes", "vunmaps", "munmaps"]),
    );
    expect(policies("vunmaps")).toEqual(new Set(["ipi", "deferred", "eager"]));
    const text = mmulab("sweep", experiment).stdout;
    for (const name of ["flushes", "vunmaps", "munmaps"]) expect(text).toContain(`${name}\n  cpus`);
  });

  it("is flat in a Parquet file, with numbers as numbers", async () => {
    const file = join(files.path, "table.parquet");
    expect(mmulab("sweep", experiment, "--parquet", file, "--quiet")).toMatchObject({
      status: 0,
      stdout: "",
      stderr: "",
    });
    const bytes = readFileSync(file);
    const rows = await parquetReadObjects({
      file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
    });
    const plain = rows.map((row) =>
      Object.fromEntries(
        Object.entries(row)
          .filter(([, value]) => value !== null && value !== undefined)
          .map(([name, value]) => [name, typeof value === "bigint" ? Number(value) : value]),
      ),
    );
    // A column that is words in one table and numbers in another holds words.
    const mixed = new Set(
      json.columns.filter(
        (name: string) =>
          new Set(
            json.rows.filter((row: object) => name in row).map((row: Record<string, unknown>) => typeof row[name]),
          ).size > 1,
      ),
    );
    const expected = json.rows.map((row: Record<string, unknown>) =>
      Object.fromEntries(Object.entries(row).map(([name, value]) => [name, mixed.has(name) ? String(value) : value])),
    );
    expect(plain).toEqual(expected);
  });

  it("of shards that are put together says how many points are missing, and ends with 1", () => {
    const [one, two] = ["one.jsonl", "two.jsonl"].map((name) => join(files.path, name));
    mmulab("sweep", spec, "--shard", "1/3", "--out", one, "--quiet");
    const result = mmulab("sweep", spec, "--shard", "2/3", "--out", two, "--with", one, "--quiet");
    expect(result).toMatchObject({ status: 1, stderr: expect.stringMatching(/^mmulab: [56] of 8 points are done\n$/) });
  });
});

const HAS_PARALLEL = spawnSync("parallel", ["--version"]).status === 0;

it.runIf(HAS_PARALLEL)("GNU parallel runs the parts of a sweep, as docs/sweep.md says", () => {
  const folder = newFolder();
  const log = join(files.path, "joblog");
  const command = `seq 3 | parallel --will-cite --jobs 2 --joblog ${log} "${process.execPath}" ${CLI} sweep ${spec} --dir ${folder} --shard {}/3 --jobs 1 --quiet`;
  const result = spawnSync("sh", ["-c", command], { encoding: "utf8" });
  expect(result).toMatchObject({ status: 0, stderr: "" });
  expect(readFileSync(log, "utf8").trimEnd().split("\n")).toHaveLength(4);
  expect(resultIn(mmulab("sweep", "merge", folder, "--json").stdout)).toEqual(single);
});
