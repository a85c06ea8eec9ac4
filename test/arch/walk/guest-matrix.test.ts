import { describe, expect, test } from "vitest";
import { allSettings, CASES_PER_SETTING, caseAt, emptyCase } from "../../../bench/guest-matrix/cases.ts";
import { CaseRunner } from "../../../bench/guest-matrix/run-case.ts";
import { visitPart, WHOLE_SAMPLE } from "../../../bench/guest-matrix/sample.ts";

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
      settings.forEach((setting, number) => {
        runner.use(setting);
        visitPart(count, SEED + number, WHOLE_SAMPLE, (index) => {
          caseAt(index, each);
          const failure = runner.run(each);
          if (failure !== null) failures.push(failure);
        });
      });
      expect(failures.slice(0, 3)).toEqual([]);
    },
  );

  test("shards of a sample meet each of its cases once, whatever the number of workers of each", () => {
    const of = (part: typeof WHOLE_SAMPLE): number[] => {
      const indices: number[] = [];
      visitPart(1000, SEED, part, (index) => indices.push(index));
      return indices;
    };
    const met = [1, 2, 3].flatMap((workers, shard) =>
      Array.from({ length: workers }, (_, worker) => of({ shard, shards: 3, worker, workers })).flat(),
    );
    const whole = of(WHOLE_SAMPLE);
    expect(new Set(whole).size).toBe(1000);
    expect(met.sort((a, b) => a - b)).toEqual(whole.sort((a, b) => a - b));
  });
});
