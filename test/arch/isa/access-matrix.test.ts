import { describe, expect, test } from "vitest";
import {
  accessKinds,
  allSettings,
  caseAt,
  casesPerSetting,
  emptyCase,
  entryPairs,
  upperCaseAt,
  upperCasesPerSetting,
  upperPairs,
} from "../../../bench/access-matrix/cases.ts";
import { CaseRunner } from "../../../bench/access-matrix/run-case.ts";

const SAMPLE = 110_000;
const UPPER_SAMPLE = 30_000;
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

describe("the access matrix: faults, error codes, A and D bits (Intel SDM vol. 3A, 4.5 to 4.8; AMD APM vol. 2, 5.3 to 5.6)", () => {
  test("has the number of legal combinations that kvm-unit-tests' access test has", () => {
    const count = (smep: boolean): number =>
      allSettings(smep, "intel").reduce((sum, setting) => sum + casesPerSetting(setting), 0);
    expect(count(false)).toBe(28_999_680);
    expect(count(true)).toBe(14_499_840);
  });

  test.each(["intel", "amd"] as const)(
    `%s: a sample of ${SAMPLE} of them and of ${UPPER_SAMPLE} of upper entries, seed ${SEED}, behaves as the manual says`,
    (vendor) => {
      const settings = [...allSettings(false, vendor), ...allSettings(true, vendor)];
      const below = generator(SEED);
      const runner = new CaseRunner(vendor);
      const each = emptyCase();
      const failures: string[] = [];
      const run = (): void => {
        const failure = runner.run(each);
        if (failure !== null) failures.push(failure);
      };
      for (const setting of settings) {
        const [pairs, ofUpper] = [entryPairs(setting.nxe), upperPairs(setting.nxe)];
        const [count, upperCount] = [casesPerSetting(setting), upperCasesPerSetting(setting)];
        const accesses = accessKinds(setting.smep);
        runner.use(setting);
        for (let i = 0; i < SAMPLE / settings.length; i++) {
          caseAt(pairs, accesses, below(count), each);
          run();
        }
        for (let i = 0; i < UPPER_SAMPLE / settings.length; i++) {
          upperCaseAt(ofUpper, accesses, below(upperCount), each);
          run();
        }
      }
      expect(failures.slice(0, 3)).toEqual([]);
    },
  );
});
