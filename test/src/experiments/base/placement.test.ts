import { describe, expect, it } from "vitest";
import { Topology } from "../../../../arch/time/topology.ts";
import { placeWorkers } from "../../../../src/experiments/base/placement.ts";

describe("placeWorkers", () => {
  it("puts workers on the first CPUs, packed", () => {
    expect(placeWorkers(new Topology(8), 3, "packed")).toEqual([0, 1, 2]);
  });

  it("goes round the last-level caches, each core once before its second thread", () => {
    const config = { sockets: 1, coresPerSocket: 4, threadsPerCore: 2, coresPerCluster: 2 };
    expect(placeWorkers(new Topology(8, config), 8, "spread")).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
  });

  it("keeps as many workers as there are last-level caches on one socket, then balances the sockets", () => {
    const config = { sockets: 2, coresPerSocket: 4, threadsPerCore: 1 };
    const topology = new Topology(8, config);
    const sockets = placeWorkers(topology, 8, "spread").map((cpu) => topology.socketOf[cpu]);
    expect(sockets).toEqual([0, 0, 1, 1, 0, 1, 0, 1]);
  });

  it("has every CPU once when there is a worker for each", () => {
    const config = { sockets: 2, coresPerSocket: 6, threadsPerCore: 2, coresPerCluster: 3 };
    const cpus = placeWorkers(new Topology(24, config), 24, "spread");
    expect([...cpus].sort((a, b) => a - b)).toEqual(Array.from({ length: 24 }, (_, i) => i));
  });
});
