import { describe, expect, it } from "vitest";
import { column, rows, run } from "./small-runs.ts";

describe("vmap-contention", () => {
  it("shows one node and one node a CPU diverging from two CPUs on", () => {
    const cells = rows(run("vmap-contention"), "contention");
    const one = column(
      cells.filter((row) => row.setting === "one node"),
      "pairsPerSecond",
    );
    const many = column(
      cells.filter((row) => row.setting === "one a CPU"),
      "pairsPerSecond",
    );
    expect(many[0]).toBe(one[0]);
    expect(many[1] / one[1]).toBeGreaterThan(1.05);
    expect(many[2] / one[2]).toBeGreaterThan(many[1] / one[1]);
    expect(many[3] / one[3]).toBeGreaterThan(many[2] / one[2]);
  });
});
