import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TextFormatError } from "../../../arch/index.ts";
import {
  formatAddressMarker,
  formatPageTableRun,
  isKernelLogLine,
  parseAddressMarker,
  parsePageTableRun,
} from "../../../mm/views/page-table-run.ts";
import { formatVmallocinfoLine, parseVmallocinfoLine } from "../../../mm/views/vmallocinfo-line.ts";
import { fixtureLines } from "../../src/fixtures.ts";

const NAMES = ["mixed_smp4_s1", "huge_smp2_s1", "mapram_smp1_s1", "migrate_smp2_s1"];

function finalText(name: string, key: string): string[] {
  const line = fixtureLines(name).find((text) => text.startsWith(`{"${key}"`));
  if (line === undefined) throw new Error(`${name} has no ${key}`);
  return JSON.parse(line)[key];
}

describe("/proc/vmallocinfo", () => {
  it.each(NAMES)("of %s survives parsing and formatting to the letter", (name) => {
    const text = finalText(name, "final_vmallocinfo");
    expect(text.length).toBeGreaterThan(10);
    expect(text.map((line) => formatVmallocinfoLine(parseVmallocinfoLine(line)))).toEqual(text);
  });

  it("is read field by field", () => {
    const line =
      "0xffffc90000005000-0xffffc90000007000    8192 do_alloc+0x96/0x370 [gtrec] pages=1 phys=0x00000000fed00000 ioremap vpages N0=1";
    expect(parseVmallocinfoLine(line)).toEqual({
      start: 0xc900_0000_5000,
      end: 0xc900_0000_7000,
      sizeBytes: 8192,
      caller: "do_alloc+0x96/0x370 [gtrec]",
      pages: 1,
      phys: 0xfed0_0000,
      words: ["ioremap", "vpages", "N0=1"],
      vmMapRam: false,
      unpurged: false,
    });
    expect(formatVmallocinfoLine(parseVmallocinfoLine(line))).toBe(line);
  });

  it("can lack a caller", () => {
    const line = "0xffffc90000005000-0xffffc90000007000    8192 pages=1 vmalloc";
    expect(parseVmallocinfoLine(line)).toMatchObject({ caller: "", pages: 1, words: ["vmalloc"] });
    expect(formatVmallocinfoLine(parseVmallocinfoLine(line))).toBe(line);
  });

  it("can say nothing but where an area is", () => {
    const area = { start: 0xc900_0000_5000, end: 0xc900_0000_7000, sizeBytes: 8192 };
    const nothing = { caller: "", pages: 0, phys: null, words: [], vmMapRam: false, unpurged: false };
    expect(formatVmallocinfoLine({ ...area, ...nothing })).toBe("0xffffc90000005000-0xffffc90000007000    8192");
  });

  it("is refused when it is something else", () => {
    expect(() => parseVmallocinfoLine("0xffffc90000005000 8192 x")).toThrow(TextFormatError);
    expect(() => parseVmallocinfoLine("0xffffc90000005000-0xffffc90000007000    8192 pages=x vmalloc")).toThrow(
      /pages=/,
    );
  });
});

describe("the page-table dump", () => {
  it.each(NAMES)("of %s survives parsing and formatting to the letter", (name) => {
    const text = finalText(name, "final_ptdump").filter((line) => !isKernelLogLine(line));
    const [marker, ...runs] = text;
    expect(formatAddressMarker(parseAddressMarker(marker) ?? "none")).toBe(marker);
    expect(runs.map((line) => formatPageTableRun(parsePageTableRun(line)))).toEqual(runs);
  });

  it("keeps every run through formatting and parsing", () => {
    const page = fc.integer({ min: 0, max: 2 ** 35 - 1 }).map((vpn) => 2 ** 47 + vpn * 4096);
    const flags = fc.record({
      user: fc.boolean(),
      rw: fc.boolean(),
      pwt: fc.boolean(),
      pcd: fc.boolean(),
      pse: fc.boolean(),
      pat: fc.boolean(),
      global: fc.boolean(),
      nx: fc.boolean(),
    });
    const none = { user: false, rw: false, pwt: false, pcd: false, pse: false, pat: false, global: false, nx: false };
    const level = fc.constantFrom("pgd" as const, "p4d" as const, "pud" as const, "pmd" as const, "pte" as const);
    fc.assert(
      fc.property(page, page, level, fc.option(flags), (a, b, at, some) => {
        const [start, end] = [Math.min(a, b), Math.max(a, b) + 4096];
        const run = { start, end, level: at, present: some !== null, ...(some ?? none) };
        expect(parsePageTableRun(formatPageTableRun(run))).toEqual(run);
      }),
    );
  });

  it("shows the end of the address space as 0", () => {
    const line = "0xffffffffff800000-0x0000000000000000           8M                               pmd";
    expect(parsePageTableRun(line).end).toBe(2 ** 48);
    expect(formatPageTableRun(parsePageTableRun(line))).toBe(line);
  });

  it("tells kernel log lines from its own", () => {
    expect(isKernelLogLine("[    1.858682] GTREC dumps before rc=0")).toBe(true);
    expect(isKernelLogLine("[12345.858682] anything")).toBe(true);
    expect(isKernelLogLine("---[ vmalloc() Area ]---")).toBe(false);
    expect(() => parsePageTableRun("[    1.858682] GTREC")).toThrow(TextFormatError);
  });
});
