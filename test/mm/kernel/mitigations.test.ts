/** What `--mitigations` adds to the ways into the kernel and out of it, and between processes. */
import { describe, expect, it } from "vitest";
import { PRESETS, presetByName } from "../../../arch/index.ts";
import { IPI_POLICY, isolatesPageTables, type MITIGATION_MODES, mitigationCycles } from "../../../mm/index.ts";
import { returnThunkCycles } from "../../../mm/kernel/mitigations.ts";
import { returnsOf } from "../../../mm/kernel/return-thunks.ts";
import { bootKernel, type KernelConfig } from "../../../src/machine/kernel.ts";
import { boot, on } from "../user/user-machine.ts";

/** Cycles of one way into user mode and back on CPU 0, nothing else; and those of them booked as mitigations. */
function roundTrip(config: Partial<KernelConfig>): { cycles: number; mitigations: number } {
  const kernel = bootKernel({ cpus: 1, ...config });
  const { loop } = kernel.machine;
  const { userMode } = kernel.mm.flushing;
  const mitigationsUntilNow = (): number => {
    const id = loop.accounts.names.indexOf("mitigations");
    return id < 0 ? 0 : loop.accounts.cycles(0, id);
  };
  return on({ kernel }, 0, () => {
    const began = loop.nowCycles();
    const before = mitigationsUntilNow();
    userMode.enterUser();
    userMode.enterKernel();
    return { cycles: loop.nowCycles() - began, mitigations: mitigationsUntilNow() - before };
  });
}

describe.each(PRESETS.map(({ name }) => name))("mitigations on %s", (name) => {
  const preset = presetByName(name);

  it("add to a system call what each that is selected costs, and are booked as what they are", () => {
    const { entry, exit } = mitigationCycles(preset, "on");
    const off = roundTrip({ preset, mitigations: "off" });
    // Page tables of its own for user mode are emulated: they are there in both that are compared.
    const isolated = roundTrip({ preset, pageTableIsolation: isolatesPageTables(preset, "on") });
    const without = isolatesPageTables(preset, "on") ? isolated : off;
    const on = roundTrip({ preset, mitigations: "on" });
    const returns = returnsOf("kernel.kernelEntryCycles") + returnsOf("kernel.kernelExitCycles");
    expect(on.cycles - without.cycles).toBe(entry + exit + returns * returnThunkCycles(preset, "on"));
    expect(on.mitigations).toBe(entry + exit);
    expect(roundTrip({ preset, mitigations: "strict" })).toEqual(on);
  });

  it("cost nothing when they are off, as when nobody speaks of them", () => {
    const off = roundTrip({ preset, mitigations: "off" });
    expect(off.mitigations).toBe(0);
    expect(off).toEqual(roundTrip({ preset }));
  });

  it("make up the ways by what is selected", () => {
    const { selected, costs } = preset.mitigations ?? expect.unreachable();
    const { entry, exit, contextSwitch, processSwitch } = mitigationCycles(preset, "on");
    const ibrs = selected.spectreV2 === "IBRS" ? costs.specCtrl.value : 0;
    expect(entry >= ibrs && exit >= ibrs).toBe(true);
    expect(exit - ibrs).toBe(selected.clearCpuBuffers ? costs.verw.value : 0);
    expect(contextSwitch).toBe(costs.fillReturnBuffer.value);
    expect(processSwitch).toBe(0);
    expect(mitigationCycles(preset, "strict").processSwitch).toBe(costs.ibpb.value);
  });
});

describe("the barrier between processes", () => {
  const switchCycles = (mitigations: (typeof MITIGATION_MODES)[number], toSame: boolean): number => {
    const machine = boot(IPI_POLICY, { cpus: 1, preset: presetByName("zen3"), mitigations });
    const { spaces, kernel } = machine;
    const [first, second] = [spaces.mmAlloc(), spaces.mmAlloc()];
    on(machine, 0, () => spaces.switchTo(first));
    on(machine, 0, () => spaces.switchTo(second));
    on(machine, 0, () => spaces.switchTo(first));
    return on(machine, 0, () => {
      const began = kernel.machine.loop.nowCycles();
      spaces.switchTo(toSame ? first : second);
      return kernel.machine.loop.nowCycles() - began;
    });
  };

  it("is at each change of process when they are strict, and at none to oneself", () => {
    const barrier = presetByName("zen3").mitigations?.costs.ibpb.value;
    expect(switchCycles("on", false)).toBe(switchCycles("off", false));
    expect(switchCycles("strict", false) - switchCycles("off", false)).toBe(barrier);
    expect(switchCycles("strict", true)).toBe(switchCycles("off", true));
  });
});

describe("a preset of which nothing is known", () => {
  const { mitigations: _, ...unknown } = presetByName("skylake");

  it("has none: asking for them is refused in one line, off is not", () => {
    const preset = { ...unknown, name: "mine" };
    const refused = "mitigations on: expected off: the preset mine says nothing of its part's mitigations";
    expect(() => mitigationCycles(preset, "on")).toThrow(refused);
    expect(() => boot(IPI_POLICY, { preset, mitigations: "on" })).toThrow(refused);
    expect(mitigationCycles(preset, "off")).toEqual({ entry: 0, exit: 0, contextSwitch: 0, processSwitch: 0 });
  });
});
