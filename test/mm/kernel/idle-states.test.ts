/** What `--idle-states` adds to an interrupt of a CPU that idles. */
import { describe, expect, it } from "vitest";
import { presetByName } from "../../../arch/index.ts";
import { IPI_POLICY, idleStateCycles } from "../../../mm/index.ts";
import { boot, on } from "../user/user-machine.ts";

const SKYLAKE = presetByName("skylake");
/** Cycles of so many microseconds on it. */
const usec = (microseconds: number): number => 1000 * microseconds * SKYLAKE.frequencyGhz.value;

/** When CPU 1, idle for `idleCycles`, has run a function that CPU 0 asks it to: cycles after it was asked. */
function answersAfter(idleCycles: number, idleStates?: string): number {
  const machine = boot(IPI_POLICY, { cpus: 2, preset: SKYLAKE, features: undefined, idleStates });
  const { kernel } = machine;
  const { loop } = kernel.machine;
  on(machine, 0, () => loop.spend(idleCycles));
  const asked = loop.clockCycles[0];
  let ran = 0;
  kernel.run(
    kernel.mm.flushing.smp.onEachCpu((cpu) => {
      if (cpu === 1) ran = loop.nowCycles();
    }),
    0,
  );
  return ran - asked;
}

describe("an idle CPU", () => {
  it("wakes from the deepest state that is allowed and that pays for as long as it has idled", () => {
    for (const idled of [usec(0.5), usec(5), usec(100), usec(2000)]) {
      const polling = answersAfter(idled, "poll");
      const above = (deepest: string): number => Math.round(answersAfter(idled, deepest) - polling);
      const pays = (residencyUsec: number, exitUsec: number): number =>
        idled >= usec(residencyUsec) ? usec(exitUsec) : 0;
      const c1 = pays(2, 2);
      const c1e = Math.max(c1, pays(20, 10));
      expect(above("C1")).toBe(Math.round(c1));
      expect(above("C1E")).toBe(Math.round(c1e));
      expect(above("all")).toBe(Math.round(Math.max(c1e, pays(600, 133))));
      expect(above("c6")).toBe(above("all"));
    }
  });

  it("wakes at one cost without them, however long it has idled", () => {
    expect(answersAfter(usec(0.5))).toBe(answersAfter(usec(2000)));
    const { idleWakeCycles } = boot(IPI_POLICY, { preset: SKYLAKE, features: undefined }).kernel.config.costs.ipi;
    expect(answersAfter(usec(5)) - answersAfter(usec(5), "poll")).toBe(idleWakeCycles);
  });

  it("costs nobody anything while it is busy", () => {
    const busy = (idleStates: string): number => {
      const machine = boot(IPI_POLICY, { cpus: 2, preset: SKYLAKE, features: undefined, idleStates });
      const { loop } = machine.kernel.machine;
      on(machine, 0, () => loop.spend(usec(2000)));
      on(machine, 1, () => loop.spend(usec(2000) + 10));
      const asked = loop.clockCycles[0];
      machine.kernel.run(
        machine.kernel.mm.flushing.smp.onEachCpu(() => {}),
        0,
      );
      return loop.clockCycles[0] - asked;
    };
    expect(busy("all")).toBe(busy("poll"));
  });

  it("has the states of its part, and another is refused in one line", () => {
    expect(idleStateCycles(SKYLAKE, "poll")).toEqual([]);
    expect(idleStateCycles(SKYLAKE, "all")).toHaveLength(3);
    for (const name of ["C9", "", "deep"])
      expect(() => boot(IPI_POLICY, { preset: SKYLAKE, idleStates: name })).toThrow(
        `idle states ${name}: expected one of poll, C1, C1E, C6, all, those of the preset skylake`,
      );
    const { idleStates: _, ...unknown } = SKYLAKE;
    expect(() => idleStateCycles({ ...unknown, name: "mine" }, "all")).toThrow("expected one of poll, all");
  });
});
