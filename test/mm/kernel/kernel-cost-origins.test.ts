import { describe, expect, it } from "vitest";
import { kernelFiguresOf, withKernelCost } from "../../../mm/kernel/kernel-cost-origins.ts";
import { DEFAULT_KERNEL_COSTS } from "../../../mm/kernel/kernel-costs.ts";

describe("the kernel's costs by name", () => {
  const figures = kernelFiguresOf(DEFAULT_KERNEL_COSTS);
  const byName = new Map(figures.map((figure) => [figure.name, figure]));

  /** All numbers and words of an object, by path. */
  function leaves(value: unknown, path: string): [string, unknown][] {
    if (typeof value !== "object" || value === null) return [[path, value]];
    return Object.entries(value).flatMap(([key, each]) => leaves(each, `${path}.${key}`));
  }

  it("are all that there are, each once, with its value", () => {
    expect(figures.map(({ name, value }) => [name, value])).toEqual(leaves(DEFAULT_KERNEL_COSTS, "kernel"));
    expect(byName.size).toBe(figures.length);
  });

  it("are in cycles, but for words and a number of transfers, and say how they are known, with a source", () => {
    for (const { name, value, unit, of, basis, source } of figures) {
      const ofNumber = name === "kernel.lock.handOverTransfers" ? "transfers" : "cycles";
      expect(unit, name).toBe(typeof value === "number" ? ofNumber : "");
      expect(of, name).toBe("");
      expect(["measured", "documented", "assumed"], name).toContain(basis);
      expect(source.length, name).toBeGreaterThan(3);
    }
  });

  it("are assumed when another value is given, which says what it is by default", () => {
    for (const { name, value } of figures) {
      const other = typeof value === "number" ? value + 1 : "other";
      const changed = withKernelCost(DEFAULT_KERNEL_COSTS, name, other);
      const after = kernelFiguresOf(changed);
      expect(after.filter((figure, i) => figure.value !== figures[i].value).map((figure) => figure.name)).toEqual([
        name,
      ]);
      const figure = after.find((each) => each.name === name);
      expect(figure).toMatchObject({ value: other, basis: "assumed", source: `given; by default ${String(value)}` });
      for (const [i, each] of after.entries()) if (each.name !== name) expect(each).toEqual(figures[i]);
    }
    expect(kernelFiguresOf(DEFAULT_KERNEL_COSTS)).toEqual(figures);
  });
});
