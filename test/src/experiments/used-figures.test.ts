/** Which figures of its machines an experiment says that it has used: all that move a clock, and no others. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { allFiguresOf, presetByName } from "../../../arch/index.ts";
import { EventLoop } from "../../../arch/time/event-loop.ts";
import type { InputFigure } from "../../../src/experiments/base/experiment.ts";
import { EXPERIMENTS, findExperiment, runExperiment } from "../../../src/experiments/index.ts";
import { renderInputs } from "../../../src/experiments/render/result-text.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { traceEverything } from "../../../src/output/event-file.ts";
import { choiceOf } from "../../../src/settings/figure-choice.ts";
import type { MachineSettings } from "../../../src/settings/machine-settings.ts";
import { findWorkload } from "../../../src/workloads/index.ts";
import { temporaryFolder } from "../fixtures.ts";
import { SMALL, TINY } from "./small-runs.ts";

const NAMES = EXPERIMENTS.map(({ name }) => name);
/** With these, each takes milliseconds; together they use the greater part of all figures. */
const QUICK = ["tlb-curves", "vmalloc-pages", "munmap-barrier", "concurrent-flush", "fork", "walk-overlap"];
/** Structures count as used as a whole where something was put into them, whether they were outgrown or not. */
const STRUCTURE = /^(tlbs|pagingStructureCaches|dataCaches|virtualization\.guestPhysicalCaches)\./;
/** Used, and without effect where other values would have some, each for its reason. */
const WITHOUT_EFFECT: Readonly<Record<string, string>> = {
  "lineTransfers.coresPerCluster": "on this part a line takes as long from another cluster as from the own one",
};

/** Figures of which twice as much is not possible, and another value. */
const OTHER_VALUES: Readonly<Record<string, number>> = { maxPhyAddr: 52, "sharedCore.throughput": 1.9 };

const folder = temporaryFolder();

/** The lines of a short run's trace. */
function tracedLines(): string[] {
  const kernel = bootKernel({ cpus: 2 });
  const lines: string[] = [];
  const cyclesPerSecond = kernel.machine.preset.frequencyGhz.value * 1e9;
  kernel.vm.events = traceEverything(kernel, cyclesPerSecond, (line) => lines.push(line));
  findWorkload("mixed").run(kernel, { operations: 20, seed: 1 });
  return lines;
}

afterEach(() => {
  vi.restoreAllMocks();
});

/** What a run gives that depends on its figures: its tables, and the clocks of all its machines. */
function outcomeOf(
  preset: string,
  name: string,
  words: readonly string[],
  settings: MachineSettings,
  notes = false,
  more: Readonly<Record<string, string>> = {},
) {
  const machines = vi.spyOn(EventLoop.prototype, "shareCores");
  const figures = choiceOf(preset, presetByName(preset), words);
  const given = { ...SMALL[name], ...TINY[name], ...more };
  const all = { ...settings, figures };
  const result = runExperiment(findExperiment(name), figures.preset, 1, given, undefined, all, notes);
  const clocks = machines.mock.contexts.map((loop) => [...(loop as EventLoop).clockCycles]);
  machines.mockRestore();
  expect(clocks.length).toBeGreaterThan(0);
  const { tables, plots, findings, inputs } = result;
  return { inputs, outcome: JSON.stringify({ tables, plots, findings, clocks }) };
}

/** `NAME=VALUE` of numbers, each multiplied; of what is 0 another number where it is a cost. */
function changed(figures: readonly InputFigure[], factor: number): string[] {
  return figures.flatMap(({ name, value, unit }) => {
    if (typeof value !== "number") return [];
    // Which ways a TLB can have depends on its replacement; its sets are changed all the same.
    if (unit === "ways" && name.startsWith("tlbs.")) return [];
    if (value === 0) return unit === "cycles" ? [`${name}=64`] : [];
    return [`${name}=${OTHER_VALUES[name] ?? value * factor}`];
  });
}

/** Runs with use noted and without; holds that both give the same. */
function notedRun(
  preset: string,
  name: string,
  settings: MachineSettings = {},
  more: Readonly<Record<string, string>> = {},
) {
  const plain = outcomeOf(preset, name, [], settings, false, more);
  const noted = outcomeOf(preset, name, [], settings, true, more);
  expect(noted.outcome).toBe(plain.outcome);
  expect(plain.inputs).toEqual(noted.inputs.map(({ used: _, ...figure }) => figure));
  const used = noted.inputs.filter((figure) => figure.used);
  const others = noted.inputs.filter((figure) => !figure.used);
  expect(Math.min(used.length, others.length)).toBeGreaterThan(0);
  return { outcome: plain.outcome, used, others };
}

describe("figures that an experiment has not used", () => {
  it.each(NAMES)("%s: doubling all of them changes neither its tables nor a clock", (name) => {
    const { outcome, others } = notedRun("skylake", name);
    expect(outcomeOf("skylake", name, changed(others, 2), {}).outcome).toBe(outcome);
  });

  it.each([
    ["zen4", "madvise-loop", { mitigations: "on", memcgLevels: 2 }],
    ["zen4", "munmap-barrier", { idleStates: "all" }],
    ["icelake", "pcid-ping-pong", { mitigations: "on" }],
    ["haswell", "guest-shootdown", {}],
  ] as const)("%s, %s with %o: neither does that", (preset, name, settings) => {
    const { outcome, others } = notedRun(preset, name, settings);
    expect(outcomeOf(preset, name, changed(others, 2), settings).outcome).toBe(outcome);
  });

  it.each([
    ["with the calls", /./],
    ["of areas alone", /^#|: (alloc_vmap_area|free_vmap_area_noflush|purge_vmap_area_lazy):/],
  ])("kernel-diff of a trace %s: neither does that, and most figures are among them", (what, pattern) => {
    const lines = tracedLines().filter((line) => pattern.test(line));
    const ftrace = folder.write(`${what}.txt`, `${lines.join("\n")}\n`);
    const { outcome, used, others } = notedRun("skylake", "kernel-diff", {}, { ftrace });
    expect(outcomeOf("skylake", "kernel-diff", changed(others, 2), {}, false, { ftrace }).outcome).toBe(outcome);
    const names = used.map((figure) => figure.name);
    expect(names).toContain("kernel.callCycles");
    expect(names).not.toContain("costs.invlpgb");
    expect(others.length).toBeGreaterThan(used.length);
  });
});

describe("figures that an experiment has used", () => {
  it.each(QUICK)(
    "%s: changing any of them, structures but for the time that they take left out, changes a clock",
    (name) => {
      const { outcome, used } = notedRun("skylake", name);
      const still = used.filter((figure) => {
        if (typeof figure.value !== "number" || STRUCTURE.test(figure.name)) return false;
        // Some times pass while a CPU waits for something that takes longer: they show when they are long.
        return [2, 0.5, 64].every((factor) => {
          const [word] = changed([figure], factor);
          return word === undefined || outcomeOf("skylake", name, [word], {}).outcome === outcome;
        });
      });
      expect(still.map((figure) => figure.name).filter((figure) => WITHOUT_EFFECT[figure] === undefined)).toEqual([]);
    },
  );

  it("are those of the structures that something was put into: a TLB of pages of 1 GiB only where there are some", () => {
    const preset = presetByName("skylake");
    const [of1g] = preset.tlbs.filter(({ level, pageSizes }) => level === 1 && pageSizes.join() === "1G");
    const name = `tlbs.${preset.tlbs.indexOf(of1g)}.ways`;
    expect(allFiguresOf(preset).map((figure) => figure.name)).toContain(name);
    const usedWith = (pages: string) =>
      runExperiment(
        findExperiment("page-tables"),
        preset,
        1,
        { size: "1024", accesses: "9", levels: "4", pages },
        undefined,
        {},
        true,
      )
        .inputs.filter((figure) => figure.used)
        .map((figure) => figure.name);
    expect([usedWith("1G").includes(name), usedWith("2M").includes(name)]).toEqual([true, false]);
  });
});

describe("--inputs", () => {
  const result = runExperiment(
    findExperiment("vmalloc-pages"),
    presetByName("skylake"),
    1,
    TINY["vmalloc-pages"],
    undefined,
    {},
    true,
  );
  const used = result.inputs.filter((figure) => figure.used);
  const others = result.inputs.length - used.length;

  it("prints what was used, and how many others there are", () => {
    const text = renderInputs(result);
    expect(text).toContain(`  ${used.length} figures used: `);
    expect(text).toContain(`  ${others} other figures of the machine: `);
    expect(text).toContain("callCycles");
    expect(text).not.toContain("forkCycles");
  });

  it("prints these too, when all are asked for", () => {
    const [shown, rest] = renderInputs(result, true).split("\nNot used\n");
    expect(shown).toContain("callCycles");
    expect(shown).not.toContain("forkCycles");
    expect(rest).toContain("forkCycles");
  });
});
