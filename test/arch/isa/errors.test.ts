/** Errors for the person who uses mmulab: one base class, whichever entry of the package they come from. */
import { describe, expect, it } from "vitest";
import * as arch from "../../../arch/index.ts";
import * as mm from "../../../mm/index.ts";
import * as src from "../../../src/index.ts";
import { thrown } from "../guest.ts";

const {
  MmulabError,
  formatLinearAddress,
  formatLinearAddress16,
  Machine,
  MachineUsageError,
  parsePreset,
  presetByName,
} = arch;

/** Every exported class of errors. */
function errorClasses(exported: Readonly<Record<string, unknown>>): [string, { prototype: unknown }][] {
  return Object.entries(exported).filter(
    (entry): entry is [string, { prototype: unknown }] =>
      typeof entry[1] === "function" && entry[1].prototype instanceof Error,
  );
}

/** What the emulated machine does: the CPU's exceptions, and an access that goes to the bus. */
const MACHINE_RESULTS = [
  "EptMisconfiguration",
  "EptViolation",
  "GeneralProtectionFault",
  "InvalidOpcode",
  "NestedPageFault",
  "NoPhysicalMemory",
  "PageFault",
  "VmExit",
  "VmFail",
];

describe("errors for the person who uses mmulab", () => {
  it("extend one base class, which every entry of the package exports; results of the machine do not", () => {
    for (const entry of [arch, mm, src]) {
      expect(entry.MmulabError).toBe(MmulabError);
      expect(entry.ERROR_CODES).toBe(arch.ERROR_CODES);
      const others = errorClasses(entry)
        .filter(([, { prototype }]) => !(prototype instanceof MmulabError) && prototype !== MmulabError.prototype)
        .map(([name]) => name)
        .sort();
      expect(others).toEqual(entry === arch ? MACHINE_RESULTS : []);
      expect(errorClasses(entry).length).toBeGreaterThan(others.length + 2);
    }
  });

  it("say what was given, for what, and what was expected", () => {
    const caught = (call: () => unknown): unknown => {
      try {
        return call();
      } catch (error) {
        return error;
      }
    };
    expect(caught(() => arch.presetByName("skylke"))).toMatchObject({
      code: "BAD_VALUE",
      name: "MachineUsageError",
      subject: "preset",
      value: "skylke",
      expected: expect.stringContaining("skylake"),
    });
    expect(caught(() => src.bootKernel({ memoryBytes: 5 }))).toMatchObject({
      code: "BAD_VALUE",
      name: "ConfigError",
      subject: "memoryBytes",
      value: 5,
    });
    expect(caught(() => src.findWorkload("mixd"))).toMatchObject({ code: "UNKNOWN_NAME", value: "mixd" });
    expect(caught(() => arch.parseLinearAddress("0x8000000000000000"))).toMatchObject({
      code: "BAD_VALUE",
      value: 2n ** 63n,
    });
    expect(caught(() => arch.parseLinearAddress("twelve"))).toMatchObject({ code: "BAD_TEXT", value: "twelve" });
    expect(caught(() => src.bootKernel({ memoryBytes: 2 ** 26 }).allocFrames(20_000))).toMatchObject({
      code: "NO_MEMORY",
    });
  });
});

describe("an address in a message", () => {
  it("has the 64 bits that the CPU sees", () => {
    expect(formatLinearAddress(0xc900_0000_5000)).toBe("0xffffc90000005000");
    expect(formatLinearAddress(0x7fff_0000_5000)).toBe("0x7fff00005000");
    expect(formatLinearAddress16(0xc900_0000_5000)).toBe("0xffffc90000005000");
    expect(formatLinearAddress16(0x5000)).toBe("0x0000000000005000");
  });

  it("is never longer for a long value", () => {
    const preset = { ...presetByName("zen4"), vendor: "x".repeat(5000) };
    expect(() => parsePreset(preset)).toThrow(/^preset: vendor: x{20,200}(\.\.\.)?: expected /);
  });

  it("names what was wrong as a field too", () => {
    const problem = thrown(MachineUsageError, () => new Machine({ memoryBytes: 2 ** 37, maxPhyAddr: 36 }));
    expect(problem).toMatchObject({ subject: "memoryBytes", message: expect.stringContaining("2^36") });
  });
});
