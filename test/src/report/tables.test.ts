import { describe, expect, it } from "vitest";
import { grouped, renderTable } from "../../../src/report/tables.ts";

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

  it("show whole numbers as they are", () => {
    expect([0, 999, 1000, 2 ** 40].map(grouped)).toEqual(["0", "999", "1,000", "1,099,511,627,776"]);
  });
});
