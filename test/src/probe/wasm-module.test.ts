/** The probe's module does what it says: it follows pointers and multiplies, and nothing else. */
import { describe, expect, it } from "vitest";
import { WebAssembly } from "../../../arch/wasm/encoding.ts";
import { LOADS_OF_ROUND, MULTIPLICATIONS_OF_ROUND, probeModule } from "../../../src/probe/wasm-module.ts";

interface Exports {
  readonly chase: (pointer: number, rounds: number) => number;
  readonly multiply: (value: number, rounds: number) => number;
}

const memory = new WebAssembly.Memory({ initial: 2, maximum: 2 });
const instance = new WebAssembly.Instance(new WebAssembly.Module(probeModule()), { probe: { memory } });
const { chase, multiply } = instance.exports as Exports;

describe("the probe's module", () => {
  it("follows a cycle of pointers, 12,288 loads a round", () => {
    const words = new Uint32Array(memory.buffer);
    const cycle = [0, 4096, 65_536 + 128, 64, 8192];
    cycle.forEach((byte, i) => {
      words[byte / 4] = cycle[(i + 1) % cycle.length];
    });
    for (const rounds of [1, 2, 7]) {
      expect(chase(0, rounds)).toBe(cycle[(rounds * LOADS_OF_ROUND) % cycle.length]);
      expect(chase(cycle[3], rounds)).toBe(cycle[(3 + rounds * LOADS_OF_ROUND) % cycle.length]);
    }
  });

  it("squares its value sixteen times a round, modulo 2^32", () => {
    let expected = 3;
    for (let i = 0; i < 2 * MULTIPLICATIONS_OF_ROUND; i++) expected = Math.imul(expected, expected);
    expect(multiply(3, 2)).toBe(expected);
  });
});
