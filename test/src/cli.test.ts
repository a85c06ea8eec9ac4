import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { fixture, fixtureLines, temporaryFolder } from "./fixtures.ts";
import { CLI, mmulab, resultIn } from "./run-cli.ts";

const folder = temporaryFolder();

describe("mmulab", () => {
  it("shows help with an example for itself and for each command", () => {
    for (const args of [
      ["--help"],
      ["help"],
      ["run", "--help"],
      ["replay", "--help"],
      ["help", "replay"],
      ["inspect", "--help"],
      ["sweep", "--help"],
    ]) {
      const result = mmulab(...args);
      expect(result.status, args.join(" ")).toBe(0);
      expect(result.stdout).toMatch(/Examples?:\n {2}\$ mmulab /);
      expect(result.stderr).toBe("");
    }
  });

  it("says its version", () => {
    const { version } = JSON.parse(readFileSync(`${import.meta.dirname}/../../package.json`, "utf8"));
    const { status, stdout } = mmulab("--version");
    expect(status).toBe(0);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+( \([0-9a-f]{12}(, changed)?\))?\n$/);
    expect(stdout.split(/\s/)[0]).toBe(version);
  });

  it("shows help on standard error when it is told nothing to do", () => {
    const result = mmulab();
    expect(result.status).toBe(2);
    expect(result.stdout).toBe("");
    expect(result.stderr).toMatch(/Usage: mmulab/);
  });
});

describe("a mistake on the command line", () => {
  it.each([
    [["rpelay", "x"], /unknown command 'rpelay' \(did you mean replay\?\)/],
    [["frobnicate"], /unknown command 'frobnicate'/],
    [["replay"], /missing required argument 'file'/],
    [["replay", "--jsn", "x"], /unknown option '--jsn' \(did you mean --json\?\)/],
    [["replay", "--differences", "many", "x"], /'many' is invalid. Expected a whole number from 0/],
    [["run", "mixd"], /unknown workload 'mixd' \(did you mean mixed\?\)/],
    [["run", "zzzzzzzzzz"], /unknown workload 'zzzzzzzzzz'; mmulab run --list/],
    [["run", "mixed", "extra"], /mixed takes no parameters, but 'extra' was given/],
    [["run", "test_vmalloc", "nr_thread=2"], /no parameter 'nr_thread' \(did you mean nr_threads\?\)/],
    [["run", "test_vmalloc", "nr_threads=-2"], /parameter nr_threads: '-2'; expected a whole number from 0 to 65535/],
    [["run", "test_vmalloc", "--ops", "5"], /test_vmalloc does not take --ops; its parameters are nr_threads/],
    [["run", "--json", "--csv"], /--json and --csv: expected one of them/],
    [["run", "--events", "events.xls"], /cannot tell from the name events\.xls .* should end in \.txt/],
    [["run", "./none.ts"], /\.\/none\.ts: no such file/],
    [["run", "--cpu", "4"], /unknown option '--cpu' \(did you mean --cpus\?\)/],
    [["run", "--cpus"], /'--cpus <number>' argument missing/],
    [["run", "--cpus", "-3"], /'-3' is invalid. Expected a whole number from 1 to 1024/],
    [["run", "--cpus", "0"], /'0' is invalid/],
    [["run", "--cpus", "1e99"], /'1e99' is invalid/],
    [["run", "--cpus", "0x10"], /'0x10' is invalid/],
    [["run", "--cpus", ""], /'' is invalid/],
    [["run", "--cpus", "2.5"], /'2.5' is invalid/],
    [["run", "--cpus", "four"], /'four' is invalid/],
    [["run", "--ops", "0"], /'0' is invalid/],
    [["run", "--ops", "99999999999999999999"], /is invalid/],
    [["run", "--seed", "-1"], /'-1' is invalid/],
    [["run", "--memory", "lots"], /'lots' is invalid. Expected a size such as 4GiB/],
    [["run", "--memory", "4GX"], /'4GX' is invalid/],
    [["run", "--memory", "1000"], /'1000' is invalid/],
    [["run", "--memory", "99999TiB"], /'99999TiB' is invalid/],
    [["run", "--preset", "skylke"], /unknown preset 'skylke' \(did you mean skylake\?\)/],
  ] as const)("%j is answered with one line and exit code 2", (args, message) => {
    const result = mmulab(...args);
    expect(result.status).toBe(2);
    expect(result.stdout).toBe("");
    expect(result.stderr).toMatch(message);
    expect(result.stderr).toMatch(/^mmulab: [^\n]+\n$/);
  });
});

describe("mmulab run", () => {
  it("lists workloads with their parameters, as JSON too", () => {
    const { workloads } = JSON.parse(mmulab("run", "--list", "--json").stdout);
    const lines = mmulab("run", "--list").stdout.split("\n");
    const names = lines.filter((line) => /^\w/.test(line)).map((line) => line.split(" ")[0]);
    expect(workloads.map(({ name }: { name: string }) => name)).toEqual(names);
    const test = workloads.find(({ name }: { name: string }) => name === "test_vmalloc");
    expect(test.parameters.map(({ name }: { name: string }) => name)).toContain("run_test_mask");
  });

  it("prints its report as JSON or, a number a row under the same names, as CSV", () => {
    const report = JSON.parse(mmulab("run", "mixed", "--ops", "300", "--cpus", "2", "--json").stdout);
    const csv = mmulab("run", "mixed", "--ops", "300", "--cpus", "2", "--csv");
    expect(csv).toMatchObject({ status: 0, stderr: "" });
    const rows = new Map(
      csv.stdout
        .trimEnd()
        .split("\n")
        .map((line) => line.split(",") as [string, string]),
    );
    expect(rows.get("name")).toBe("value");
    expect(rows.get("machine.cpus")).toBe("2");
    expect(rows.get("vmalloc.areasAllocated")).toBe(String(report.vmalloc.areasAllocated));
    expect(rows.get("counters.1.dTLB-loads")).toBe(String(report.counters[1]["dTLB-loads"]));
  });
});

describe("mmulab replay", () => {
  it("prints a line a file and ends with 0 when there is no difference", () => {
    const result = mmulab("replay", fixture("huge_smp2_s1"), fixture("range_smp4_s1"));
    expect(result.status).toBe(0);
    expect(result.stdout).toBe(
      "huge_smp2_s1: 2003 calls, 12635 events; mismatches: 0 addresses, 0 events, 0 in the final state\n" +
        "range_smp4_s1: 6062 calls, 15418 events; mismatches: 0 addresses, 0 events, 0 in the final state\n",
    );
    expect(result.stderr).toBe("");
  });

  it("prints one JSON object a file with --json", () => {
    const result = mmulab("replay", "--json", fixture("huge_smp2_s1"));
    expect(result.status).toBe(0);
    expect(resultIn(result.stdout)).toEqual({
      recording: "huge_smp2_s1",
      calls: 2003,
      events: 12635,
      addressMismatches: 0,
      eventMismatches: 0,
      finalStateMismatches: 0,
      eventMismatchesByName: {},
      finalStateMismatchesByPart: {},
      differences: [],
    });
  });

  it("shows the first difference with its call, what was expected, and the events around it, and ends with 1", () => {
    const lines = fixtureLines("huge_smp2_s1");
    const at = lines.findIndex((line) => line.startsWith('{"ev":"alloc"'));
    const changed = folder.write("changed.jsonl.gz", gzipSync(lines.with(at, '{"ev":"flush_all"}').join("\n")));
    const result = mmulab("replay", changed, fixture("huge_smp2_s1"));
    expect(result.status).toBe(1);
    expect(result.stdout).toContain("mismatches: 0 addresses, 1 event (flush_all 1), 0 in the final state");
    expect(result.stdout).toMatch(/event differs at line \d+, call 0: vmalloc_huge size=\d+/);
    expect(result.stdout).toContain('expected {"ev":"flush_all"}');
    expect(result.stdout).toContain(`actual   ${lines[at]}`);
    expect(result.stdout).toContain(`      + ${lines[at]}`);
    const quiet = mmulab("replay", "--quiet", changed);
    expect(quiet).toMatchObject({ status: 1, stdout: "", stderr: "" });
    const json = mmulab("replay", "--json", changed);
    expect(json.status).toBe(1);
    expect(JSON.parse(json.stdout).eventMismatches).toBe(1);
    expect(json.stderr).toContain("event differs");
  });

  it("names each unreadable file and line, replays the others, and ends with 2", () => {
    const gzip = readFileSync(fixture("huge_smp2_s1"));
    const truncated = folder.write("truncated.jsonl.gz", gzip.subarray(0, gzip.length - 9));
    const bad = folder.write("bad.jsonl", fixtureLines("huge_smp2_s1").with(99, "{oops").join("\n"));
    const wrong = folder.write("wrong.jsonl", '{"header":7}\n');
    const result = mmulab("replay", "--json", truncated, bad, "none.gz", wrong, fixture("huge_smp2_s1"));
    expect(result.status).toBe(2);
    expect(result.stdout.trim().split("\n")).toHaveLength(1);
    expect(JSON.parse(result.stdout).recording).toBe("huge_smp2_s1");
    const errors = result.stderr.trimEnd().split("\n");
    expect(errors).toHaveLength(4);
    expect(errors[0]).toMatch(/^mmulab: .*truncated\.jsonl\.gz:\d+: .*truncated/);
    expect(errors[1]).toMatch(/^mmulab: .*bad\.jsonl:100: not JSON/);
    expect(errors[2]).toBe("mmulab: none.gz: no such file");
    expect(errors[3]).toMatch(/^mmulab: .*wrong\.jsonl:1: header version 7/);
  });

  it("ends quietly when its reader goes away", () => {
    const command = `"${process.execPath}" "${CLI}" replay --differences 1000 "$@" | head -n 1`;
    const file = fixture("huge_smp2_s1");
    const result = spawnSync("sh", ["-c", command, "sh", file, file, file], { encoding: "utf8" });
    expect(result.stdout).toMatch(/^huge_smp2_s1: .*\n$/);
    expect(result.stderr).toBe("");
  });
});
