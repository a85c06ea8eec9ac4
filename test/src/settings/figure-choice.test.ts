/** `--preset` with files, and `--set`: what they make of a machine's figures, and what they refuse. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allFiguresOf, MmulabError, PRESETS, presetByName } from "../../../arch/index.ts";
import { DEFAULT_KERNEL_COSTS } from "../../../mm/index.ts";
import { checkGuestFigures } from "../../../src/command-line/machine-options.ts";
import { HYPERVISOR_COSTS } from "../../../src/guests/hypervisor-costs.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { choiceOf, type FigureChoice, settableNames } from "../../../src/settings/figure-choice.ts";
import { chooseFigures } from "../../../src/settings/load-figures.ts";
import { kernelSettings } from "../../../src/settings/machine-settings.ts";
import { readPresetFile } from "../../../src/settings/preset-file.ts";
import { temporaryFolder } from "../fixtures.ts";

const SKYLAKE = presetByName("skylake");
const set = (...words: string[]) => choiceOf("skylake", SKYLAKE, words);
const refusal = (...words: string[]): string => {
  try {
    set(...words);
  } catch (error) {
    expect(error).toBeInstanceOf(MmulabError);
    return (error as Error).message;
  }
  return "";
};
const folder = temporaryFolder();

describe("--set", () => {
  it("gives figures of the preset and of the kernel another value, which is assumed from then on", () => {
    const { preset, costs } = set(
      "costs.walk=30",
      "tlbs.2.ways=8",
      "kernel.ipi.latencyCycles.2=900",
      "features.pku=false",
    );
    expect(preset.costs.walk).toMatchObject({ value: 30, unit: "cycles", basis: "assumed" });
    expect(preset.costs.walk.source).toContain("21 in the preset skylake");
    expect(preset.tlbs[2]).toMatchObject({ ways: 8, sets: 16, origins: { ways: { basis: "assumed" } } });
    expect(preset.tlbs[2].origins.sets).toBe(SKYLAKE.tlbs[2].origins.sets);
    expect(preset.features.pku).toBe(false);
    expect(costs.ipi.latencyCycles).toEqual([415, 815, 900, 815, 2000, 3000]);
    expect(DEFAULT_KERNEL_COSTS.ipi.latencyCycles[2]).toBe(815);
    expect(SKYLAKE.costs.walk.value).toBe(21);
  });

  it("reaches the machine and the kernel, together with other settings of the kernel", () => {
    const figures = set("tlbs.2.ways=2", "kernel.callCycles=7");
    const kernel = bootKernel({ ...kernelSettings({ figures, ipiMode: "physical" }, 1), memoryBytes: 2 ** 25 });
    expect(kernel.machine.preset.tlbs[2].ways).toBe(2);
    expect(kernel.mm.costs).toMatchObject({ callCycles: 7, ipi: { destinationMode: "physical" } });
  });

  it("takes numbers as JSON has them, and 0 with either sign as 0", () => {
    expect(set("costs.walk=3e1").preset.costs.walk.value).toBe(30);
    expect(Object.is(set("costs.walk=-0").preset.costs.walk.value, 0)).toBe(true);
  });

  it("takes several together where each alone would not be possible", () => {
    expect(refusal("tlbs.2.ways=12")).toContain("--set tlbs.2.ways 12: expected 1, 2, 4, 8 or 16 ways for tree-plru");
    expect(set("tlbs.2.ways=12", "tlbs.2.replacement=mru3-plru4").preset.tlbs[2].ways).toBe(12);
  });

  it("refuses a name that is no figure with the nearest, and with those beside it", () => {
    expect(refusal("tlbs.2.way=4")).toContain("'tlbs.2.way' (did you mean tlbs.2.ways?); there are tlbs.2.pageSizes");
    expect(refusal("walk=4")).toContain("there are maxPhyAddr, frequencyGhz, tlbs, pagingStructureCaches, dataCaches");
    // Of many, how they begin.
    expect(refusal("kernel.callCycle=4")).toContain(
      "(did you mean kernel.callCycles?); there are kernel.lock, kernel.ipi, ",
    );
    expect(refusal("tlbs.9.ways=4")).toContain("there are tlbs.0, tlbs.1, ");
    for (const name of ["__proto__", "constructor", "tlbs", "costs.constructor", "name"]) {
      expect(refusal(`${name}=1`)).toContain(`unknown figure '${name}'`);
    }
  });

  it.each([
    [["costs.walk"], "--set costs.walk: expected NAME=VALUE, such as costs.walk=30"],
    [["costs.walk=1", "costs.walk=2"], "--set costs.walk=2: expected each name once"],
    [["costs.walk=fast"], "--set costs.walk fast: expected a number, such as 30, 0.5 or 1e6"],
    [["costs.walk=NaN"], "--set costs.walk NaN: expected a number, such as"],
    [["costs.walk=1e999"], "--set costs.walk 1e999: expected a number, such as"],
    [["costs.walk="], "--set costs.walk with no value: expected a number"],
    [["costs.walk=-1"], "--set costs.walk -1: expected a number from 0 to 2^32"],
    [["tlbs.2.ways=1e9"], "--set tlbs.2.ways 1e9: expected a whole number from 1 to"],
    [["hypervisor.fault=-1"], "--set hypervisor.fault -1: expected a number of cycles from 0 to 2^32"],
    [["hypervisor.fault=1e300"], "--set hypervisor.fault 1e+300: expected a number of cycles from 0 to 2^32"],
    [["costs.walk=99999999999"], "--set costs.walk 99999999999: expected a number from 0 to 2^32"],
    [
      ["kernel.ipi.sendCycles=99999999999"],
      "--set kernel.ipi.sendCycles 99999999999: expected a number from 0 to 2^32",
    ],
    [["tlbs.0.replacement=random"], "--set tlbs.0.replacement random: expected one of tree-plru, "],
    [["hypervisor.slice=5"], "--set hypervisor.slice 5: expected a number of ns from 100000 to 1000000000"],
    [["features.pku=1"], "--set features.pku 1: expected true or false"],
    [["tlbs.2.pageSizes=2M"], "--set tlbs.2.pageSizes=2M: tlbs 0 of level 1 with 4K for load: expected exactly one"],
  ])("refuses %j", (words, message) => {
    expect(refusal(...words)).toContain(message);
  });

  it("can be given every name that there is, with the value that it has, and changes nothing", () => {
    for (const preset of PRESETS) {
      const values = new Map(allFiguresOf(preset).map(({ name, value }) => [name, String(value)]));
      expect(settableNames(preset)).toEqual(expect.arrayContaining([...values.keys(), "kernel.ipi.latencyCycles.5"]));
      const words = [...values].map(([name, value]) => `${name}=${value}`);
      const plain = (each: typeof preset) => allFiguresOf(each).map(({ name, value }) => [name, value]);
      expect(plain(choiceOf(preset.name, preset, words).preset)).toEqual(plain(preset));
    }
  });

  it("takes any words or refuses them with one line", () => {
    const name = fc.oneof(fc.constantFrom(...settableNames(SKYLAKE)), fc.string());
    fc.assert(
      fc.property(fc.array(fc.tuple(name, fc.oneof(fc.string(), fc.nat().map(String))), { maxLength: 3 }), (pairs) => {
        expect(refusal(...pairs.map(([key, value]) => `${key}=${value}`))).not.toContain("\n");
      }),
    );
  });
});

describe("--set of a hypervisor's costs", () => {
  const FAULTS = 5;
  it("is what the host of a guest spends, and is listed as given", () => {
    const { hypervisorCosts } = set("hypervisor.fault=90000", "hypervisor.icr=300");
    expect(hypervisorCosts?.fault).toMatchObject({ value: 90_000, basis: "assumed", source: "given; by default 1500" });
    expect(hypervisorCosts?.icr).toBe(HYPERVISOR_COSTS.icr);
    const cyclesOfFault = (figures: FigureChoice): number => {
      const guest = bootKernel({ cpus: 1, ...kernelSettings({ guest: true, figures }, 1) });
      const address = guest.vmalloc(4096);
      const [cpu] = guest.machine.cpus;
      const before = guest.machine.loop.clockCycles[0];
      const faultsBefore = guest.host?.counts[0].faults ?? 0;
      cpu.store(address, 4, 1);
      // Tables of the guest are touched for the first time as well.
      expect((guest.host?.counts[0].faults ?? 0) - faultsBefore).toBe(FAULTS);
      return guest.machine.loop.clockCycles[0] - before;
    };
    expect(cyclesOfFault(set("hypervisor.fault=90000")) - cyclesOfFault(set())).toBe(FAULTS * (90_000 - 1500));
  });

  it("is not heeded without a guest, and refused there", () => {
    expect(() => checkGuestFigures({ set: ["hypervisor.fault=1"] })).toThrow("only guests have a hypervisor (--guest)");
    expect(() => checkGuestFigures({ guest: true, set: ["hypervisor.fault=1"] })).not.toThrow();
  });
});

describe("a preset in a file", () => {
  it("is the preset that was written, of every one of mmulab's own", async () => {
    for (const preset of PRESETS) {
      const file = folder.write(`${preset.name}.json`, JSON.stringify(preset, null, 2));
      expect(readPresetFile(file)).toEqual(preset);
      expect(await chooseFigures(file)).toMatchObject({ presetFile: file });
    }
  });

  it.each<[string, string]>([
    ['"ways": 4,', '"ways": 3,'],
    ['"basis": "measured"', '"basis": "guessed"'],
  ])("with %s made %s is refused with line, field, value and what was expected", (right, wrong) => {
    const lines = JSON.stringify(SKYLAKE, null, 2).split("\n");
    const at = lines.findIndex((line) => line.includes(right));
    lines[at] = lines[at].replace(right, wrong);
    const file = folder.write("wrong.json", lines.join("\n"));
    expect(() => readPresetFile(file)).toThrow(
      new RegExp(`wrong\\.json:${at + 1}:\\d+: [a-z0-9A-Z.]+: \\w+: expected `),
    );
  });

  it("that lacks a field is refused at the object that lacks it", () => {
    const { memory: _, ...rest } = SKYLAKE;
    const file = folder.write("less.json", JSON.stringify(rest));
    expect(() => readPresetFile(file)).toThrow("less.json:1:1: memory: nothing: expected an object");
  });

  it.each(["", "{", '{"a": }', "[1,]", "// no\n{}", "5", "null", '{"__proto__": 5}'])(
    "%j is refused with its place",
    (text) => {
      const file = folder.write("odd.json", text);
      expect(() => readPresetFile(file)).toThrow(/^[^\n]*odd\.json:\d+:\d+: [^\n]+$/);
    },
  );

  it("that does not exist, or is larger than any preset, is refused", async () => {
    await expect(chooseFigures(join(folder.path, "none.json"))).rejects.toThrow("no such file");
    writeFileSync(join(folder.path, "large.json"), " ".repeat(2 ** 21));
    await expect(chooseFigures(join(folder.path, "large.json"))).rejects.toThrow("more than 1048576 bytes");
  });
});
