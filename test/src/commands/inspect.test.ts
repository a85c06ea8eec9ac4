import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { VIEWS } from "../../../src/inspect/views.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { fixture, fixtureLines, temporaryFolder } from "../fixtures.ts";
import { mmulab } from "../run-cli.ts";

const folder = temporaryFolder();
const CALLER = / [\w.]+\+0x[0-9a-f]+\/0x[0-9a-f]+( \[\w+\])?/;

function finalLines(name: string, key: string): string[] {
  const line = fixtureLines(name).find((each) => each.startsWith(`{"${key}"`));
  if (line === undefined) throw new Error(`${name} has no ${key}`);
  return JSON.parse(line)[key];
}

function view(name: string) {
  const found = VIEWS.find((each) => each.name === name);
  if (found === undefined) throw new Error(`there is no view ${name}`);
  return (kernel: Parameters<typeof found.lines>[0], options: object = {}) =>
    found.lines(kernel, { range: "vmalloc", ...options });
}

describe("mmulab inspect", () => {
  it("shows of a whole recording what the real kernel showed at its end", () => {
    const name = "huge_smp2_s1";
    const shown = mmulab("inspect", "vmallocinfo", fixture(name));
    expect(shown).toMatchObject({ status: 0, stderr: "" });
    const withoutCaller = (lines: readonly string[]) => lines.map((line) => line.replace(CALLER, " CALLER"));
    expect(withoutCaller(shown.stdout.trimEnd().split("\n"))).toEqual(
      withoutCaller(finalLines(name, "final_vmallocinfo").map((line) => line.trimEnd())),
    );
    const tables = mmulab("inspect", "page-tables", fixture(name));
    const recorded = finalLines(name, "final_ptdump").filter((line) => line.startsWith("0x") || line.startsWith("---"));
    expect(tables.stdout.trimEnd().split("\n")).toEqual(recorded);
  });

  it("shows the state after call N: each call changes what it changes", () => {
    const lines = (calls: number) => {
      const shown = mmulab("inspect", "vmallocinfo", fixture("fix_smp1_s1"), "--calls", String(calls));
      expect(shown).toMatchObject({ status: 0, stderr: "" });
      return shown.stdout.trimEnd().split("\n");
    };
    expect(lines(1).length).toBe(lines(0).length + 1);
    expect(lines(1).filter((line) => !lines(0).includes(line))).toHaveLength(1);
  });

  it("boots and runs a workload where no file is given", () => {
    const tlb = mmulab("inspect", "tlb", "--ops", "250", "--cpus", "2", "--cpu", "1");
    expect(tlb).toMatchObject({ status: 0, stderr: "" });
    const lines = tlb.stdout.trimEnd().split("\n");
    expect(lines).toContain("set  way  page                size  frame       pcid  flags      age  stale");
    const entries = lines.filter((line) => /^ *\d+ +\d+ {2}0x/.test(line));
    expect(entries.length).toBeGreaterThan(10);
    for (const entry of entries)
      expect(entry).toMatch(
        /^ *\d+ +\d+ {2}0xffff[0-9a-f]{12} +(4K|2M|1G) {2}0x[0-9a-f]{9} {3}GLB .* +(\d+|-)( {2}STALE( \d)?)?$/,
      );
    const psc = mmulab("inspect", "psc", "--ops", "600", "--cpus", "2", "--cpu", "1").stdout.trimEnd().split("\n");
    for (const level of ["PDE", "PDPTE", "PML4E"])
      expect(psc.some((line) => new RegExp(`^ *\\d+ +\\d+ {2}${level} +0xffff[0-9a-f]{12} {2}0x`).test(line))).toBe(
        true,
      );
    for (const line of [...lines, ...psc].filter((line) => !line.startsWith("  STALE")))
      expect(line.length).toBeLessThanOrEqual(80);
    const empty = mmulab("inspect", "tlb", "--run", "none", "--cpus", "1");
    for (const line of empty.stdout.trimEnd().split("\n"))
      expect(line).toMatch(/^CPU 0, L[12] .*: \d+ sets? of \d+ ways?, 0 entries, 0 stale$/);
    const json = JSON.parse(mmulab("inspect", "vmstat", "--ops", "4000", "--json").stdout);
    expect(json).toMatchObject({ view: "vmstat", source: "4 CPUs after mixed, 4000 operations, seed 1" });
    expect(json.counters.nr_tlb_local_flush_all + json.counters.nr_tlb_local_flush_one).toBeGreaterThan(0);
  });

  it("gives as data what the lines of each view say", () => {
    const state = join(folder.path, "data.state");
    mmulab("run", "mixed", "--ops", "500", "--cpus", "2", "--save", state, "--quiet");
    const data = (name: string, ...more: string[]) =>
      JSON.parse(mmulab("inspect", name, state, "--json", ...more).stdout);
    const lines = (name: string, ...more: string[]) =>
      mmulab("inspect", name, state, ...more)
        .stdout.trimEnd()
        .split("\n");
    const { areas } = data("vmallocinfo");
    expect(areas.map((area: { start: string; sizeBytes: number }) => [area.start, area.sizeBytes])).toEqual(
      lines("vmallocinfo").map((line) => [line.slice(0, 18), Number(line.slice(37).trim().split(" ")[0])]),
    );
    const { runs } = data("page-tables");
    const shownRuns = lines("page-tables").filter((line) => line.startsWith("0x"));
    expect(runs.map((run: { start: string; level: string }) => [run.start, run.level])).toEqual(
      shownRuns.map((line) => [line.slice(0, 18), line.slice(-3)]),
    );
    const { cpus } = data("tlb", "--cpu", "1");
    expect(cpus).toHaveLength(1);
    const entries = cpus[0].structures.flatMap((each: { entries: object[] }) => each.entries);
    const shown = lines("tlb", "--cpu", "1").filter((line) => /^ *\d+ +\d+ {2}0x/.test(line));
    expect(entries).toHaveLength(shown.length);
    expect(cpus[0].staleEntries).toBe(shown.filter((line) => line.includes("STALE")).length);
    expect(entries.filter(({ stale }: { stale: string | null }) => stale !== null)).toHaveLength(cpus[0].staleEntries);
    const walk = data("walk", "--address", areas[0].start);
    expect(walk).toMatchObject({ address: areas[0].start, outcome: "mapped", pageSize: "4K" });
    expect(walk.levels.map(({ name }: { name: string }) => name)).toEqual(["PML4E", "PDPTE", "PDE", "PTE"]);
    const [zone] = data("buddyinfo").zones;
    expect(lines("buddyinfo")[0].trim().split(/ +/).slice(4).map(Number)).toEqual(zone.freeBlocksByOrder);
  });

  it("shows a state that run saved, and run goes on from it", () => {
    const state = join(folder.path, "machine.state");
    expect(mmulab("run", "mixed", "--ops", "500", "--cpus", "2", "--save", state, "--quiet").status).toBe(0);
    const shown = JSON.parse(mmulab("inspect", "meminfo", state, "--json").stdout);
    expect(shown.source).toBe("2 CPUs after mixed, 500 operations, seed 1");
    expect(shown.kib.MemTotal).toBe(4193280);
    const report = JSON.parse(mmulab("run", "mixed", "--load", state, "--ops", "100", "--seed", "3", "--json").stdout);
    expect(report.machine.cpus).toBe(2);
    expect(report.memory.wrongLoads).toBe(0);
    const copy = join(folder.path, "part.state");
    expect(mmulab("inspect", "vmstat", fixture("fix_smp1_s1"), "--calls", "9", "--save", copy).status).toBe(0);
    expect(JSON.parse(mmulab("inspect", "vmstat", copy, "--json").stdout).source).toBe("fix_smp1_s1 after 9 calls");
  });

  it.each([
    [
      ["vmalocinfo"],
      /unknown view 'vmalocinfo' \(did you mean vmallocinfo\?\); there are vmallocinfo, page-tables, tlb/,
    ],
    [[], /missing required argument 'view'/],
    [["tlb", "none.state"], /none\.state: no such file/],
    [["tlb", import.meta.filename], /not a recording/],
    [["tlb", fixture("fix_smp1_s1"), "--cpus", "8"], /--cpus does not go with a file/],
    [["tlb", fixture("huge_smp2_s1"), "--calls", "9999999"], /has 2003 calls, not 9999999/],
    [["tlb", "--calls", "5"], /--calls goes with a recording, but no file is given/],
    [["tlb", "--cpus", "2", "--cpu", "2"], /there is no CPU 2: the machine has 2, from 0/],
    [["walk"], /walk needs --address/],
    [["walk", "--address", "0x1234567890123456"], /expected a canonical 64-bit address/],
    [["walk", "--address", "ffff"], /address 'ffff': expected a canonical/],
    [["page-tables", "--range", "user"], /--range: unknown value 'user'; there are vmalloc, modules, kernel, all/],
    [["tlb", "--run", "mixd"], /unknown workload 'mixd' \(did you mean mixed\?\)/],
    [
      ["vmstat", "--run", "none", "--save", "/no/such/folder/x"],
      /cannot write \/no\/such\/folder\/x: its folder does not/,
    ],
  ])("%j is answered with one line and exit code 2", (args, message) => {
    const result = mmulab("inspect", ...args);
    expect(result).toMatchObject({ status: 2, stdout: "" });
    expect(result.stderr).toMatch(message);
    expect(result.stderr).toMatch(/^mmulab: [^\n]+\n$/);
  });

  it("refuses machine options with --load, and a state that is none", () => {
    const state = join(folder.path, "other.state");
    mmulab("run", "mixed", "--ops", "10", "--save", state, "--quiet");
    const conflict = mmulab("run", "--load", state, "--cpus", "4");
    expect(conflict).toMatchObject({ status: 2, stdout: "" });
    expect(conflict.stderr).toMatch(/^mmulab: --cpus does not go with --load: [^\n]*\n$/);
    const none = mmulab("run", "--load", fixture("fix_smp1_s1"));
    expect(none).toMatchObject({ status: 2, stdout: "" });
    expect(none.stderr).toMatch(/^mmulab: [^\n]*: is not a state that mmulab saved\n$/);
    const unwritable = mmulab("run", "--ops", "10", "--save", "/no/such/folder/state");
    expect(unwritable.status).toBe(2);
    expect(unwritable.stderr).toMatch(/^mmulab: cannot write [^\n]*\n$/);
    expect(readdirSync(folder.path).filter((name) => name.endsWith(".part"))).toEqual([]);
  });
});

describe("views of a kernel", () => {
  it("count free memory by order as the allocator has it", () => {
    const kernel = bootKernel({ cpus: 1 });
    const blocks = (lines: string[]): number =>
      lines.reduce((sum, line) => {
        const counts = line.trim().split(/\s+/).slice(4).map(Number);
        return sum + counts.reduce((pages, count, order) => pages + count * 2 ** order, 0);
      }, 0);
    const before = blocks(view("buddyinfo")(kernel));
    expect(before).toBeLessThanOrEqual(kernel.pages.freePages);
    expect(kernel.pages.freePages - before).toBeLessThan(3000);
    for (const line of view("buddyinfo")(kernel)) expect(line).toMatch(/^Node 0, zone +(DMA32|Normal) ( *\d+ ){11}$/);
    kernel.vmallocHuge(2 ** 24);
    expect(before - blocks(view("buddyinfo")(kernel))).toBeGreaterThanOrEqual(4096);
  });

  it("explain a walk level by level", () => {
    const kernel = bootKernel({ cpus: 1 });
    const address = kernel.vmalloc(4096);
    const lines = view("walk")(kernel, { address: `0xffff${address.toString(16)}` });
    expect(lines).toHaveLength(5);
    expect(lines[4]).toMatch(/PTE .* leaf$/);
  });
});
