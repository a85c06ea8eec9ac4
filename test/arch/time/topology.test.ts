import { describe, expect, it } from "vitest";
import { formatTopology, Machine, MachineUsageError, parseTopology, Topology } from "../../../arch/index.ts";

describe("topology", () => {
  it("numbers first threads of all cores before second threads, as Linux does", () => {
    const topology = new Topology(8, { sockets: 2, coresPerSocket: 2, threadsPerCore: 2 });
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((cpu) => topology.distance(0, cpu))).toEqual([0, 2, 4, 4, 1, 2, 4, 4]);
    expect(topology.distance(6, 2)).toBe(1);
  });

  it("makes sockets of 64 cores when nothing is said", () => {
    const topology = new Topology(100);
    expect(formatTopology(topology.config)).toBe("2x64x1");
    expect(topology.distance(63, 64)).toBe(4);
    expect(topology.distance(64, 99)).toBe(2);
  });

  it("has clusters of cores that share a last-level cache: as asked for, else as the microarchitecture has them", () => {
    const topology = new Topology(16, { sockets: 2, coresPerSocket: 8, threadsPerCore: 1, coresPerCluster: 4 });
    expect([1, 3, 4, 7, 8].map((cpu) => topology.distance(0, cpu))).toEqual([2, 2, 3, 3, 4]);
    const byPreset = (preset: string) => new Machine({ cpus: 16, preset }).loop.topology;
    expect([3, 4, 8].map((cpu) => byPreset("zen2").distance(0, cpu))).toEqual([2, 3, 3]);
    expect([3, 4, 8].map((cpu) => byPreset("zen4").distance(0, cpu))).toEqual([2, 2, 3]);
    expect([3, 4, 8].map((cpu) => byPreset("skylake").distance(0, cpu))).toEqual([2, 2, 2]);
    expect(parseTopology("2x2x4x1")).toEqual(topology.config);
    expect(formatTopology(topology.config)).toBe("2x2x4x1");
  });

  it("links every socket with every other up to four; of eight, those that are farther are two hops away", () => {
    const of = (sockets: number) => new Topology(sockets, { sockets, coresPerSocket: 1, threadsPerCore: 1 });
    expect([1, 2, 3].map((cpu) => of(4).distance(0, cpu))).toEqual([4, 4, 4]);
    expect([1, 2, 3, 4, 5, 6, 7].map((cpu) => of(8).distance(0, cpu))).toEqual([4, 4, 5, 4, 5, 5, 5]);
  });

  it("has x2APIC clusters of 16 threads within a socket: never of two sockets, both threads of a core together", () => {
    const wide = new Topology(40, { sockets: 2, coresPerSocket: 20, threadsPerCore: 1 });
    expect([0, 15, 16, 19, 20, 35, 36].map((cpu) => wide.apicClusterOf(cpu))).toEqual([0, 0, 1, 1, 2, 2, 3]);
    const smt = new Topology(32, { sockets: 1, coresPerSocket: 16, threadsPerCore: 2 });
    expect([0, 7, 8, 16, 23, 24].map((cpu) => smt.apicClusterOf(cpu))).toEqual([0, 0, 1, 0, 0, 1]);
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
