/** Costs that somebody gives a kernel are checked field by field. */
import { describe, expect, test } from "vitest";
import { ConfigError, DEFAULT_KERNEL_COSTS } from "../../../mm/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { thrown } from "../../arch/guest.ts";

type Path = readonly string[];

// biome-ignore lint/suspicious/noExplicitAny: tests put wrong values of any type at any place
const copy = (): any => JSON.parse(JSON.stringify(DEFAULT_KERNEL_COSTS));
// biome-ignore lint/suspicious/noExplicitAny: as above
const at = (costs: any, path: Path): any => path.reduce((value, key) => value[key], costs);
const refusal = (costs: unknown): ConfigError => thrown(ConfigError, () => bootKernel({ costs: costs as never }));

function pathsOf(value: unknown, path: Path = []): Path[] {
  if (typeof value !== "object" || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, each]) => pathsOf(each, [...path, key]))];
}

const PATHS = pathsOf(DEFAULT_KERNEL_COSTS).slice(1);

test("a copy of the kernel's own costs is right", () => {
  expect(bootKernel({ costs: copy() }).config.costs).toEqual(DEFAULT_KERNEL_COSTS);
});

describe.each(PATHS.map((path) => [path.join("."), path] as const))("%s", (name, path) => {
  test.each([undefined, null, "x", Number.NaN, Number.POSITIVE_INFINITY, -1, 2 ** 33, 1n])("%s is refused", (value) => {
    const costs = copy();
    at(costs, path.slice(0, -1))[path.at(-1) as string] = value;
    expect(refusal(costs)).toMatchObject({ subject: `costs.${name}`, value });
  });
});

test("a field that there is not is named; an array has six numbers", () => {
  expect(refusal({ ...copy(), colour: 1 }).subject).toBe("costs.colour");
  const costs = copy();
  costs.ipi.latencyCycles.push(1);
  expect(refusal(costs).message).toContain(
    "costs.ipi.latencyCycles [415,815,815,815,2000,3000,1]: expected an array of 6",
  );
  expect(refusal({ lock: copy().lock }).subject).toBe("costs.ipi");
  expect(refusal(null).message).toBe("costs null: expected an object");
});
