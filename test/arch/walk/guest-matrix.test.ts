import { describe, expect, test } from "vitest";
import { type Matrix, matrixOf } from "../../../bench/guest-matrix/matrix.ts";
import { visitPart, WHOLE_SAMPLE } from "../../../bench/guest-matrix/sample.ts";

const SAMPLE = 24_000;
const POINTER_SAMPLE = 12_000;
const SEED = 20_261_128;

/** What of a sample that is spread over all settings did not come out as the model says. */
function failuresOf({ settings, casesPerSetting, use, run }: Matrix, sample: number): string[] {
  const failures: string[] = [];
  for (let setting = 0; setting < settings; setting++) {
    use(setting);
    visitPart(casesPerSetting, Math.ceil(sample / settings), SEED + setting, WHOLE_SAMPLE, (index) => {
      const failure = run(index);
      if (failure !== null) failures.push(failure);
    });
  }
  return failures;
}

describe("the guest matrix: faults, VM exits with their codes, A and D bits of both dimensions (Intel SDM vol. 3C, 29.3; AMD APM vol. 2, 15.25)", () => {
  test.each(["intel", "amd"] as const)("%s: has at least 50 million cases of rights", (vendor) => {
    const { settings, casesPerSetting } = matrixOf(vendor, false);
    expect(settings * casesPerSetting).toBeGreaterThan(50_000_000);
  });

  test.each(["intel", "amd"] as const)(
    `%s: a sample of ${SAMPLE} of them, seed ${SEED}, behaves as the manual says`,
    (vendor) => {
      expect(failuresOf(matrixOf(vendor, false), SAMPLE).slice(0, 3)).toEqual([]);
    },
  );

  test.each(["intel", "amd"] as const)(
    `%s: so does one of ${POINTER_SAMPLE} pointers under LAM, LASS, UAI, four and five levels, natively and in guests`,
    (vendor) => {
      expect(failuresOf(matrixOf(vendor, true), POINTER_SAMPLE).slice(0, 3)).toEqual([]);
    },
  );

  test.each([false, true])(
    "shards of a sample (of pointers: %s) meet each of its cases once, whatever the number of workers of each",
    (pointers) => {
      const { casesPerSetting } = matrixOf("amd", pointers);
      const of = (part: typeof WHOLE_SAMPLE): number[] => {
        const indices: number[] = [];
        visitPart(casesPerSetting, 1000, SEED, part, (index) => indices.push(index));
        return indices;
      };
      const met = [1, 2, 3].flatMap((workers, shard) =>
        Array.from({ length: workers }, (_, worker) => of({ shard, shards: 3, worker, workers })).flat(),
      );
      const whole = of(WHOLE_SAMPLE);
      expect(new Set(whole).size).toBe(1000);
      expect(met.sort((a, b) => a - b)).toEqual(whole.sort((a, b) => a - b));
    },
  );
});
