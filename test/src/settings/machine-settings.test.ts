import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readSettings, settingTexts } from "../../../src/settings/machine-settings.ts";
import { SETTING_NAMES, type SettingName } from "../../../src/settings/setting-names.ts";
import { temporaryFolder } from "../fixtures.ts";
import { mmulab, resultIn } from "../run-cli.ts";

const folder = temporaryFolder();
const RUN = ["run", "user_processes", "--ops", "400", "--cpus", "4"];

/** The JSON report of a short run with these options. */
function report(...options: string[]) {
  const result = mmulab(...RUN, ...options, "--json");
  expect(result.stderr).toBe("");
  expect(result.status).toBe(0);
  return resultIn(result.stdout);
}

describe("settings of the machine as texts", () => {
  it("are read again as what they were, every one of them", () => {
    const texts: Readonly<Record<SettingName, string>> = {
      kernel: "6.1",
      topology: "2x4x2x1",
      policy: "deferred",
      isolated: "1,2,3,7",
      pti: "true",
      mitigations: "strict",
      "memcg-levels": "3",
      "idle-states": "all",
      "flush-ceiling": "7",
      "lazy-max": "64",
      "vmap-nodes": "2",
      "nr-cpus": "64",
      "ipi-mode": "physical",
      "flush-freed-tables": "true",
      "prove-locking": "true",
      spinlocks: "test-and-set",
      guest: "true",
      "guest-pages": "2M",
      "host-pages": "4K",
      vcpus: "6",
      pcpus: "3",
      overcommit: "1.5",
      "numa-balancing": "256/1000",
      balloon: "4096/1000",
    };
    expect(Object.keys(texts)).toEqual([...SETTING_NAMES]);
    expect(settingTexts(readSettings(texts))).toEqual(texts);
    expect(settingTexts({})).toEqual({});
  });
});

describe("settings of the machine on the command line", () => {
  it("change what the kernel does: ceiling, lazy_max_pages, vmap nodes, policy", () => {
    const usual = report("--accounts", "--lazy-max", "40");
    expect(usual.vmalloc.lazyMaxPages).toBe(40);
    const never = report("--accounts", "--lazy-max", "40", "--flush-ceiling", "100000");
    expect(usual.vmalloc.fullFlushes).toBeGreaterThan(0);
    expect(never.vmalloc.fullFlushes).toBe(0);
    const eager = report("--accounts", "--policy", "eager");
    expect(eager.flushCosts.policy).toBe("eager");
    expect(eager.flushCosts.byCause.map(({ cause }: { cause: string }) => cause)).toContain("vunmap");
    const oneNode = report("--vmap-nodes", "1", "--lazy-max", "40");
    expect(oneNode.vmalloc.areasFromPools).toBe(0);
    expect(usual.vmalloc.areasFromPools).toBeGreaterThan(0);
  });

  it("take the number of CPUs from the topology, and make other sockets farther", () => {
    const wide = JSON.parse(mmulab("run", "--ops", "400", "--topology", "2x3x1", "--json").stdout);
    expect(wide.machine.cpus).toBe(6);
    const stolen = (topology: string): number =>
      report("--topology", topology, "--policy", "eager", "--accounts").flushCosts.cyclesByActivity["IPI wait"];
    expect(stolen("4x1x1")).toBeGreaterThan(stolen("1x4x1"));
  });

  it("address interrupts one by one, by clusters or all at once", () => {
    const sending = (mode: string): number =>
      report("--policy", "eager", "--ipi-mode", mode, "--accounts").flushCosts.cyclesByActivity["IPI send"];
    expect(sending("physical")).toBeGreaterThan(sending("cluster"));
  });

  it("isolate page tables, and CPUs whose flushes are then put off", () => {
    const plain = report("--accounts");
    const isolated = report("--accounts", "--pti", "--preset", "zen2");
    expect(plain.flushCosts.byCause.some(({ cause }: { cause: string }) => cause === "isolation")).toBe(false);
    expect(isolated.flushCosts.byCause.some(({ cause }: { cause: string }) => cause === "isolation")).toBe(true);
    const file = join(folder.path, "flushes.csv");
    // Long enough that some flush finds an isolated CPU in user mode.
    mmulab(
      "run",
      "user_processes",
      "--ops",
      "3200",
      "--cpus",
      "4",
      "--policy",
      "deferred",
      "--isolated",
      "1-2,3",
      "--lazy-max",
      "2",
      "--flushes",
      file,
    );
    const [head, ...rows] = readFileSync(file, "utf8")
      .trim()
      .split("\n")
      .filter((line) => !line.startsWith("#"));
    const deferred = head.split(",").indexOf("deferredCpus");
    expect(rows.some((row) => Number(row.split(",")[deferred]) > 0)).toBe(true);
  });

  it("check locks, and change nothing else", () => {
    const checked = report("--prove-locking");
    const plain = report();
    expect(checked.machine.settings).toEqual({ "prove-locking": "on" });
    expect(checked).toEqual({ ...plain, machine: { ...plain.machine, settings: checked.machine.settings } });
  });

  it("report cycles that sum up to the CPUs' clocks", () => {
    const { cycles, flushCosts } = report("--accounts", "--pti", "--policy", "eager");
    const sum = (values: number[]): number => values.reduce((a, b) => a + b, 0);
    expect(sum(Object.values(flushCosts.cyclesByActivity))).toBe(
      sum(cycles.map(({ total }: { total: number }) => total)),
    );
  });

  it("write each flush with the frees that led to it", () => {
    const file = join(folder.path, "flushes.jsonl");
    report("--lazy-max", "40", "--flushes", file);
    const records = readFileSync(file, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const drains = records.filter(({ cause }) => cause === "drain");
    expect(drains.length).toBeGreaterThan(0);
    for (const { frees, freedPages, freed, start, end } of drains) {
      expect(freed).toHaveLength(frees);
      expect(freed.reduce((pages: number, free: { pages: number }) => pages + free.pages, 0)).toBe(freedPages);
      for (const free of freed) {
        expect(free.start >= start && free.start < end).toBe(true);
        expect(free.by).toBe("user_processes+0x0/0x0");
      }
    }
  });

  it("are parameters of experiments, and shown with their results", () => {
    const run = (...more: string[]) =>
      JSON.parse(
        mmulab(...["experiment", "flush-cost", "--cpus", "4", "--pages", "1", "--policies", "ipi", "--json"], ...more)
          .stdout,
      );
    const near = run();
    const far = run("--topology", "4x1x1");
    expect(far.parameters).toMatchObject({ topology: "4x1x1", cpus: [4] });
    const waitOf = (result: { tables: { rows: number[][] }[] }): number => result.tables[0].rows[0][5];
    expect(waitOf(far)).toBeGreaterThan(waitOf(near));
  });

  it.each([
    [["--policy", "invlpgb"], "flush policy invlpgb: expected a CPU with INVLPGB; skylake has none"],
    [["--policy", "invlpg"], "unknown flush policy 'invlpg' (did you mean invlpgb?)"],
    [
      ["--topology", "2x2"],
      "Expected sockets x cores of a socket x threads of a core, such as 2x64x1, or 2x8x8x1 with clusters, of at most 1024 CPUs.",
    ],
    [["--topology", "1x2x1"], "--topology 1x2x1: has room for 2 of 4 CPUs"],
    [["--isolated", "3-1"], "Expected CPUs such as 2-7,12."],
    [["--isolated", "1"], "--isolated: only the flush policy deferred heeds it (--policy deferred)"],
    [["--isolated", "9", "--policy", "deferred"], "--isolated: there is no CPU 9, expected 0 to 3"],
    [["--flush-ceiling", "-1"], "Expected a number of pages from 0"],
    [["--vmap-nodes", "129"], "Expected a whole number from 1 to 128"],
    [["--nr-cpus", "2"], "--nr-cpus 2: expected at least 4, the CPUs of the machine"],
    [["--ipi-mode", "fast"], "Expected one of physical, cluster, shorthand."],
    [["--vcpus", "2", "--guest"], "'--vcpus <number>' cannot be used with option '--cpus <number>'"],
    [
      ["--guest", "--pcpus", "2", "--overcommit", "2"],
      "'--overcommit <ratio>' cannot be used with option '--pcpus <number>'",
    ],
    [["--guest", "--pcpus", "9"], "--pcpus 9: expected at most 4, the vCPUs of the guest"],
    [["--balloon", "1/1"], "--balloon: only guests have it (--guest)"],
    [["--guest", "--balloon", "1"], "Expected pages/microseconds, such as 4096/1000."],
    [["--guest", "--balloon", "1/1", "--save", "x.state"], "--save does not go with --balloon"],
    [["--flushes", "flushes.txt"], "it should end in .jsonl"],
    [["--load", "saved.state", "--pti"], "--pti does not go with --load"],
  ])("refuse %j in one line", (options, line) => {
    const load = options.includes("--load") ? ["run"] : RUN;
    const result = mmulab(...load, ...options);
    expect(result.status).toBe(2);
    expect(result.stderr.trim().split("\n")).toHaveLength(1);
    expect(result.stderr).toContain(line);
  });
});
