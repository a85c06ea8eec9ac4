/** What every object inherits (`constructor`) is the name of nothing. */
import { describe, expect, test } from "vitest";
import { MmulabError, presetByName } from "../../../arch/index.ts";
import { flushPolicyByName } from "../../../mm/index.ts";
import { parseParameters } from "../../../src/input/parameters.ts";
import { readSettings } from "../../../src/settings/machine-settings.ts";
import { findPreset } from "../../../src/settings/presets.ts";
import { findWorkload } from "../../../src/workloads/index.ts";
import { mmulab } from "../run-cli.ts";

const NAMES = [...Object.getOwnPropertyNames(Object.prototype), "length", "0"];

const LOOKUPS: readonly [string, (name: string) => unknown][] = [
  ["preset", findPreset],
  ["preset of a machine", presetByName],
  ["workload", findWorkload],
  [
    "parameter of a workload",
    (name) => parseParameters("user_processes", findWorkload("user_processes").parameters ?? [], [name]),
  ],
  ["flush policy", flushPolicyByName],
  ["setting policy", (policy) => readSettings({ policy })],
  ["setting ipi-mode", (mode) => readSettings({ "ipi-mode": mode })],
];

describe.each(LOOKUPS)("as a %s", (_, find) => {
  test.each(NAMES)("%s is refused", (name) => {
    expect(() => find(name)).toThrow(MmulabError);
  });
});

test.each(["experiment", "inspect"])("mmulab %s refuses them in one line", (command) => {
  for (const name of ["constructor", "__proto__"]) {
    const { status, stdout, stderr } = mmulab(command, name);
    expect({ status, stdout, stderr }).toEqual({
      status: 2,
      stdout: "",
      stderr: expect.stringMatching(new RegExp(`^mmulab: unknown (?:experiment|view) '${name}'.*\\n$`)),
    });
  }
});
