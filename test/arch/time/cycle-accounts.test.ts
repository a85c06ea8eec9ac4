import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ACTIVITY_LOCK_WAIT,
  ACTIVITY_OTHER,
  ACTIVITY_SWITCH,
  CycleAccounts,
} from "../../../arch/time/cycle-accounts.ts";

/** Accounts of one CPU, what its walks and its waits for lines have taken, and what an observer was told. */
function oneCpu() {
  const clock = new Float64Array(1);
  const lines = new Float64Array(1);
  const walks = new Float64Array(1);
  const accounts = new CycleAccounts(clock, lines);
  accounts.walkCyclesOf = () => walks[0];
  const told: string[] = [];
  accounts.observer = {
    activityChanged: (cpu, from, to, atCycles) => told.push(`${cpu}: ${from} to ${to} at ${atCycles}`),
  };
  return { clock, lines, walks, accounts, told };
}

const step = fc.record({
  kind: fc.constantFrom("work" as const, "walk" as const, "line" as const, "wait" as const, "enter" as const),
  cycles: fc.integer({ min: 0, max: 1000 }),
  activity: fc.constantFrom(ACTIVITY_OTHER, ACTIVITY_LOCK_WAIT, ACTIVITY_SWITCH),
});

describe("a wait that is booked within an activity", () => {
  it("is booked, and told, as if the CPU had left the activity for it and come back", () => {
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const [one, other] = [oneCpu(), oneCpu()];
        for (const { kind, cycles, activity } of steps) {
          if (kind === "wait") {
            const until = one.clock[0] + cycles;
            one.accounts.within(0, ACTIVITY_LOCK_WAIT, until);
            const around = other.accounts.enter(0, ACTIVITY_LOCK_WAIT);
            one.clock[0] = until;
            other.clock[0] = until;
            other.accounts.enter(0, around);
            continue;
          }
          for (const cpu of [one, other]) {
            if (kind === "enter") cpu.accounts.enter(0, activity);
            else cpu.clock[0] += cycles;
            if (kind === "walk") cpu.walks[0] += cycles;
            if (kind === "line") cpu.lines[0] += cycles;
          }
        }
        const all = one.accounts.names.map((_, activity) => activity);
        const cyclesOf = ({ accounts }: typeof one): number[] => all.map((activity) => accounts.cycles(0, activity));
        expect(cyclesOf(one)).toEqual(cyclesOf(other));
        expect(one.told).toEqual(other.told);
        expect(cyclesOf(one).reduce((sum, cycles) => sum + cycles, 0)).toBe(one.clock[0]);
      }),
    );
  });
});
