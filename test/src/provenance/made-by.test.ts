/** Every result says what made it, and can be made again from that. */
import { execFileSync } from "node:child_process";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { Command } from "commander";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { COMMANDS } from "../../../src/commands/index.ts";
import { OUTPUT_OPTIONS, renameOutputs } from "../../../src/commands/rerun.ts";
import { versionText } from "../../../src/provenance/program-version.ts";
import { readMadeBy, withoutMadeBy } from "../../../src/provenance/read-made-by.ts";
import { temporaryFolder } from "../fixtures.ts";
import { CLI, mmulab } from "../run-cli.ts";

const folder = temporaryFolder();
const RUN = ["run", "mixed", "--ops", "150", "--lazy-max", "64", "--seed", "3", "--set", "costs.walk=30"];
const FILES = [
  "events.txt",
  "events.csv",
  "events.jsonl",
  "events.parquet",
  "flushes.csv",
  "flushes.jsonl",
  "machine.state",
  "timeline.json",
];
const home = process.cwd();

beforeAll(() => {
  // Names of files in commands are relative ones.
  process.chdir(folder.path);
});
afterAll(() => process.chdir(home));

/** The option of `run` that writes a file of this name. */
function optionFor(file: string): string {
  if (file.endsWith(".state")) return "--save";
  return `--${file.split(".")[0]}`;
}

describe("what a file says of its making", () => {
  it.each(FILES)("%s names version, command line and settings", async (file) => {
    const command = [...RUN, optionFor(file), file, "--quiet"];
    expect(mmulab(...command)).toMatchObject({ status: 0, stderr: "" });
    const made = await readMadeBy(file);
    expect(made).toMatchObject({
      version: versionText(),
      command,
      options: { lazyMax: 64, seed: 3, preset: "skylake", set: ["costs.walk=30"], cpus: 4 },
    });
  });

  it.each([
    ["a report", ["--json"]],
    ["a table", ["--csv"]],
  ])("%s that is printed with %j says it too", async (_, words) => {
    const command = [...RUN, ...words];
    const file = folder.write("printed", mmulab(...command).stdout);
    expect((await readMadeBy(file)).command).toEqual(command);
  });

  it.each([
    ["of a run", ["run", "mixed", "--ops", "50"]],
    ["of an experiment", ["experiment", "vmalloc-pages", "--areas", "50", "--pages", "1"]],
    ["of references", ["replay", "--references", `${home}/test/traces/true.lackey.gz`]],
    [
      "of references as perf stat -x prints it",
      ["replay", "--references", `${home}/test/traces/true.lackey.gz`, "-x,"],
    ],
  ])("a report for people %s says it where it is kept in a file, and in no pipe", async (_, command) => {
    const file = openSync("kept.txt", "w");
    execFileSync(process.execPath, [CLI, ...command], { stdio: ["ignore", file, "inherit"] });
    closeSync(file);
    expect((await readMadeBy("kept.txt")).command).toEqual(command);
    const { stdout } = mmulab(...command);
    expect(stdout).not.toContain("# mmulab");
    expect(withoutMadeBy(readFileSync("kept.txt", "utf8"))).toBe(stdout);
    expect(mmulab("rerun", "kept.txt").stderr).toBe("mmulab: the same as kept.txt\n");
  });

  it("experiments and sweeps say it in every form they have", async () => {
    const experiment = ["experiment", "vmalloc-pages", "--areas", "50", "--pages", "1"];
    mmulab(...experiment, "--html", "page.html", "--timeline", "trace.json", "--quiet");
    writeFileSync("table.csv", mmulab(...experiment, "--csv").stdout);
    writeFileSync("sweep.yaml", "workload: mixed\ngrid:\n  operations: 50\n");
    mmulab("sweep", "sweep.yaml", "--parquet", "sweep.parquet", "--quiet");
    for (const file of ["page.html", "trace.json", "table.csv"]) {
      expect((await readMadeBy(file)).command.slice(0, 2), file).toEqual(["experiment", "vmalloc-pages"]);
    }
    expect((await readMadeBy("sweep.parquet")).command[0]).toBe("sweep");
    const table = ["sweep", "sweep.yaml", "--csv", "--quiet"];
    writeFileSync("sweep.csv", mmulab(...table).stdout);
    expect(await readMadeBy("sweep.csv")).toMatchObject({ version: versionText(), command: table });
    // All points are run again: nothing is taken from the results that are there.
    writeFileSync("sweep.results.jsonl", `${readFileSync("sweep.results.jsonl", "utf8").split("\n", 1)[0]}\n`);
    for (const _ of ["the first time", "again"]) {
      expect(mmulab("rerun", "sweep.csv").stderr).toBe(
        "mmulab: sweep.results.jsonl: written to sweep.results.rerun.jsonl\nmmulab: the same as sweep.csv\n",
      );
    }
    writeFileSync("other.csv", readFileSync("sweep.csv", "utf8").replace("\n50,", "\n51,"));
    expect(mmulab("rerun", "other.csv", "--quiet")).toMatchObject({
      status: 1,
      stderr: "mmulab: differs from other.csv\n",
    });
  });

  it("what was not made by a command says so in one line", () => {
    folder.write("other.json", '{"madeBy":"hand"}');
    const result = mmulab("rerun", "other.json");
    expect(result).toMatchObject({ status: 2, stdout: "" });
    expect(result.stderr).toMatch(/^mmulab: other\.json: does not say which command made it: expected [^\n]+\n$/);
    expect(mmulab("rerun", "none.json").stderr).toMatch(/^mmulab: none\.json: no such file\n$/);
    folder.write("torn.parquet", "PAR1 and no more");
    expect(mmulab("rerun", "torn.parquet").stderr).toMatch(/^mmulab: torn\.parquet: is no Parquet file[^\n]+\n$/);
  });
});

describe("rerun", () => {
  it("makes the same again under another name, and says that it is the same", () => {
    mmulab(...RUN, "--flushes", "again.csv", "--quiet");
    const before = readFileSync("again.csv", "utf8");
    const result = mmulab("rerun", "again.csv");
    expect(result).toMatchObject({ status: 0, stdout: "" });
    expect(result.stderr).toBe("mmulab: again.csv: written to again.rerun.csv\nmmulab: the same as again.csv\n");
    expect(readFileSync("again.csv", "utf8")).toBe(before);
    expect(withoutMadeBy(readFileSync("again.rerun.csv", "utf8"))).toBe(withoutMadeBy(before));
  });

  it.each(["events.parquet", "machine.state"])("compares %s, and says where it differs", (file) => {
    mmulab(...RUN, optionFor(file), file, "--quiet");
    const copy = file.replace(".", ".rerun.");
    const written = `mmulab: ${file}: written to ${copy}\n`;
    expect(mmulab("rerun", file)).toMatchObject({ status: 0, stderr: `${written}mmulab: the same as ${file}\n` });
    // The file of another seed that says that it is of this command.
    const other = [...RUN.map((word) => (word === "3" ? "4" : word)), optionFor(file), file, "--quiet"];
    mmulab(...other);
    const bytes = readFileSync(file).toString("latin1").replace('"--seed","4"', '"--seed","3"');
    writeFileSync(file, bytes, "latin1");
    expect(mmulab("rerun", file)).toMatchObject({ status: 1, stderr: `${written}mmulab: differs from ${file}\n` });
  });

  it("says that it differs, and ends with 1", () => {
    const printed = mmulab(...RUN, "--json").stdout;
    const file = folder.write("report.json", printed.replace('"done":', '"done":1'));
    const result = mmulab("rerun", file);
    expect(result).toMatchObject({ status: 1, stdout: printed });
    expect(result.stderr).toBe(`mmulab: differs from ${file}\n`);
  });

  it("prints the command for a shell", () => {
    const file = folder.write("report.json", mmulab("run", "mixed", "--ops", "50", "--json").stdout);
    expect(mmulab("rerun", file, "--print")).toMatchObject({ status: 0, stdout: "mmulab run mixed --ops 50 --json\n" });
  });

  it("says when another version made the file", () => {
    const printed = mmulab("run", "--ops", "50", "--json").stdout;
    const file = folder.write("old.json", printed.replace(/"version":"[^"]*"/, '"version":"0.0.9"'));
    const { stderr } = mmulab("rerun", file);
    expect(stderr.split("\n")[0]).toBe(`mmulab: ${file} is of mmulab 0.0.9, this is ${versionText()}`);
  });

  it("gives new names to what a command writes, and to nothing else", () => {
    const { words, outputs } = renameOutputs([
      "run",
      "my.ts",
      "--save=a.b.state",
      "--load",
      "c.state",
      "--events",
      "/dev/null",
      "--dir",
      folder.path,
    ]);
    expect(words).toEqual([
      "run",
      "my.ts",
      "--save=a.b.rerun.state",
      "--load",
      "c.state",
      "--events",
      "/dev/null",
      "--dir",
      `${folder.path}.rerun`,
    ]);
    expect(outputs).toHaveLength(2);
  });

  it("knows every option of every command that names an output", async () => {
    const program = new Command();
    for (const { load } of COMMANDS) await (await load())(program, () => {}, []);
    const commands = (command: Command): Command[] => [command, ...command.commands.flatMap(commands)];
    const writing = commands(program)
      .flatMap((command) => command.options.map((option) => ({ command: command.name(), option })))
      .filter(({ option }) => option.required && /\bwrite\b|\bkept\b|\bkeep\b/.test(option.description));
    const names = new Set(writing.map(({ option }) => option.long));
    expect([...names].sort()).toEqual([...OUTPUT_OPTIONS].sort());
  });
});
