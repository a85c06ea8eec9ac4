/** `mmulab presets`, and files and figures of one's own on the command line. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { figuresOf, PRESETS } from "../../../arch/index.ts";
import { temporaryFolder } from "../fixtures.ts";
import { mmulab } from "../run-cli.ts";

const folder = temporaryFolder();
const longest = (text: string): number => Math.max(...text.split("\n").map((line) => line.length));

describe("mmulab presets", () => {
  it("lists every preset with its figures by how they are known, within 80 columns", () => {
    const { status, stdout } = mmulab("presets");
    expect(status).toBe(0);
    expect(longest(stdout)).toBeLessThanOrEqual(80);
    const list = JSON.parse(mmulab("presets", "--json").stdout) as { name: string; figures: Record<string, number> }[];
    expect(list.map(({ name }) => name)).toEqual(PRESETS.map(({ name }) => name));
    for (const { name, figures } of list) {
      expect(stdout).toContain(name);
      expect(stdout).toContain(`${figures.measured} / ${figures.documented} / ${figures.assumed}`);
    }
  });

  it("shows every figure of one with its basis and source", () => {
    const preset = PRESETS[0];
    const { stdout } = mmulab("presets", preset.name);
    expect(longest(stdout)).toBeLessThanOrEqual(80);
    const words = stdout.replace(/\s+/g, " ");
    for (const { name, source } of figuresOf(preset, {
      guests: true,
      overlap: true,
      mitigations: true,
      idleStates: true,
    })) {
      expect(words).toContain(name.slice(name.lastIndexOf(".") + 1));
      for (const word of source.split(" ")) expect(words).toContain(word);
    }
  });

  it("shows what kernel code costs", () => {
    expect(mmulab("presets", "kernel").stdout).toMatch(/kernel\.ipi\.latencyCycles\n +0 +\d+ cycles +assumed/);
  });

  it("prints a preset that --preset takes, and the same figures give the same run", () => {
    const file = folder.write("mine.json", mmulab("presets", "zen4", "--json").stdout);
    const run = (...words: string[]) => JSON.parse(mmulab("run", "--ops", "200", "--json", ...words).stdout);
    const { settings, ...machine } = run("--preset", file).machine;
    expect(settings).toEqual({ "preset-file": file });
    const named = run("--preset", "zen4");
    expect(machine).toEqual(named.machine);
    expect(run("--preset", file).cycles).toEqual(named.cycles);
    expect(mmulab("presets", file).stdout).toBe(mmulab("presets", "zen4").stdout);
  });
});

describe("--set", () => {
  it("is reported by run and experiment, and changes what they find", () => {
    const run = (...words: string[]) => JSON.parse(mmulab("run", "--ops", "200", "--json", ...words).stdout);
    const changed = run("--set", "costs.walk=500", "--set", "kernel.callCycles=1");
    expect(changed.machine.settings).toEqual({ set: "costs.walk=500 kernel.callCycles=1" });
    expect(changed.cycles).not.toEqual(run().cycles);
    const experiment = ["experiment", "flush-cost", "--cpus", "2", "--pages", "1", "--json"];
    const result = JSON.parse(mmulab(...experiment, "--set", "costs.invlpg=1000").stdout);
    expect(result.parameters.set).toBe("costs.invlpg=1000");
    expect(result.inputs).toContainEqual(
      expect.objectContaining({ name: "costs.invlpg", value: 1000, basis: "assumed" }),
    );
    expect(result.tables).not.toEqual(JSON.parse(mmulab(...experiment).stdout).tables);
  });

  it("is shown by presets, and what that prints is a preset with the figure", () => {
    const shown = mmulab("presets", "skylake", "--set", "costs.walk=30").stdout;
    expect(shown).toMatch(/walk +30 cycles +assumed +given; 21 in the preset/);
    const file = folder.write("walk30.json", mmulab("presets", "skylake", "--set", "costs.walk=30", "--json").stdout);
    expect(mmulab("presets", file).stdout).toBe(shown);
    expect(mmulab("presets", "kernel", "--set", "kernel.callCycles=7").stdout).toMatch(/callCycles +7 cycles/);
    expect(mmulab("presets", "hypervisor", "--set", "hypervisor.fault=7").stdout).toMatch(/fault +7 cycles/);
  });

  it("is named by explore", () => {
    const { stdout } = mmulab("explore", "switch-against-munmap", "--set", "costs.walk=30", "--preset", "zen4");
    expect(stdout).toContain("choices a schedule; preset zen4; set costs.walk=30)");
  });

  it("is named by inspect too", () => {
    const shown = mmulab("inspect", "vmstat", "--run", "none", "--preset", "zen4", "--set", "costs.walk=30", "--json");
    expect(JSON.parse(shown.stdout).source).toBe("4 CPUs (zen4 with costs.walk=30) after boot");
  });

  it("stays with a saved machine", () => {
    const file = join(folder.path, "set.state");
    const words = ["run", "--ops", "200", "--json"];
    mmulab(...words, "--set", "tlbs.2.ways=2", "--set", "kernel.callCycles=999", "--save", file);
    const again = mmulab(...words, "--load", file, "--set", "tlbs.2.ways=4");
    expect(again).toMatchObject({ status: 2, stderr: expect.stringContaining("--set does not go with --load") });
    const saved = readFileSync(file, "latin1");
    expect(saved).toContain('"callCycles":999');
    expect(saved).toContain("given; 4 in the preset skylake");
    expect(mmulab(...words, "--load", file).status).toBe(0);
  });

  it.each([
    [["run", "--set", "costs.wlk=3"], "did you mean costs.walk"],
    [["experiment", "flush-cost", "--set", "tlbs.2.ways=3"], "--set tlbs.2.ways 3: expected"],
    [["presets", "--set", "costs.walk=3"], "--set costs.walk=3: whose figure?"],
    [["presets", "zen4", "--set", "kernel.callCycles=3"], "mmulab presets kernel shows that figure"],
    [["presets", "kernel", "--set", "costs.walk=3"], "mmulab presets NAME shows that figure"],
    [["sweep", "x.yaml", "--set", "costs.walk=3"], "'--set': a sweep has it as a column of its grid"],
    [["new", "polcy", "x.ts"], "unknown kind 'polcy' (did you mean policy?); there are workload"],
    [["explore", "--strategy", "exhaustiv"], "--strategy: unknown value 'exhaustiv' (did you mean exhaustive?); there"],
    [["run", "--mitigations", "onn"], "Expected one of off, on, strict (did you mean on?)"],
    [["experiment", "flush-cost", "--cpus="], "--cpus with no value: expected"],
    [["experiment", "flush-cost", "--isolated", "2"], "'--isolated': flush-cost does not take this setting"],
    [["sweep", "x.yaml", "--preset=zen4"], "'--preset': a sweep has it as a column of its grid"],
    [
      ["experiment", "tlb-curves", "--set", "kernel.callCycles=3"],
      "tlb-curves does not run a kernel's or a hypervisor's code",
    ],
    [["experiment", "fracture", "--set", "hypervisor.fault=3"], "fracture does not run a kernel's or a hypervisor's"],
    [
      ["replay", "--lackey", "x", "--set", "kernel.callCycles=3"],
      "a replay of references does not run a kernel's code",
    ],
    [["replay", "--lackey", "x", "--against", "kernel.callCycles=3"], "does not run a kernel's code"],
    [["inspect", "tlb", "--preset", "none.json"], "none.json: no such file"],
    [
      ["replay", "--set", "costs.walk=3", "x.jsonl"],
      "--set goes with references (--lackey, --drmemtrace, --champsim) or --ftrace",
    ],
  ])("%j is refused with exit code 2", (words, message) => {
    expect(mmulab(...words)).toMatchObject({ status: 2, stderr: expect.stringContaining(message) });
  });
});

describe("a sweep", () => {
  it("takes figures by name and presets from files as columns", () => {
    const file = folder.write("mine.json", mmulab("presets", "icelake", "--json").stdout);
    const spec = folder.write(
      "figures.yaml",
      `workload: mixed\ngrid:\n  operations: [100]\n  preset: [skylake, ${file}]\n  costs.walk: [10, 400]\n`,
    );
    const { rows } = JSON.parse(mmulab("sweep", spec, "--json", "--jobs", "1").stdout);
    expect(rows.map((row: Record<string, unknown>) => [row.preset, row["costs.walk"]])).toEqual([
      ["skylake", 10],
      ["skylake", 400],
      [file, 10],
      [file, 400],
    ]);
    for (const at of [0, 2]) expect(rows[at].walkCycles).toBeLessThan(rows[at + 1].walkCycles);
    folder.write("mine.json", mmulab("presets", "zen4", "--json").stdout);
    expect(mmulab("sweep", spec, "--json").stderr).toContain("holds results of another sweep");
  });

  it("takes several figures at once in the column set", () => {
    const lru = "tlbs.2.ways=12 tlbs.2.replacement=lru";
    const grid = `  pages: 10\n  stride: 16\n  accesses: load\n  set: [none, tlbs.2.ways=16, ${lru}]`;
    const spec = folder.write("several.yaml", `experiment: tlb-curves\ngrid:\n${grid}\n`);
    const { rows } = JSON.parse(mmulab("sweep", spec, "--json", "--jobs", "1").stdout);
    expect(rows.map(({ set, firstLevelMissPercent }: Record<string, unknown>) => [set, firstLevelMissPercent])).toEqual(
      [
        ["none", 100],
        ["tlbs.2.ways=16", 0],
        [lru, 0],
      ],
    );
  });

  it.each([
    ["tlbs.2.way: [2]", "figures.yaml:3:3: unknown figure 'tlbs.2.way' (did you mean tlbs.2.ways?)"],
    ["tlbs.2.ways: [2, 3]", "figures.yaml:3:20: tlbs.2.ways 3: expected 1, 2, 4, 8 or 16 ways"],
    ["set: [none, tlbs.2.ways=3]", "figures.yaml:3:15: tlbs.2.ways 3: expected 1, 2, 4, 8 or 16 ways"],
    ["set: [tlbs.2.way=3]", "figures.yaml:3:9: unknown figure 'tlbs.2.way' (did you mean tlbs.2.ways?)"],
    ["set: [8]", "figures.yaml:3:9: 8: expected NAME=VALUE"],
    ["hypervisor.fault: [1]", "figures.yaml:3:22: hypervisor.fault=1: only guests have a hypervisor (guest: true)"],
    ["callCycles: [1]", "set, and figures by name (mmulab presets NAME)"],
    ["kernel.callCycles: [x]", "figures.yaml:3:23: kernel.callCycles x: expected a number"],
    ["preset: [none.json]", "none.json: no such file"],
    [
      "kernel.callCycles: [1]\n# tlb-curves",
      "figures.yaml:3:23: kernel.callCycles=1: nothing here runs a kernel's code",
    ],
    ["hypervisor.fault: [1]\n# nested-walk", "figures.yaml:3:22: hypervisor.fault=1: only guests have a hypervisor"],
  ])("refuses %s with its place", (column, message) => {
    const [, experiment] = /# (.*)/.exec(column) ?? [];
    const subject = experiment === undefined ? "workload: mixed" : `experiment: ${experiment}`;
    const spec = folder.write("figures.yaml", `${subject}\ngrid:\n  ${column}\n`);
    const result = mmulab("sweep", spec, "--out", join(folder.path, "other.jsonl"));
    expect(result).toMatchObject({ status: 2, stderr: expect.stringContaining(message) });
  });
});
