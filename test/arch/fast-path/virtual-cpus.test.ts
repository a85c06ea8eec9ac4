/** Virtual CPUs that have a physical one's TLBs, outside of guests: what any of them does is what a CPU with TLBs of its own does. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PRESETS } from "../../../arch/index.ts";
import { Guest } from "../guest.ts";
import { hardwareState } from "./compare.ts";
import { carryOut, close, makeGuest, steps } from "./programs.ts";

const VIRTUAL = 3;

describe.each([...PRESETS])("$name", (preset) => {
  test("random programs: same values, faults, counters, cycles, entries slot by slot, replacement state", () => {
    fc.assert(
      fc.property(fc.array(steps, { minLength: 1, maxLength: 60 }), (program) => {
        const [virtual, alone] = [makeGuest(preset, close, 4, VIRTUAL, 1), makeGuest(preset)];
        for (const step of program) {
          const [seen, expected] = [virtual, alone].map((guest) =>
            `${carryOut(guest, step, close)}`.replaceAll(/ on CPU \d+/g, ""),
          );
          expect(seen).toBe(expected);
        }
        expect(virtual.cpu.counters()).toEqual(alone.cpu.counters());
        expect(virtual.machine.loop.clockCycles[virtual.cpu.id]).toBe(alone.machine.loop.clockCycles[0]);
        expect(hardwareState(virtual)).toEqual(hardwareState(alone));
      }),
      { numRuns: 4 },
    );
  });
});

test("an invalidation by one virtual CPU is one of the TLBs that they share, whichever has used the translation", () => {
  for (const [user, invalidates] of [
    [0, 0],
    [0, 1],
    [1, 0],
    [1, 1],
  ]) {
    const guest = new Guest({ cpus: 2, physicalCpus: 1 });
    const { machine } = guest;
    const la = close(0);
    guest.map(la, 2 ** 30);
    guest.mark(2 ** 30, 1);
    guest.mark(2 ** 30 + 4096, 2);
    const load = (): number => machine.cpus[user].load(la, 4);
    expect([load(), load()]).toEqual([1, 1]);
    guest.map(la, 2 ** 30 + 4096);
    // Until then any of them may use what is cached.
    expect([load(), machine.cpus[1 - user].load(la, 4)]).toEqual([1, 1]);
    machine.cpus[invalidates].invlpg(la);
    expect([load(), machine.cpus[1 - user].load(la, 4)]).toEqual([2, 2]);
  }
});
