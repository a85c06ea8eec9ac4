import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { mmulab } from "../run-cli.ts";

const folder = mkdtempSync(join(tmpdir(), "mmulab-experiment-"));
afterAll(() => rmSync(folder, { recursive: true }));

const SMALL = ["experiment", "flush-cost", "--cpus", "1,2", "--pages", "1,34", "--policies", "ipi"];

describe("mmulab experiment", () => {
  it("lists all experiments, and each has help with its parameters and an example", () => {
    const list = mmulab("experiment", "--help");
    expect(list.status).toBe(0);
    for (const name of ["flush-cost", "flush-ceiling", "lazy-threshold", "vmap-contention", "page-tables"]) {
      expect(list.stdout).toContain(name);
    }
    const help = mmulab("experiment", "flush-cost", "--help");
    expect(help.stdout).toContain("--cpus");
    expect(help.stdout).toContain("Example:");
  });

  it("prints a table, JSON or CSV, and writes a page and a timeline", () => {
    const html = join(folder, "out.html");
    const timeline = join(folder, "out.json");
    const text = mmulab(...SMALL, "--html", html, "--timeline", timeline);
    expect(text.stderr).toBe("");
    expect(text.stdout).toContain("One flush: cycles over all CPUs");
    expect(readFileSync(html, "utf8")).toMatch(/Measured on emulated machines:.*<\/svg>/s);
    expect(JSON.parse(readFileSync(timeline, "utf8"))).toHaveProperty("traceEvents");
    const json = JSON.parse(mmulab(...SMALL, "--json").stdout);
    expect(json).toMatchObject({ name: "flush-cost", seed: 1, parameters: { cpus: [1, 2], pages: [1, 34] } });
    expect(mmulab(...SMALL, "--csv").stdout).toContain("policy,cpus,pages,flushes,workCycles");
  });

  it("runs guests on fewer physical CPUs than vCPUs, several of them", () => {
    const words = ["--cpus", "4", "--pages", "1", "--policies", "ipi", "--guest", "--pcpus", "2"];
    const shared = mmulab("experiment", "flush-cost", ...words, "--json");
    expect(shared.stderr).toBe("");
    expect(JSON.parse(shared.stdout).parameters).toMatchObject({ cpus: [4], pcpus: 2 });
  });

  it.each([
    [["experiment"], "which experiment? There are flush-cost"],
    [["experiment", "flush-costs"], "unknown experiment 'flush-costs' (did you mean flush-cost?)"],
    [
      ["experiment", "flush-cost", "--cpus", "0"],
      "--cpus 0: expected whole numbers from 1 to 1024, separated by commas, or ranges FIRST-LAST",
    ],
    [
      ["experiment", "flush-cost", "--policies", "ipj"],
      "--policies ipj: expected a list of ipi, invlpgb, rar, deferred, eager, kvm, hyperv (did you mean ipi?)",
    ],
    [
      ["experiment", "lazy-threshold", "--lazy-max", "-1"],
      "--lazy-max -1: expected whole numbers from 0 to 1073741824",
    ],
    [["experiment", "nested-walk", "--host-levels", "3"], "--host-levels 3: expected whole numbers from 4 to 5"],
    [["experiment", "flush-cost", "--rounds", "1,2"], "--rounds 1,2: expected a whole number from 1 to 1000"],
    [["experiment", "flush-cost", "--preset", "skylark"], "unknown preset 'skylark' (did you mean skylake?)"],
    [["experiment", "page-tables", "--json", "--csv"], "--json and --csv: expected one of them"],
    [[...SMALL, "--host-pages", "2M"], "--host-pages: only guests have it (--guest)"],
    [[...SMALL, "--pcpus", "1"], "--pcpus: only guests have it (--guest)"],
    [[...SMALL, "--set", "hypervisor.fault=1"], "only guests have a hypervisor (--guest)"],
    [[...SMALL, "--html", "/nowhere/at/all.html"], "cannot write /nowhere/at/all.html: its folder does not exist"],
  ])("refuses %j in one line", (argv, line) => {
    const result = mmulab(...argv);
    expect(result.status).toBe(2);
    expect(result.stderr.trim().split("\n")).toHaveLength(1);
    expect(result.stderr).toContain(line);
  });
});
