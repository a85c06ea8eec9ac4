import { describe, expect, it } from "vitest";
import { isPowerOfTwo, roundUpToPowerOfTwo } from "../../../arch/isa/power-of-two.ts";

const POWERS = Array.from({ length: 54 }, (_, exponent) => 2 ** exponent);

describe("powers of two up to 2^53", () => {
  it("are told from the numbers beside them, however large", () => {
    for (const power of POWERS) {
      expect(isPowerOfTwo(power), `${power}`).toBe(true);
      if (power > 2) expect(isPowerOfTwo(power - 1), `${power} - 1`).toBe(false);
      if (power > 1 && power < 2 ** 53) expect(isPowerOfTwo(power + 1), `${power} + 1`).toBe(false);
    }
  });

  it("are what sizes are rounded up to", () => {
    for (const power of POWERS.slice(2, -1)) {
      expect(roundUpToPowerOfTwo(power)).toBe(power);
      expect(roundUpToPowerOfTwo(power - 1)).toBe(power);
      expect(roundUpToPowerOfTwo(power + 1)).toBe(2 * power);
    }
  });

  it("are positive whole numbers", () => {
    for (const value of [0, -1, -4, 0.5, 3.5, 2 ** 40 + 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(isPowerOfTwo(value), `${value}`).toBe(false);
    }
  });
});
