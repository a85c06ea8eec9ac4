import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "../fixtures.ts";
import { CLI, mmulab, resultIn } from "../run-cli.ts";

const folder = temporaryFolder();

/** Cells of CSV whose texts hold no comma, without the first line, which says what made it. */
function linesOfCsv(text: string): string[][] {
  return text
    .trimEnd()
    .split("\n")
    .filter((line) => !line.startsWith("#"))
    .map((line) => line.split(","));
}

describe("mmulab replay --ftrace", () => {
  it("takes what mmulab run --events wrote, from a file or standard input, for another machine and policy", () => {
    const trace = join(folder.path, "trace.txt");
    expect(mmulab("run", "mixed", "--ops", "1000", "--events", trace, "--quiet")).toMatchObject({
      status: 0,
      stderr: "",
    });
    const text = mmulab("replay", "--ftrace", trace, "--cpus", "8", "--policy", "eager");
    expect(text).toMatchObject({ status: 0, stderr: "" });
    expect(text.stdout).toMatch(
      /trace\.txt: replayed on 8 CPUs \(skylake, [\d.]+ GHz\), Linux 6\.12,\s+flush policy eager/,
    );
    expect(text.stdout).toMatch(/\n {2}areas allocated +[\d,]+ /);
    expect(text.stdout).toMatch(/\n {2}flushing, in all +[\d,]+ /);
    const json = mmulab("replay", "--ftrace", trace, "--json");
    const input = readFileSync(trace);
    // A trace is gone through twice; one that is piped in is kept meanwhile, and nothing of it stays.
    const temporary = join(folder.path, "temporary");
    mkdirSync(temporary);
    const env = { ...process.env, TMPDIR: temporary };
    const piped = spawnSync(process.execPath, [CLI, "replay", "--ftrace", "-", "--json"], {
      input: gzipSync(input),
      encoding: "utf8",
      env,
    });
    expect(readdirSync(temporary)).toEqual([]);
    expect(piped).toMatchObject({ status: 0, stderr: "" });
    expect(resultIn(piped.stdout)).toEqual({ ...resultIn(json.stdout), trace: "standard input" });
  });

  it("writes what --flushes, --timeline, --accounts and --csv ask for, each of it the same flushes", () => {
    const trace = join(folder.path, "purges.txt");
    mmulab("run", "mixed", "--ops", "4000", "--cpus", "4", "--events", trace, "--quiet");
    const [flushes, timeline] = [join(folder.path, "flushes.csv"), join(folder.path, "timeline.json")];
    const written = ["--flushes", flushes, "--timeline", timeline];
    const json = mmulab("replay", "--ftrace", trace, "--cpus", "4", "--accounts", "--json", ...written);
    expect(json).toMatchObject({ status: 0, stderr: "" });
    const report = resultIn(json.stdout);
    expect(report.fullFlushes + report.rangeFlushes).toBeGreaterThan(1);

    const [names, ...rows] = linesOfCsv(readFileSync(flushes, "utf8"));
    expect(rows).toHaveLength(report.fullFlushes + report.rangeFlushes);
    for (const part of ["workCycles", "waitCycles", "stolenCycles", "lineCycles", "refillCycles"]) {
      const sum = rows.reduce((cycles, row) => cycles + Number(row[names.indexOf(part)]), 0);
      expect(sum, part).toBeCloseTo(report.flushCost[part], 3);
    }

    const { traceEvents } = JSON.parse(readFileSync(timeline, "utf8"));
    const threads = traceEvents.filter(({ name }: { name: string }) => name === "thread_name");
    expect(threads.map(({ args }: { args: { name: string } }) => args.name)).toEqual(
      expect.arrayContaining(["CPU 0", "CPU 1", "CPU 2", "CPU 3"]),
    );
    const cpusThatFlushed = new Set(
      traceEvents.filter(({ name }: { name: string }) => name === "TLB flush").map(({ tid }: { tid: number }) => tid),
    );
    for (const row of rows) expect(cpusThatFlushed).toContain(Number(row[names.indexOf("cpu")]));

    const values = new Map(
      linesOfCsv(mmulab("replay", "--ftrace", trace, "--cpus", "4", "--accounts", "--csv").stdout).map(
        ([name, value]) => [name, value],
      ),
    );
    for (const [part, cycles] of Object.entries(report.flushCost)) {
      expect(values.get(`flushCost.${part}`), part).toBe(String(cycles));
    }
    for (const name of ["purges", "areasPurged", "traced.purges", "traced.areasPurged"]) {
      const value = name.split(".").reduce((at, key) => at[key], report);
      expect(values.get(name), name).toBe(String(value));
    }
  });

  it.each([
    [["--ftrace", "none.txt"], /^mmulab: none\.txt: no such file\n$/],
    [["--ftrace", import.meta.filename], /^mmulab: [^\n]*: no line is ftrace text of a vmalloc event[^\n]*\n$/],
    [["--ftrace", "x", "--policy", "eagre"], /^mmulab: unknown flush policy 'eagre' \(did you mean eager\?\)[^\n]*\n$/],
    [["--ftrace", "x", "--cpus", "-4"], /^mmulab: .*'-4' is invalid[^\n]*\n$/],
    [["--ftrace", "x", "--lackey", "y"], /^mmulab: --lackey and --ftrace exclude each other\n$/],
  ])("%j is answered with one line and exit code 2", (args, message) => {
    const result = mmulab("replay", ...args);
    expect(result).toMatchObject({ status: 2, stdout: "" });
    expect(result.stderr).toMatch(message);
  });
});
