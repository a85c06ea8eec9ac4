import { describe, expect, it } from "vitest";
import { formatTopology, Machine, MachineUsageError, parseTopology, Topology } from "../../../arch/index.ts";

describe("topology", () => {
  it("numbers first threads of all cores before second threads, as Linux does", () => {
    const topology = new Topology(8, { sockets: 2, coresPerSocket: 2, threadsPerCore: 2 });
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((cpu) => topology.distance(0, cpu))).toEqual([0, 2, 3, 3, 1, 2, 3, 3]);
    expect(topology.distance(6, 2)).toBe(1);
  });

  it("makes sockets of 64 cores when nothing is said", () => {
    const topology = new Topology(100);
    expect(formatTopology(topology.config)).toBe("2x64x1");
    expect(topology.distance(63, 64)).toBe(3);
    expect(topology.distance(64, 99)).toBe(2);
  });

  it("is read as it is written, and refused when it does not give the number of CPUs", () => {
    expect(parseTopology("8x15x1")).toEqual({ sockets: 8, coresPerSocket: 15, threadsPerCore: 1 });
    expect(parseTopology("8x15")).toBeNull();
    const topology = { sockets: 2, coresPerSocket: 2, threadsPerCore: 1 };
    expect(() => new Machine({ cpus: 5, topology })).toThrow(MachineUsageError);
    expect(() => new Machine({ cpus: 5, topology })).toThrow("topology: 2x2x1: expected");
  });
});

describe("a topology of one's own", () => {
  it.each([
    { sockets: 1, coresPerSocket: 0, threadsPerCore: 4 },
    { sockets: -2, coresPerSocket: -2, threadsPerCore: 1 },
    { sockets: 2, coresPerSocket: 1.5, threadsPerCore: 2 },
  ])("of %j is refused", (topology) => {
    expect(() => new Machine({ cpus: 1, topology })).toThrow(
      /^topology: .*: expected sockets x cores x threads with room/,
    );
  });
});
