/** Sweeps whose points replay a trace: each row is what `mmulab replay` says with the same settings. */
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readSweepSpec } from "../../../src/sweep/spec.ts";
import { temporaryFolder } from "../fixtures.ts";
import { mmulab, resultIn } from "../run-cli.ts";

const folder = temporaryFolder();
const TRACE = "test/traces/true.lackey.gz";

interface Row {
  readonly [column: string]: string | number;
}

function rowsOf(text: string, name: string): readonly Row[] {
  const result = mmulab("sweep", folder.write(name, text), "--json", "--quiet");
  expect(result.stderr).toBe("");
  expect(result.status).toBe(0);
  return (resultIn(result.stdout) as unknown as { rows: readonly Row[] }).rows;
}

function refusalOf(text: string): string {
  try {
    readSweepSpec(folder.write("refused.yaml", text));
  } catch (error) {
    return (error as Error).message;
  }
  return "it was accepted";
}

describe("a sweep over memory references", () => {
  it("has in each row what a replay with these settings counts", () => {
    const rows = rowsOf(
      `references: ${TRACE}
grid:
  preset: [skylake, zen4]
  pages: [4K, thp=0.5]
  warmup: [0, 20000]
  costs.walk: 30
`,
      "references.yaml",
    );
    expect(rows).toHaveLength(8);
    for (const row of [rows[1], rows[6]]) {
      const { preset, pages, warmup } = row;
      const settings = [
        "--preset",
        `${preset}`,
        "--pages",
        `${pages}`,
        "--warmup",
        `${warmup}`,
        "--set",
        "costs.walk=30",
      ];
      const { stdout } = mmulab("replay", "--references", TRACE, "--json", ...settings);
      const report = resultIn(stdout) as unknown as {
        readonly references: number;
        readonly cycles: number;
        readonly counters: Readonly<Record<string, number>>;
        readonly memory: { readonly tableBytes: number };
      };
      expect(row).toMatchObject({
        references: report.references,
        cycles: report.cycles,
        loads: report.counters["dTLB-loads"],
        storeMisses: report.counters["dTLB-store-misses"],
        pageFaults: report.counters["page-faults"],
        tableBytes: report.memory.tableBytes,
      });
    }
  });

  it("has a table of what each structure did where the grid asks for it, and says of which points nothing was counted", () => {
    const spec = folder.write(
      "structures.yaml",
      `references: ${TRACE}\ngrid:\n  structures: true\n  warmup: [0, 0.99]\n`,
    );
    const result = mmulab("sweep", spec, "--json", "--quiet");
    expect(result.status).toBe(1);
    const { rows } = resultIn(result.stdout) as unknown as { rows: readonly Row[] };
    const { stdout } = mmulab("replay", "--references", TRACE, "--structures", "--json");
    const { structures } = resultIn(stdout) as unknown as { structures: readonly Row[] };
    const counted = rows.filter(
      ({ table, warmup, entries }) => table === "structures" && warmup === 0 && entries === "all",
    );
    expect(counted.map(({ structure }) => structure)).toEqual(structures.map(({ structure }) => structure));
    for (const [i, row] of counted.entries()) {
      const { lookups, hits, misses, fills, evictions } = structures[i];
      expect(row).toMatchObject({ lookups, hits, misses, fills, evictions });
    }
    const ofSizes = rows.filter(
      ({ structure, entries, warmup }) => structure === "L2 TLB" && entries !== "all" && warmup === 0,
    );
    expect(ofSizes.map(({ entries }) => entries)).toEqual(["4K", "2M"]);
    const [whole, never] = rows.filter(({ table }) => table === "replay");
    expect(whole.failure).toBeUndefined();
    expect(never).toMatchObject({
      references: 0,
      failure: expect.stringMatching(/^nothing was counted: .*169,077 of the warm-up/),
    });
  });

  it("may run the program in a guest", () => {
    const rows = rowsOf(
      `references: ${TRACE}\ngrid:\n  guest: [true, false]\n  host_pages: [4K, 2M]\n  limit: 20000\n`,
      "guests.yaml",
    );
    const cycles = rows.map((row) => Number(row.walkCycles));
    expect(cycles[0]).toBeGreaterThan(cycles[1]);
    expect(cycles[1]).toBeGreaterThan(cycles[2]);
    expect(cycles[2]).toBe(cycles[3]);
  });

  it("shows the values of its grid as they were written", () => {
    const spec = folder.write("fraction.yaml", `references: ${TRACE}\ngrid:\n  warmup: [0.05]\n`);
    expect(mmulab("sweep", spec, "--columns", "references").stdout).toMatch(/^ +0\.05 +1 /m);
  });
});

it("a sweep over a trace of ftrace replays it with every policy and number of CPUs", () => {
  const trace = join(folder.path, "events.txt");
  expect(mmulab("run", "mixed", "--ops", "200", "--events", trace, "--quiet").status).toBe(0);
  const rows = rowsOf(`ftrace: ${trace}\ngrid:\n  cpus: [4, 16]\n  policy: [ipi, eager]\n`, "ftrace.yaml");
  for (const row of rows) {
    const { stdout } = mmulab(
      "replay",
      "--ftrace",
      trace,
      "--json",
      "--cpus",
      `${row.cpus}`,
      "--policy",
      `${row.policy}`,
    );
    const report = resultIn(stdout) as unknown as {
      readonly purges: number;
      readonly freeCycles: number;
      readonly flushCost: { readonly stolenCycles: number };
    };
    expect(row).toMatchObject({
      purges: report.purges,
      freeCycles: report.freeCycles,
      flushStolenCycles: report.flushCost.stolenCycles,
    });
  }
  expect(Number(rows[3].flushStolenCycles)).toBeGreaterThan(Number(rows[1].flushStolenCycles));
});

describe("the specification of a sweep over a trace", () => {
  it("is refused with its place where it makes no sense", () => {
    expect(refusalOf("references: none.gz\n")).toMatch(
      /refused.yaml:1:13: references none.gz: expected a file that there is/,
    );
    expect(refusalOf(`references: ${TRACE}\nseeds: 2\n`)).toMatch(/:2:8: seeds: a replay makes no random choices/);
    expect(refusalOf(`references: ${TRACE}\nworkload: mixed\n`)).toMatch(
      /expected either workload or references, not both/,
    );
    expect(refusalOf(`references: ${TRACE}\ngrid:\n  pages: 3K\n`)).toMatch(/:3:10: pages 3K: expected 4K, 2M, 1G/);
    expect(refusalOf(`references: ${TRACE}\ngrid:\n  policy: ipi\n`)).toMatch(
      /a replay of references has no parameter 'policy'/,
    );
    expect(refusalOf(`ftrace: ${TRACE}\ngrid:\n  pages: 2M\n`)).toMatch(/a replay of ftrace has no parameter 'pages'/);
  });

  it("has another key when the trace holds something else", () => {
    const trace = join(folder.path, "copy.gz");
    copyFileSync(TRACE, trace);
    const spec = folder.write("copy.yaml", `references: ${trace}\n`);
    const { key } = readSweepSpec(spec);
    expect(readSweepSpec(spec).key).toBe(key);
    folder.write("copy.gz", " L 1000,8\n");
    expect(readSweepSpec(spec).key).not.toBe(key);
  });

  it("tells in the row what is wrong with a trace of another format", () => {
    const spec = folder.write("other.yaml", `ftrace: ${TRACE}\n`);
    const result = mmulab("sweep", spec, "--json");
    expect(result.status).toBe(1);
    expect(result.stdout).toMatch(/"error":"[^"]*true\.lackey\.gz/);
  });
});
