/** Hosts that cannot be measured are refused with what is in the way. */
import { describe, expect, it } from "vitest";
import { checkConditions, checkShare, hostConditions } from "../../../src/probe/conditions.ts";

const FINE = { architecture: "x64", cpus: 2, freeBytes: 2 ** 30 };

describe("a host", () => {
  it("is measured with two CPUs and some memory", () => {
    expect(() => checkConditions(FINE)).not.toThrow();
    expect(hostConditions().cpus).toBeGreaterThan(0);
  });

  it("is refused with one CPU, too little memory or another architecture", () => {
    expect(() => checkConditions({ ...FINE, cpus: 1 })).toThrow(/cannot calibrate: there is one CPU only/);
    expect(() => checkConditions({ ...FINE, freeBytes: 2 ** 26 })).toThrow(
      /64 MiB of memory are free, it needs 256 MiB/,
    );
    expect(() => checkConditions({ ...FINE, architecture: "arm64" })).toThrow(/architecture arm64, not x86-64/);
  });

  it("is given up when too much else runs, but not in the first seconds", () => {
    expect(() => checkShare(0.05, 20e9)).toThrow(/got 5 % of a CPU, it needs 15 %/);
    expect(() => checkShare(0.05, 1e9)).not.toThrow();
    expect(() => checkShare(0.4, 20e9)).not.toThrow();
  });
});
