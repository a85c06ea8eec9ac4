/** Sizes and addresses are taken in every way of writing them, whichever command they are for. */
import type { Command, Option } from "commander";
import { describe, expect, it } from "vitest";
import { COMMANDS } from "../../../src/commands/index.ts";
import { wholeProgram } from "../../../src/commands/whole-program.ts";
import { EXPERIMENTS } from "../../../src/experiments/index.ts";
import { type ParameterSpec, parameterValue } from "../../../src/input/parameters.ts";
import { PageRules } from "../../../src/references/page-rules.ts";
import { GUEST_SETTINGS } from "../../../src/settings/guest-settings.ts";
import { SETTINGS } from "../../../src/settings/machine-settings.ts";
import { WORKLOADS } from "../../../src/workloads/index.ts";
import { mmulab, resultIn } from "../run-cli.ts";

/** The same by each way of writing it. */
const SIZES = ["128MiB", "128M", "128m", "0.125 GiB", "0x8000000", "134217728", "32768 pages", "32768pages"];
const ADDRESSES = ["0xffffc90000000000", "0xFFFFC90000000000", String(0xffffc90000000000n)];
const PAGES = ["512", "0x200", "2MiB", "2M", "512 pages", "2048k"];

function optionsOf(command: Command): Option[] {
  return [...command.options, ...command.commands.flatMap(optionsOf)];
}

const OPTIONS = optionsOf(await wholeProgram(COMMANDS));
const withPlaceholder = (word: string): Option[] => OPTIONS.filter(({ flags }) => flags.endsWith(`<${word}>`));

/** What an option makes of a text. */
function valueGiven({ parseArg }: Option, text: string): unknown {
  return parseArg === undefined ? text : parseArg(text, undefined as never);
}

/** Parameters of experiments and workloads that count memory. */
const PARAMETERS = [...EXPERIMENTS, ...WORKLOADS].flatMap(({ name, parameters }) =>
  (parameters ?? []).map((spec): [string, ParameterSpec] => [`${name} ${spec.name}`, spec]),
);

function read(spec: ParameterSpec, text: string) {
  return parameterValue(spec, text, (expected) => new Error(expected));
}

describe("sizes", () => {
  it("are one value by each way of writing them, in every option that takes one", () => {
    const options = withPlaceholder("size");
    expect(options.map(({ long }) => long)).toEqual(expect.arrayContaining(["--memory", "--fit", "--align"]));
    for (const option of options.filter(({ long }) => !["--guest-pages", "--host-pages"].includes(long ?? ""))) {
      expect([...new Set(SIZES.map((text) => valueGiven(option, text)))], option.flags).toEqual([2 ** 27]);
      expect(() => valueGiven(option, "128 parsecs")).toThrow();
    }
  });

  it("are taken for numbers of pages, as these are", () => {
    for (const name of ["lazy-max", "flush-ceiling"] as const) {
      expect([...new Set(PAGES.map((text) => SETTINGS[name].parse(text)))], name).toEqual([512]);
      expect(() => SETTINGS[name].parse("1000")).not.toThrow();
      expect(() => SETTINGS[name].parse("1000b")).toThrow();
    }
  });

  it("are taken by every parameter of an experiment or workload that counts memory", () => {
    const counting = PARAMETERS.filter(([, { kind, summary }]) => {
      return kind.startsWith("integer") && /\b(?:MiB|GiB|bytes|pages of|^pages$|in pages)\b/.test(summary);
    });
    expect(counting.length).toBeGreaterThan(8);
    expect(counting.filter(([, spec]) => !("unit" in spec)).map(([name]) => name)).toEqual([]);
    for (const [name, spec] of PARAMETERS) {
      if (!("unit" in spec)) continue;
      const [number, size] = { pages: ["2", "8k"], MiB: ["2", "2m"], GiB: ["2", "2048MiB"] }[spec.unit ?? "pages"];
      expect(read(spec, size), name).toEqual(read(spec, number));
      expect(() => read(spec, "1b"), name).toThrow(/or sizes such as/);
    }
  });

  it("of pages may be written like any other", () => {
    for (const [text, size] of [
      ["4k", "4K"],
      ["4096", "4K"],
      ["2MiB", "2M"],
      ["0x200000", "2M"],
      ["1024m", "1G"],
    ]) {
      for (const name of ["guest-pages", "host-pages"] as const) {
        expect(GUEST_SETTINGS[name].parse(text), name).toBe(size);
      }
      expect(new PageRules(text).levelOf(0)).toBe(new PageRules(size).levelOf(0));
      const words = PARAMETERS.filter(([, spec]) => spec.kind === "words" && spec.words.includes("2M"));
      expect(words.length).toBeGreaterThan(2);
      for (const [name, spec] of words) expect(read(spec, text), name).toEqual([size]);
    }
    const rules = ["2M@0x40000000-0x80000000", "2MiB@1073741824-2147483648"].map((text) => new PageRules(text));
    expect(rules.map((each) => [each.levelOf(0x40000000), each.levelOf(0)])).toEqual([
      [2, 1],
      [2, 1],
    ]);
  });
});

describe("addresses", () => {
  it("are one value in hexadecimal and decimal, in every option that takes one", () => {
    const options = withPlaceholder("address");
    expect(options.map(({ long }) => long)).toEqual(expect.arrayContaining(["--address", "--base"]));
    for (const option of options.filter(({ parseArg }) => parseArg !== undefined)) {
      expect(new Set(ADDRESSES.map((text) => valueGiven(option, text))).size, option.flags).toBe(1);
      expect(() => valueGiven(option, "ffffc9")).toThrow();
    }
    const walks = ADDRESSES.map((address) => {
      const { stdout } = mmulab("inspect", "walk", "--run", "none", "--address", address, "--json");
      return JSON.stringify(resultIn(stdout));
    });
    expect(new Set(walks).size).toBe(1);
  });
});
