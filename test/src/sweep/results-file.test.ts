/** The file of a sweep's results: what is in it is checked, nothing finished is lost, one process at a time adds to it. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { headerLine, resultLine } from "../../../src/sweep/result-lines.ts";
import { ResultsFile, readResults } from "../../../src/sweep/results-file.ts";
import { readSweepSpec, sweepPoints } from "../../../src/sweep/spec.ts";
import { temporaryFolder } from "../fixtures.ts";
import { CLI, mmulab, resultIn } from "../run-cli.ts";

const { path: root, write } = temporaryFolder();
/** How often a sweep is killed. */
const KILLS = Number(process.env.MMULAB_KILLS ?? 4);
const specPath = write("grid.yaml", "workload: mixed\nseeds: 3\ngrid:\n  cpus: [1, 2]\n  operations: 30\n");
const spec = readSweepSpec(specPath);
const points = sweepPoints(spec);
const other = readSweepSpec(
  write("other.yaml", "workload: mixed\nseeds: 3\ngrid:\n  cpus: [1, 2]\n  operations: 31\n"),
);
const lineOf = (index: number, of = spec): string =>
  resultLine({ point: points[index], result: { tables: [{ name: "run", rows: [{ purges: index }] }] } }, of);
const header = headerLine(spec);
let files = 0;
const fileOf = (...lines: string[]): string => write(`results-${files++}.jsonl`, lines.join("\n"));

function refusalOf(file: string): string {
  try {
    readResults(file, spec);
  } catch (error) {
    return (error as Error).message.slice(file.length);
  }
  return "it was accepted";
}

describe("a file of results", () => {
  it("is refused at the line that is not what the sweep has written", () => {
    const good = lineOf(1);
    const cases: [string[], RegExp][] = [
      [
        [header, lineOf(0), good.replace('"purges":1', '"purges":7'), ""],
        /^:3: was changed, damaged, or is of another sweep/,
      ],
      [[header, lineOf(1, other), ""], /^:2: was changed, damaged, or is of another sweep/],
      [[header, good, lineOf(2), good, ""], /^:4: is a second result of point 1$/],
      [[header, JSON.stringify({ point: points[0], result: { tables: [] } }), ""], /^:2: is no result of a sweep$/],
      [[header, "", good, ""], /^:2: is no result of a sweep$/],
      [
        [header, resultLine({ point: { ...points[0], index: 6 }, result: { tables: [] } }, spec), ""],
        /^:2: .*point that the grid does not have \(index 6\)$/,
      ],
      [
        [header, resultLine({ point: { ...points[0], seed: 9 }, result: { tables: [] } }, spec), ""],
        /^:2: .*point that the grid does not have/,
      ],
      [
        [header, resultLine({ point: { ...points[0], index: -1 }, result: { tables: [] } }, spec), ""],
        /^:2: .*point that the grid does not have/,
      ],
      [[headerLine(other), ""], /^:1: holds results of another sweep/],
      [[headerLine({ ...spec, program: "0.0.9", key: "0" }), ""], /^:1: holds results of mmulab 0\.0\.9, this is \d/],
      [[header.replace('"version":3', '"version":1'), ""], /^:1: holds results in version 1 of the format/],
      [['{"some":"json"}'], /^:1: is not a file of sweep results/],
      [["text without a newline"], /^:1: is not a file of sweep results/],
    ];
    for (const [lines, message] of cases) expect(refusalOf(fileOf(...lines))).toMatch(message);
  });

  it("is refused for any single changed byte of a whole line, and the file is left as it is", () => {
    const text = `${header}\n${lineOf(0)}\n${lineOf(1)}\n`;
    const start = header.length + 1;
    for (let at = start; at < text.length - 1; at += 7) {
      const bytes = Buffer.from(text);
      bytes[at] ^= 1;
      const file = write("changed.jsonl", bytes);
      expect(refusalOf(file), `byte ${at}`).toMatch(/^:[23]: /);
      expect(() => new ResultsFile(file, spec)).toThrow();
      expect(readFileSync(file)).toEqual(bytes);
      expect(existsSync(`${file}.lock`)).toBe(false);
    }
  });

  it("is gone on with wherever it was cut off: whole lines stay, the rest is run again", () => {
    const text = `${header}\n${lineOf(0)}\n${lineOf(1)}\n`;
    for (let length = 0; length <= text.length; length++) {
      const file = write("cut.jsonl", text.slice(0, length));
      const results = new ResultsFile(file, spec);
      // A last line that lacks nothing but its newline is whole.
      const whole = text.split("\n").filter((_, i, lines) => lines.slice(0, i + 1).join("\n").length <= length);
      expect(results.finished.size, `cut to ${length} bytes`).toBe(Math.max(0, Math.min(2, whole.length - 1)));
      results.add({ point: points[2], result: { error: "none" } });
      results.close();
      expect(readResults(file, spec).points.map(({ point }) => point.index)).toContain(2);
      expect(readFileSync(file, "utf8").endsWith("\n")).toBe(true);
    }
  });
});

describe("two sweeps on one file", () => {
  it("are not possible, by whatever name; a lock of a dead process does not count", () => {
    const file = fileOf(header, "");
    symlinkSync(file, `${file}.link`);
    const results = new ResultsFile(file, spec);
    for (const name of [file, `${file}.link`]) {
      const second = mmulab("sweep", specPath, "--out", name);
      expect(second).toMatchObject({ status: 2, stdout: "" });
      expect(second.stderr).toMatch(
        new RegExp(
          `^mmulab: .*: another sweep is adding to it \\(process ${process.pid}\\); remove .*\\.lock if that is not so\n$`,
        ),
      );
    }
    results.close();
    const { pid } = spawnSync(process.execPath, ["--version"]);
    for (const holder of [
      { host: hostname(), pid, began: "1" },
      { host: hostname(), pid: process.pid, began: "1" },
    ]) {
      writeFileSync(`${file}.lock`, `${JSON.stringify(holder)}\n`);
      new ResultsFile(file, spec).close();
      expect(existsSync(`${file}.lock`)).toBe(false);
    }
    writeFileSync(`${file}.lock`, `${JSON.stringify({ host: "elsewhere", pid, began: "1" })}\n`);
    expect(() => new ResultsFile(file, spec)).toThrow(`another sweep is adding to it (process ${pid} on elsewhere)`);
    writeFileSync(`${file}.lock`, "?");
    new ResultsFile(file, spec).close();
  });
});

describe("a sweep that is killed", () => {
  it("again and again loses nothing that was finished, and ends with the table of one that was not", async () => {
    const here = mkdtempSync(join(root, "killed-"));
    const [cut, whole] = ["cut.jsonl", "whole.jsonl"].map((name) => join(here, name));
    // Each kill waits for one more point.
    const points = write("killed.yaml", readFileSync(specPath, "utf8").replace("seeds: 3", `seeds: ${KILLS}`));
    const arguments_ = (out: string) => [CLI, "sweep", points, "--out", out, "--jobs", "1", "--json"];
    const start = (): ChildProcess => spawn(process.execPath, arguments_(cut), { stdio: "ignore" });
    let before: string[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      const child = start();
      const ended = new Promise((resolve) => child.on("close", resolve));
      const linesBefore = before.length;
      while (child.exitCode === null && linesIn(cut).length <= linesBefore) await new Promise((r) => setTimeout(r, 5));
      child.kill("SIGKILL");
      await ended;
      const after = linesIn(cut);
      expect(after.slice(0, before.length)).toEqual(before);
      before = after;
      appendFileSync(cut, '{"point":{"index"');
    }
    const tables = [cut, whole].map((out) => spawnSync(process.execPath, arguments_(out), { encoding: "utf8" }));
    expect(tables[0]).toMatchObject({ status: 0, stderr: "" });
    const [resumed, single] = tables.map(({ stdout }) => resultIn(stdout));
    expect(resumed).toEqual(single);
    expect(readdirSync(here).sort()).toEqual(["cut.jsonl", "whole.jsonl"]);
  });
});

const linesIn = (file: string): string[] =>
  existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(0, -1) : [];

const SMALL_DISK = 'mount -t tmpfs -o size=8k tmpfs "$1" && cd "$1"';
const canMount = spawnSync("unshare", ["-rm", "sh", "-c", SMALL_DISK, "sh", root]).status === 0;

describe("a sweep on a full disk", () => {
  it.runIf(canMount)("ends with one line; what was finished stays, whole", () => {
    const here = mkdtempSync(join(root, "full-"));
    // Two pages: the lock is gone with the sweep, the results fill what is left.
    const script = `${SMALL_DISK} || exit 9; "$2" "$3" sweep "$4" --out r.jsonl --jobs 2 --json > /dev/null
      echo "exit $?" >&2; ls; cat r.jsonl`;
    const large = write("large.yaml", readFileSync(specPath, "utf8").replace("seeds: 3", "seeds: 12"));
    const args = ["-rm", "sh", "-c", script, "sh", here, process.execPath, CLI, large];
    const result = spawnSync("unshare", args, { encoding: "utf8" });
    expect(result.stderr).toMatch(
      /^mmulab: cannot write r\.jsonl: the disk is full; (\d+) of 24 points are in r\.jsonl, the same command goes on\nexit 2\n$/,
    );
    const [listing, ...lines] = result.stdout.trimEnd().split("\n");
    expect(listing).toBe("r.jsonl");
    const file = fileOf(...lines, "");
    expect(readResults(file, readSweepSpec(large)).points).toHaveLength(Number(/(\d+) of 24/.exec(result.stderr)?.[1]));
  });
});
