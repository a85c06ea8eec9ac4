/**
 * The names in JSON outputs, which other people's scripts read. Renaming a field inside the program must not change them: this
 * list is written by hand, and what is added or renamed on purpose is changed here and told in the change log.
 */
import { describe, expect, it } from "vitest";
import { presetByName } from "../../../arch/index.ts";
import { EXPERIMENTS, runExperiment } from "../../../src/experiments/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { replayReferences } from "../../../src/references/reference-replay.ts";
import { runOnKernel } from "../../../src/runs/run.ts";
import { replayFtrace } from "../../../src/traces/ftrace-replay.ts";
import { findWorkload } from "../../../src/workloads/index.ts";
import { temporaryFolder } from "../fixtures.ts";

const folder = temporaryFolder();
const SKYLAKE = presetByName("skylake");

/** Objects whose keys are names of things (functions, counters, activities), not of fields. */
const MAPS = ["operations", "counters", "cyclesByActivity", "parameters", "details"];

/** `name(first,second)` of everything in a JSON value: fields of an object, of the first element of a list of objects. */
function shapeOf(value: unknown): string {
  const plain: unknown = JSON.parse(JSON.stringify(value));
  if (Array.isArray(plain)) return plain.length > 0 && typeof plain[0] === "object" ? `[${shapeOf(plain[0])}]` : "[]";
  if (typeof plain !== "object" || plain === null) return "";
  const fields = Object.entries(plain).map(([name, field]) => `${name}${shapeOfField(name, field)}`);
  return `(${fields.join(" ")})`;
}

function shapeOfField(name: string, field: unknown): string {
  if (!MAPS.includes(name)) return shapeOf(field);
  if (Array.isArray(field)) return "[*]";
  const [first] = Object.values(field as object);
  return typeof first === "object" ? `*${shapeOf(first)}` : "*";
}

const COST = "workCycles waitCycles stolenCycles lineCycles refillCycles refills";

describe("the fields of JSON outputs", () => {
  it("of a run, with accounts of its flushes", () => {
    const kernel = bootKernel({ cpus: 2, vmalloc: { lazyMaxPages: 16 } });
    kernel.vm.flushing.keepAccounts();
    const report = runOnKernel(kernel, findWorkload("fork_storm"), { operations: 300, seed: 1 });
    expect(shapeOf(report)).toBe(
      "(workload seed parameters* details* lines[] machine(cpus memoryBytes preset frequencyGhz figures(measured documented assumed)) " +
        "operations*(done failed bytes) memory(loads stores wrongLoads) " +
        "pageTables(leavesMapped leavesUnmapped tablesAllocated tablesFreed tablesByLevel[]) counters[*] " +
        "vmalloc(areasAllocated areasFromPools areasFailed areasFreed blocksMade blocksFreed blockAllocations purges " +
        "drains areasPurged fullFlushes rangeFlushes pagesFlushedOneByOne pagesFreedLazily lazyPagesMax lazyPages " +
        "lazyMaxPages) cycles[(total idle spin)] " +
        `flushCosts(policy byCause[(cause wholeTlbBecause flushes interrupted ${COST})] ` +
        `byOrigin[(origin frees pages ${COST})] cyclesByActivity*) kernelWarnings)`,
    );
  });

  it("of an experiment", () => {
    const [experiment] = EXPERIMENTS.filter(({ name }) => name === "page-tables");
    const given = { size: "64", accesses: "100", pages: "4K", levels: "4" };
    expect(shapeOf(runExperiment(experiment, SKYLAKE, 1, given))).toBe(
      "(name preset seed parameters*[] tables[(name title columns[(key heading)] rows[[]])] " +
        "plots[(title xName yName xLog yLog series[(name points[[]])])] findings[] inputs[(name of value unit basis source)])",
    );
  });

  it("of a replay of ftrace text", async () => {
    const lines = [
      "CPU:0 [LOST 2 EVENTS]",
      "            a-1000    [000] .....     0.000001: alloc_vmap_area: va_start: 18446683600570040320 size=8192 align=1 vstart=0xffffc90000000000 vend=0xffffe8ffffffffff failed=0",
      "            a-1000    [000] .....     0.000002: free_vmap_area_noflush: va_start=0xffffc90000005000 nr_lazy=2 nr_lazy_max=8192",
      "            a-1000    [000] .....     0.000003: free_vmap_area_noflush: va_start=0xffffc90000995000 nr_lazy=2 nr_lazy_max=8192",
    ];
    const file = folder.write("trace.txt", `${lines.join("\n")}\n`);
    const options = { preset: SKYLAKE, memoryBytes: 2 ** 32, settings: {} };
    expect(shapeOf(await replayFtrace(file, options))).toBe(
      "(trace machine(preset frequencyGhz figures(measured documented assumed) cpus) policy kernel lazyMaxPages " +
        "traced(cpus seconds lazyMaxPages purges explicitPurges areasPurged) purges areasPurged fullFlushes rangeFlushes " +
        `flushCost(${COST}) cyclesByActivity* differences[] skipped[(reason count lines[])] lost[(cpu events)] ` +
        "areas(allocated bytes atTracedAddress freed failed live) allocCycles freeCycles)",
    );
  });

  it("of a replay of a program's memory references", async () => {
    const file = folder.write("trace.lackey", "I  04000000,3\n L 1fff000778,8\n");
    const options = { preset: SKYLAKE, memoryBytes: 2 ** 32, pageSize: "4K", windowReferences: 100 } as const;
    expect(shapeOf(await replayReferences(file, options))).toBe(
      "(trace format preset frequencyGhz pageSize lines oddLines firstOddLine cpus threads processes instructions " +
        "skippedReferences warmupReferences references counters* cycles " +
        "memory(pagesTouched mappedBytes tablesByLevel[] tableBytes) workingSet(windowReferences pages[]))",
    );
  });
});
