import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { grouped, renderTable } from "../../../src/report/tables.ts";
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

  it("show whole numbers as they are", () => {
    expect([0, 999, 1000, 2 ** 40].map(grouped)).toEqual(["0", "999", "1,000", "1,099,511,627,776"]);
  });
});
