/** What makes two versions of the kernel differ is found, not said. */
import { beforeAll, describe, expect, it } from "vitest";
import { differingEntries, KERNEL_VERSIONS, kernelVersionByName, withEntries } from "../../../../mm/index.ts";
import { findCauses } from "../../../../src/experiments/kernel-diff/causes.ts";
import { kernelDiff } from "../../../../src/experiments/kernel-diff/kernel-diff.ts";
import { temporaryFolder } from "../../fixtures.ts";
import { column, rows, run } from "../small-runs.ts";

const folder = temporaryFolder();

beforeAll(() => kernelDiff.prepare?.());

/** Figures of a made-up kernel: a function of the entries that are switched. */
function causesOf(figure: (has: (entry: string) => boolean, late: number) => number) {
  return findCauses(
    ["decayOf", "hasVmapNodes", "drainRepeats"],
    (entries, late) => new Map([["figure", figure((entry) => entries.includes(entry as never), late)]]),
    true,
  );
}

describe("causes of a difference", () => {
  it("one entry makes all of it from both sides", () => {
    const { effects, interactions } = causesOf((has) => (has("decayOf") ? 30 : 10));
    expect(effects).toEqual([{ figure: "figure", entry: "decayOf", alone: 20, undone: 20 }]);
    expect(interactions).toEqual([]);
  });

  it("two entries that do nothing alone make it together", () => {
    const { effects, interactions } = causesOf((has) => (has("decayOf") && has("hasVmapNodes") ? 7 : 0));
    expect(effects.map(({ entry, alone, undone }) => [entry, alone, undone])).toEqual([
      ["decayOf", 0, 7],
      ["hasVmapNodes", 0, 7],
    ]);
    expect(interactions).toEqual([{ figure: "figure", entries: ["decayOf", "hasVmapNodes"], beyond: 7 }]);
  });

  it("two that cancel are found though the figure is the same", () => {
    const { from, to, effects } = causesOf((has) => 100 + (has("decayOf") ? 5 : 0) - (has("drainRepeats") ? 5 : 0));
    expect(to).toEqual(from);
    expect(effects.map(({ entry, alone }) => [entry, alone])).toEqual([
      ["decayOf", 5],
      ["drainRepeats", -5],
    ]);
  });

  it("is no more than timing does where a late CPU does as much", () => {
    const { effects, byTiming } = causesOf((has, late) => (has("decayOf") ? 30 : 10) + (late > 0 ? 25 : 0));
    expect(byTiming.get("figure")).toBe(25);
    expect(effects).toEqual([]);
  });
});

describe("kernel-diff", () => {
  it("names the merging of lazily freed areas as what makes purges of 6.6 give fewer ranges back", () => {
    const result = run("kernel-diff", { from: "6.6", to: "6.12", ops: "500", cpus: "1", pairs: "n" });
    const given = rows(result, "figures").find(({ figure }) => figure === "ranges given back to the free tree");
    expect(Number(given?.to)).toBeGreaterThan(Number(given?.from));
    expect(given?.cause).toBe("mergesLazyAreas");
    const effect = rows(result, "effects").find(({ figure }) => figure === given?.figure);
    expect([effect?.alone, effect?.undone]).toEqual([given?.difference, given?.difference]);
    expect(result.findings.join("\n")).toContain("mergesLazyAreas makes all of it.");
  });

  it("runs the calls of a recording by the rules of both, and names what moves frames in 7.3", () => {
    const result = run("kernel-diff", { from: "6.12", to: "7.3", recording: "test/recordings/huge_smp2_s1.jsonl.gz" });
    const frames = rows(result, "figures").find(({ figure }) => figure === "mappings that begin at another frame");
    expect(frames?.cause).toBe("asksLargeOrdersFirst");
    expect(frames?.difference).toBe(rows(result, "effects").find(({ figure }) => figure === frames?.figure)?.alone);
  });

  it("runs a trace by the kernel's own rules, and nothing differs between a version and itself", () => {
    const at = (usec: number, text: string): string =>
      `  insmod-7 [000] ..... 1.${String(usec).padStart(6, "0")}: ${text}`;
    const lines: string[] = [];
    for (let i = 0; i < 40; i++) {
      const start = 0xffffc90000000000n + BigInt(i * 0x3000);
      lines.push(
        at(
          i * 10,
          `alloc_vmap_area: va_start: ${start} size=8192 align=1 vstart=0xffffc90000000000 vend=0xffffe8ffffffffff failed=0`,
        ),
        at(
          i * 10 + 5,
          `free_vmap_area_noflush: va_start=0x${start.toString(16)} nr_lazy=${(i + 1) * 2} nr_lazy_max=16384`,
        ),
      );
    }
    const ftrace = folder.write("trace.txt", `${lines.join("\n")}\n`);
    const result = run("kernel-diff", { from: "6.1", to: "6.1", ftrace });
    expect(result.findings[0]).toBe("6.1 and 6.1 do the same here, figure by figure.");
    expect(rows(result, "figures").find(({ figure }) => figure === "areas freed")?.to).toBe(40);
    expect(column(rows(result, "figures"), "difference").every((difference) => difference === 0)).toBe(true);
  });

  it("refuses a workload, a file or a pair that there is not, in one line", () => {
    expect(() => run("kernel-diff", { workload: "mixt" })).toThrow(/^--workload: unknown workload 'mixt'.*mixed/);
    expect(() => run("kernel-diff", { parameters: "x=1" })).toThrow(/x/);
    expect(() => run("kernel-diff", { ftrace: "none.txt" })).toThrow(/none\.txt: no such file/);
    expect(() => run("kernel-diff", { ftrace: "a", recording: "b" })).toThrow(/expected one of them/);
    expect(() => run("kernel-diff", { from: "6.1,6.6" })).toThrow(/^--from/);
  });
});

describe("entries of versions", () => {
  it("all switched make the other version, none the same", () => {
    for (const from of KERNEL_VERSIONS) {
      for (const to of KERNEL_VERSIONS) {
        const { name, since, release, isRecorded } = from;
        const all = differing(from.name, to.name);
        expect(withEntries(from, to, all)).toEqual({ ...to, name, since, release, isRecorded });
        expect(withEntries(from, to, [])).toEqual(from);
      }
    }
  });
});

function differing(from: string, to: string) {
  return differingEntries(kernelVersionByName(from), kernelVersionByName(to));
}
