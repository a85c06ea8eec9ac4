import { describe, expect, test } from "vitest";
import { allSettings, CASES_PER_SETTING, caseAt, emptyCase } from "../../../bench/guest-matrix/cases.ts";
import { CaseRunner } from "../../../bench/guest-matrix/run-case.ts";

const SAMPLE = 24_000;
const SEED = 20_261_128;

describe("the guest matrix: faults, VM exits with their codes, A and D bits of both dimensions (Intel SDM vol. 3C, 29.3; AMD APM vol. 2, 15.25)", () => {
  test("has at least 50 million cases of each vendor", () => {
    for (const vendor of ["intel", "amd"] as const) {
      expect(allSettings(vendor).length * CASES_PER_SETTING).toBeGreaterThan(50_000_000);
    }
  });

  test.each(["intel", "amd"] as const)(
    `%s: a sample of ${SAMPLE} of them, seed ${SEED}, behaves as the manual says`,
    (vendor) => {
      const settings = allSettings(vendor);
      const runner = new CaseRunner(vendor);
      const each = emptyCase();
      const failures: string[] = [];
      const count = Math.ceil(SAMPLE / settings.length);
      // Steps near the golden section of a setting's cases spread evenly over them.
      const step = Math.floor(CASES_PER_SETTING * 0.618_033_988_75) | 1;
      let index = SEED % CASES_PER_SETTING;
      for (const setting of settings) {
        runner.use(setting);
        for (let i = 0; i < count; i++) {
          caseAt(index, each);
          const failure = runner.run(each);
          if (failure !== null) failures.push(failure);
          index = (index + step) % CASES_PER_SETTING;
        }
      }
      expect(failures.slice(0, 3)).toEqual([]);
    },
  );
});
