import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "../fixtures.ts";
import { CLI, mmulab, resultIn } from "../run-cli.ts";

const folder = temporaryFolder();
const TRACE = join(import.meta.dirname, "../../traces/true.lackey.gz");

describe("mmulab replay --lackey", () => {
  it("prints counters as perf stat does, memory and the working set", () => {
    const result = mmulab("replay", "--lackey", TRACE, "--preset", "skylake", "--window", "50000");
    expect(result).toMatchObject({ status: 0, stderr: "" });
    expect(result.stdout).toMatch(
      /^\n Performance counter stats for '.*true\.lackey\.gz' \(skylake, 4 KiB pages\):\n\n/,
    );
    expect(result.stdout).toMatch(/\n {11}127,771 {6}instructions\n/);
    expect(result.stdout).toMatch(/\n +[\d,]+ {6}dTLB-load-misses +# +\d+\.\d\d% of all dTLB cache accesses\n/);
    expect(result.stdout).toMatch(/4 KiB pages touched +139 +556 KiB/);
    expect(result.stdout).toMatch(/Working set: different 4 KiB pages in 50,000 references/);
    expect(result.stdout.match(/\n {2}from [\d,]+ +\d+ /g)).toHaveLength(4);
  });

  it("prints perf stat's CSV with -x, and one object with --json", () => {
    const csv = mmulab("replay", "--lackey", TRACE, "-x,");
    expect(csv.status).toBe(0);
    const rows = csv.stdout.trimEnd().split("\n");
    expect(rows[0]).toBe("127771,,instructions,0,100.00,,");
    for (const row of rows) expect(row).toMatch(/^\d+,,[\w.-]+,0,100\.00,[\d.]*,[\w% ]*$/);
    const json = mmulab("replay", "--lackey", TRACE, "--json", "--pages", "2M");
    expect(JSON.parse(json.stdout)).toMatchObject({ instructions: 127771, pageSize: "2M", preset: "skylake" });
    expect(mmulab("replay", "--lackey", TRACE, "--quiet")).toMatchObject({ status: 0, stdout: "", stderr: "" });
  });

  it("reads standard input, plain or compressed", () => {
    const fromFile = resultIn(mmulab("replay", "--lackey", TRACE, "--json").stdout);
    const gzip = readFileSync(TRACE);
    for (const input of [gzip, gunzipSync(gzip)]) {
      const result = spawnSync(process.execPath, [CLI, "replay", "--lackey", "-", "--json"], {
        input,
        encoding: "utf8",
      });
      expect(result).toMatchObject({ status: 0, stderr: "" });
      expect(resultIn(result.stdout)).toEqual({ ...fromFile, trace: "standard input" });
    }
    const empty = spawnSync(process.execPath, [CLI, "replay", "--lackey", "-"], { input: "", encoding: "utf8" });
    expect(empty).toMatchObject({ status: 2, stdout: "", stderr: "mmulab: standard input: is empty\n" });
  });

  it.each([
    [["--lackey", "none.lackey"], /^mmulab: none\.lackey: no such file\n$/],
    [["--lackey", "."], /^mmulab: \.: is a directory, not a file\n$/],
    [["--lackey", TRACE, "--pages", "3M"], /^mmulab: .*'3M' is invalid.*4K, 2M[^\n]*\n$/],
    [["--lackey", TRACE, "--warmup", "1.5"], /^mmulab: .*'1.5' is invalid.*or a fraction such as 0.5[^\n]*\n$/],
    [["--lackey", TRACE, "--against", "pages=3M"], /^mmulab: --against pages=3M: expected 4K, 2M[^\n]*\n$/],
    [
      ["--lackey", TRACE, "--against", "accesses=some"],
      /^mmulab: --against accesses=some: expected accesses=ind[^\n]*\n$/,
    ],
    [["--lackey", TRACE, "--against", "zen4"], /^mmulab: --against zen4: expected preset=NAME[^\n]*\n$/],
    [["--lackey", TRACE, "--against", "tlbs.0.ways=99"], /^mmulab: --against tlbs\.0\.ways 99: expected 1, 2[^\n]*\n$/],
    [["--lackey", TRACE, "--against", "tlbs.0.waxs=9"], /^mmulab: --against: unknown figure 'tlbs\.0\.waxs'[^\n]*\n$/],
    [["--lackey", TRACE, "--set", "tlbs.0.ways=99"], /^mmulab: --set tlbs\.0\.ways 99: expected 1, 2[^\n]*\n$/],
    [["--lackey", TRACE, "--against", "pages=2M", "-x,"], /^mmulab: --against and -x: expected one of them\n$/],
    [["--lackey", TRACE, "--preset", "skylke"], /^mmulab: unknown preset 'skylke' \(did you mean skylake\?\)[^\n]*\n$/],
    [["--lackey", TRACE, "--window", "0"], /^mmulab: .*'0' is invalid[^\n]*\n$/],
    [["--lackey", TRACE, "other.jsonl"], /^mmulab: --lackey [^\n]* is replayed alone, but other\.jsonl[^\n]*\n$/],
    [["--lackey", import.meta.filename], /^mmulab: [^\n]*: no line is a reference[^\n]*\n$/],
    [["--lackey"], /^mmulab: option '--lackey <file>' argument missing\n$/],
  ])("%j is answered with one line and exit code 2", (args, message) => {
    const result = mmulab("replay", ...args);
    expect(result).toMatchObject({ status: 2, stdout: "" });
    expect(result.stderr).toMatch(message);
  });

  it("lays settings side by side, each as a replay of its own gives it", () => {
    const args = ["--lackey", TRACE, "--limit", "50000"];
    const both = mmulab(
      "replay",
      ...args,
      "--against",
      "pages=2M",
      "--against",
      "preset=zen4",
      "--json",
    ).stdout.trimEnd();
    const alone = [[], ["--pages", "2M"], ["--preset", "zen4"]].map(
      (more) => mmulab("replay", ...args, ...more, "--json").stdout,
    );
    expect(both.split("\n").map(resultIn)).toEqual(alone.map(resultIn));
    // In place of what --set says.
    const fewer = mmulab("replay", ...args, "--set", "tlbs.0.ways=2", "--against", "tlbs.0.ways=4", "--json").stdout;
    const [two, four] = fewer.trimEnd().split("\n").map(resultIn) as { counters: unknown }[];
    expect(four).toEqual(resultIn(mmulab("replay", ...args, "--set", "tlbs.0.ways=4", "--json").stdout));
    expect(two).not.toEqual(four);
    const text = mmulab("replay", ...args, "--against", "pages=2M").stdout;
    expect(text).toMatch(/true\.lackey\.gz, the same references with each setting\n.* skylake, 4K +pages=2M +change/);
    expect(text).toMatch(/\n +dTLB-load-misses +\d+ +\d+ +-\d+\.\d %\n/);
  });

  it("shows the costliest places and counters over time, also as perf stat -I -x shows them", () => {
    const args = ["--lackey", TRACE, "--top", "3", "--interval", "50000"];
    const { stdout } = mmulab("replay", ...args);
    expect(stdout).toMatch(/Misses over time: in 50,000 references\n +references +dTLB +iTLB +walk cycles +faults\n/);
    expect(stdout).toMatch(/Costliest pages of 4 KiB\n +address +walks +walk cycles\s+0x[0-9a-f]{3,}000 /);
    expect(stdout).toMatch(/Costliest ranges of 2 MiB(.|\n)*Costliest instructions/);
    const rows = mmulab("replay", ...args, "-x,")
      .stdout.trimEnd()
      .split("\n");
    expect(rows[0]).toMatch(/^0,\d+,,dTLB-loads$/);
    expect(rows).toContainEqual(expect.stringMatching(/^50000,\d+,,page-faults$/));
  });

  it("reads a long trace in a thread of its own, with the same result, and says what is wrong with one", () => {
    const text = gunzipSync(readFileSync(TRACE)).toString();
    const long = folder.write("long.lackey", text.repeat(3));
    const options = ["--json", "--limit", "400000", "--warmup", "1000"];
    const fromFile = resultIn(mmulab("replay", "--lackey", long, ...options).stdout);
    const short = folder.write("long.lackey.gz", gzipSync(text.repeat(3)));
    expect(resultIn(mmulab("replay", "--references", short, ...options).stdout)).toEqual({
      ...fromFile,
      trace: short,
    });
    const odd = folder.write("odd.lackey", `${text.repeat(3)}hello\n`);
    expect(JSON.parse(mmulab("replay", "--lackey", odd, "--json").stdout)).toMatchObject({
      oddLines: 1,
      firstOddLine: 3 * (text.split("\n").length - 1) + 1,
    });
    const none = folder.write("none.lackey", "hello\n".repeat(1_000_000));
    const result = mmulab("replay", "--lackey", none);
    expect(result).toMatchObject({ status: 2, stdout: "" });
    expect(result.stderr).toMatch(/^mmulab: .*none\.lackey:1: no line is a reference[^\n]*\n$/);
  });

  it("names a file that is cut short", () => {
    const cut = folder.write("cut.lackey.gz", readFileSync(TRACE).subarray(0, 70_000));
    const result = mmulab("replay", "--lackey", cut);
    expect(result).toMatchObject({ status: 2, stdout: "" });
    expect(result.stderr).toMatch(/^mmulab: .*cut\.lackey\.gz:\d+: the gzip data ends too early[^\n]*\n$/);
  });
});
