/** Returns that go through a thunk: what they add to the kernel's costs, on the parts where Linux selects it. */
import { describe, expect, it } from "vitest";
import { allFiguresOf, presetByName } from "../../../arch/index.ts";
import { DEFAULT_KERNEL_COSTS, kernelFiguresOf } from "../../../mm/index.ts";
import { RETURNING, returnsOf, withReturnThunks } from "../../../mm/kernel/return-thunks.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";

const ZEN4 = presetByName("zen4");
const THUNK_CYCLES = 21;

describe("returns through a thunk", () => {
  it("are counted for costs that there are, each function by its name", () => {
    const names = kernelFiguresOf(DEFAULT_KERNEL_COSTS).map(({ name }) => name);
    for (const [name, functions] of Object.entries(RETURNING)) {
      expect(names).toContain(name);
      for (const each of functions.split(" ")) expect(each).toMatch(/^[a-z_]\w+$/);
    }
    expect(returnsOf("kernel.user.zapEntryCycles")).toBe(5);
    expect(returnsOf("kernel.treeStepCycles")).toBe(0);
    expect(returnsOf("constructor")).toBe(0);
  });

  it("add what a part's thunk takes to each cost, by its returns, and nothing where there is no thunk", () => {
    const slower = kernelFiguresOf(withReturnThunks(DEFAULT_KERNEL_COSTS, ZEN4, "on"));
    for (const [i, { name, value }] of kernelFiguresOf(DEFAULT_KERNEL_COSTS).entries()) {
      const added = returnsOf(name) * THUNK_CYCLES;
      expect(slower[i]).toMatchObject({ name, value: added === 0 ? value : Number(value) + added });
    }
    expect(withReturnThunks(DEFAULT_KERNEL_COSTS, ZEN4, "off")).toBe(DEFAULT_KERNEL_COSTS);
    for (const part of ["skylake", "sapphire-rapids", "zen5"]) {
      expect(withReturnThunks(DEFAULT_KERNEL_COSTS, presetByName(part), "on")).toBe(DEFAULT_KERNEL_COSTS);
    }
  });

  it("of a preset in a file that does not say what they take, as those of older versions, take nothing", () => {
    const { mitigations } = ZEN4;
    if (mitigations === undefined) throw new Error("zen4 has mitigations");
    const { returnThunk: _, ...costs } = mitigations.costs;
    const older = { ...ZEN4, mitigations: { ...mitigations, costs } };
    expect(withReturnThunks(DEFAULT_KERNEL_COSTS, older, "on")).toBe(DEFAULT_KERNEL_COSTS);
    expect(bootKernel({ preset: older, mitigations: "on" }).mm.costs).toBe(DEFAULT_KERNEL_COSTS);
  });

  it("are what calls of processes take more, beside what is done on the way in and out", () => {
    const costsOf = (mitigations: "off" | "on") => bootKernel({ preset: ZEN4, mitigations, cpus: 1 });
    const [off, on] = [costsOf("off"), costsOf("on")];
    expect(on.mm.costs.user.zapEntryCycles - off.mm.costs.user.zapEntryCycles).toBe(5 * THUNK_CYCLES);
    const { contextSwitch } = on.mm.flushing.mitigations;
    const { contextSwitchCycles } = on.mm.costs;
    expect(on.machine.loop.contextSwitchCycles).toBe(contextSwitchCycles + contextSwitch);
    // What was given is what is saved and reported.
    expect(on.config.costs).toBe(DEFAULT_KERNEL_COSTS);
  });

  it("are measured on Zen 4, and are no figure of a machine without mitigations", () => {
    const [figure] = allFiguresOf(ZEN4).filter(({ name }) => name === "mitigations.costs.returnThunk");
    expect(figure).toMatchObject({ value: THUNK_CYCLES, unit: "cycles", basis: "measured" });
  });
});
