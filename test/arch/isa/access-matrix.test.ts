import { describe, expect, test } from "vitest";
import {
  accessKinds,
  allSettings,
  type Case,
  caseAt,
  casesPerSetting,
  entryPairs,
} from "../../../bench/access-matrix/cases.ts";
import { CaseRunner } from "../../../bench/access-matrix/run-case.ts";

const SAMPLE = 220_000;
const SEED = 20_261_123;

/** A small generator of the test's own (mulberry32): the sample is the same on every machine. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

describe("the access matrix: faults, error codes, A and D bits (Intel SDM vol. 3A, 4.5 to 4.8)", () => {
  test("has the number of legal combinations that kvm-unit-tests' access test has", () => {
    const count = (smep: boolean): number =>
      allSettings(smep).reduce((sum, setting) => sum + casesPerSetting(setting), 0);
    expect(count(false)).toBe(28_999_680);
    expect(count(true)).toBe(14_499_840);
  });

  test(`a sample of ${SAMPLE} of them, seed ${SEED}, behaves as the manual says`, () => {
    const settings = [...allSettings(false), ...allSettings(true)];
    const below = generator(SEED);
    const runner = new CaseRunner();
    const each: Case = { pte: 0, pde: 0, readOnlyPdpte: false, key: false, access: 0 };
    const failures: string[] = [];
    for (const setting of settings) {
      const pairs = entryPairs(setting.nxe);
      const accesses = accessKinds(setting.smep);
      const count = casesPerSetting(setting);
      runner.use(setting);
      for (let i = 0; i < SAMPLE / settings.length; i++) {
        caseAt(pairs, accesses, below(count), each);
        const failure = runner.run(each);
        if (failure !== null) failures.push(failure);
      }
    }
    expect(failures.slice(0, 3)).toEqual([]);
  });
});
