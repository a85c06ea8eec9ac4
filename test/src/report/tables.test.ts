import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { grouped } from "../../../src/report/numbers.ts";
import { renderTable } from "../../../src/report/tables.ts";
import { setTextWidth } from "../../../src/report/text-width.ts";

afterEach(() => setTextWidth(Number.POSITIVE_INFINITY));

describe("tables", () => {
  it("align names left and numbers right, with thousands set apart", () => {
    const rows = [
      ["vmalloc", 1234567, "4 KiB"],
      ["vm_map_ram", 8, "16 MiB"],
    ];
    expect(renderTable(["call", "done", "bytes"], rows)).toBe(
      [
        "  call             done   bytes",
        "  vmalloc     1,234,567   4 KiB",
        "  vm_map_ram          8  16 MiB",
        "",
      ].join("\n"),
    );
  });

  it("that are too wide have headings of several lines", () => {
    setTextWidth(28);
    expect(renderTable(["call", "page walks", "walk cycles"], [["vmalloc", 12, 1234567]])).toBe(
      [
        "            page       walk", //
        "  call     walks     cycles",
        "  vmalloc     12  1,234,567",
        "",
      ].join("\n"),
    );
  });

  it("that are still too wide come in blocks, each with what a row is", () => {
    setTextWidth(32);
    const rows = [
      ["vmalloc", 1234567, 1234567, 1234567],
      ["vfree", 1, 2, 3],
    ];
    expect(renderTable(["call", "one", "two", "three"], rows)).toBe(
      [
        "  call           one        two",
        "  vmalloc  1,234,567  1,234,567",
        "  vfree            1          2",
        "",
        "  call         three",
        "  vmalloc  1,234,567",
        "  vfree            3",
        "",
      ].join("\n"),
    );
  });

  it("in blocks repeat as many columns as tell their rows apart", () => {
    setTextWidth(32);
    const rows = [
      ["ipi", 2, 1234567, 1234567],
      ["ipi", 16, 1, 2],
    ];
    expect(renderTable(["policy", "CPUs", "one", "two"], rows)).toBe(
      [
        "  policy  CPUs        one",
        "  ipi        2  1,234,567",
        "  ipi       16          1",
        "",
        "  policy  CPUs        two",
        "  ipi        2  1,234,567",
        "  ipi       16          2",
        "",
      ].join("\n"),
    );
    // Rows that nothing tells apart have their first column, as a row has that more columns would leave no room.
    const alike = renderTable(["policy", "CPUs", "one", "two"], [rows[0], rows[0]]);
    expect(alike.split("\n").filter((line) => line.includes("CPUs"))).toHaveLength(1);
  });

  it("fold long names at blanks and at marks in words", () => {
    setTextWidth(40);
    expect(renderTable(["caller", "frees"], [["0xffffffff81234567 load_module+0x1a/0x20 [nf_tables]", 7]])).toBe(
      [
        "  caller                 frees",
        "  0xffffffff81234567         7",
        "  load_module+0x1a/0x20",
        "  [nf_tables]",
        "",
      ].join("\n"),
    );
  });

  it("fit any terminal, and lose nothing", () => {
    const cell = fc.oneof(fc.nat(), fc.stringMatching(/^[a-z]{1,9}( [a-z]{1,9}){0,6}$/));
    const table = fc
      .integer({ min: 1, max: 12 })
      .chain((columns) =>
        fc.tuple(
          fc.array(fc.stringMatching(/^[a-z]{1,9}( [a-z]{1,9}){0,3}$/), { minLength: columns, maxLength: columns }),
          fc.array(fc.array(cell, { minLength: columns, maxLength: columns }), { minLength: 1, maxLength: 4 }),
          fc.integer({ min: 40, max: 120 }),
        ),
      );
    fc.assert(
      fc.property(table, ([headings, rows, width]) => {
        setTextWidth(width);
        const text = renderTable(headings, rows);
        expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThanOrEqual(width);
        const letters = (words: readonly (string | number)[]) => words.join("").replace(/[^a-z0-9]/g, "").length;
        expect(letters([text])).toBeGreaterThanOrEqual(letters([...headings, ...rows.flat()]));
      }),
    );
  });

  it("have the points of a column's numbers below each other, and numbers that say what a row is to the right too", () => {
    const rows = [
      [1, "ipi", 0, 777.612, 12],
      [1024, "eager", 98.7, 0.344, 3],
    ];
    expect(renderTable(["CPUs", "policy", "misses %", "us", "flushes"], rows)).toBe(
      [
        "   CPUs  policy  misses %       us  flushes",
        "      1     ipi       0.0  777.612       12",
        "  1,024   eager      98.7    0.344        3",
        "",
      ].join("\n"),
    );
  });
});

/** A column of these numbers, without its heading and blanks. */
function printed(...numbers: readonly number[]): string[] {
  const rows = numbers.map((value) => ["", value]);
  return renderTable(["", ""], rows)
    .trimEnd()
    .split("\n")
    .slice(1)
    .map((line) => line.trim());
}

describe("numbers of a column", () => {
  it("are whole where all are, and have no decimals that none of them needs", () => {
    expect(printed(0, 999, 1000, 2 ** 40)).toEqual(["0", "999", "1,000", "1,099,511,627,776"]);
    expect(printed(1, 2.5)).toEqual(["1.0", "2.5"]);
    expect(printed(1234.5678)).toEqual(["1,234.6"]);
  });

  it("give the smallest three significant digits, of either sign", () => {
    expect(printed(12.3456, 0.012345)).toEqual(["12.3456", "0.0123"]);
    expect(printed(0, -0.25, 100)).toEqual(["0.00", "-0.25", "100.00"]);
  });

  it("say 0 only for 0, however large another is, but for what rounding of sums left behind", () => {
    expect(printed(1e6, 0.004)).toEqual(["1,000,000.000", "0.004"]);
    expect(printed(0.1 + 0.2 - 0.3, 0.5)).toEqual(["0.0", "0.5"]);
    expect(printed(-1e-17, 0.5)).toEqual(["0.0", "0.5"]);
  });

  it("of any size have one number of decimals, are rounded to it, and are not 0 if they are not", () => {
    const number = fc.oneof(
      fc.nat(),
      fc.double({ min: 1e-4, max: 1e5, noNaN: true }),
      fc.integer({ min: -1e6, max: 1e6 }),
    );
    fc.assert(
      fc.property(fc.array(number, { minLength: 1, maxLength: 6 }), (numbers) => {
        const cells = printed(...numbers);
        const decimals = cells.map((cell) => cell.split(".")[1]?.length ?? 0);
        expect(new Set(decimals).size).toBe(1);
        numbers.forEach((value, i) => {
          const said = Number(cells[i].replaceAll(",", ""));
          expect(Math.abs(said - value)).toBeLessThanOrEqual(0.5000001 * 10 ** -decimals[i]);
          if (Math.abs(value) > 1e-9 * Math.max(...numbers.map(Math.abs))) expect(said).not.toBe(0);
        });
      }),
    );
  });

  it("that stand by themselves follow the same rule", () => {
    expect([0, 999, 1000, 0.444, 12.345, 1234.5].map((value) => grouped(value))).toEqual([
      "0",
      "999",
      "1,000",
      "0.444",
      "12.3",
      "1,234.5",
    ]);
  });
});
