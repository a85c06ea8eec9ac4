import { describe, expect, it } from "vitest";
import { rows, run } from "./small-runs.ts";

describe("page-tables", () => {
  it("counts the tables that each page size and level needs, and the walks that they save", () => {
    const cells = rows(run("page-tables"), "page-tables").filter((row) => row.pattern === "random");
    const cell = (sizeMiB: number, page: string, levels: number) =>
      cells.find((row) => row.sizeMiB === sizeMiB && row.page === page && row.levels === levels);
    expect(cell(1024, "4K", 4)?.tablePages).toBe(512 + 3);
    expect(cell(1024, "2M", 4)?.tablePages).toBe(3);
    expect(cell(1024, "1G", 5)?.tablePages).toBe(3);
    expect(Number(cell(1024, "4K", 4)?.walkCyclesPerAccess)).toBeGreaterThan(
      Number(cell(64, "4K", 4)?.walkCyclesPerAccess),
    );
    expect(cell(1024, "1G", 4)?.missPercent).toBe(0);
    // What a walk takes is not known where there was none.
    expect(cell(1024, "1G", 4)?.cyclesPerWalk).toBe(null);
    expect(cell(1024, "4K", 4)?.cyclesPerWalk).toBeGreaterThan(0);
    // A walk right after a flush reads every level; a fifth one costs a fetch more, and larger pages save one each.
    const cold = (page: string, levels: number) => Number(cell(1024, page, levels)?.coldWalkCycles);
    expect(cold("4K", 5)).toBeGreaterThan(cold("4K", 4));
    expect(cold("2M", 4)).toBeLessThan(cold("4K", 4));
    expect(cold("1G", 4)).toBeLessThan(cold("2M", 4));
    expect(cell(64, "1G", 4)).toBeUndefined();
  });
});
