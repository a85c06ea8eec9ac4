import { describe, expect, it } from "vitest";
import { presetByName } from "../../../arch/index.ts";
import { runExperiment } from "../../../src/experiments/index.ts";
import { vmapContention } from "../../../src/experiments/vmap-contention.ts";
import { column, rows, run } from "./small-runs.ts";

describe("vmap-contention", () => {
  it("shows one node and one node a CPU diverging from two CPUs on", () => {
    const cells = rows(run("vmap-contention"), "contention");
    const one = column(
      cells.filter((row) => row.setting === "one node"),
      "pairsPerSecond",
    );
    const many = column(
      cells.filter((row) => row.setting === "one a CPU"),
      "pairsPerSecond",
    );
    expect(many[0]).toBe(one[0]);
    expect(many[1] / one[1]).toBeGreaterThan(1.05);
    expect(many[2] / one[2]).toBeGreaterThan(many[1] / one[1]);
    expect(many[3] / one[3]).toBeGreaterThan(many[2] / one[2]);
  });

  it("counts only once pools and lists are past their start: twice the pairs gives the same", () => {
    const own = { lazy_max_per_cpu: "0", cpus: "2", workers: "1,2" };
    const short = rows(run("vmap-contention", own), "contention");
    short.forEach((row) => {
      const pairs = Math.ceil((2 * Number(row.pairs)) / Number(row.workers) / 0.75);
      const long = rows(
        run("vmap-contention", { ...own, workers: String(row.workers), pairs: String(pairs) }),
        "contention",
      ).find(({ setting }) => setting === row.setting);
      expect(Number(long?.pairs)).toBeGreaterThan(1.9 * Number(row.pairs));
      expect(Number(long?.pairsPerSecond) / Number(row.pairsPerSecond)).toBeCloseTo(1, 1);
    });
  });

  it("says of which machine each row of the locks' table is, where the most workers run on several", () => {
    const locks = rows(run("vmap-contention", { cpus: "3,7", workers: "3", pairs: "40" }), "lock-stat");
    const names = locks.map(({ setting, cpus, className }) => `${setting} ${cpus} ${className}`);
    expect(names).toContain("one node 3 vn->busy.lock");
    expect(names).toContain("one a CPU 7 vn->busy.lock");
    expect(new Set(names).size).toBe(names.length);
  });

  it("has workers on some of the CPUs, whose locks cost less than those of workers on all", () => {
    const cells = rows(run("vmap-contention", { cpus: "8,16", workers: "1,8,12" }), "contention");
    expect(cells.map(({ setting, cpus, workers }) => [setting, cpus, workers])).toEqual(
      ["one node", "one a CPU"].flatMap((setting) => [
        [setting, 8, 1],
        [setting, 8, 8],
        [setting, 16, 1],
        [setting, 16, 8],
        [setting, 16, 12],
      ]),
    );
    const cycles = (cpus: number, workers: number): number =>
      Number(cells.find((row) => row.cpus === cpus && row.workers === workers)?.cyclesPerPair);
    expect(cycles(8, 8)).toBeGreaterThan(cycles(8, 1));
    expect(cycles(16, 12)).toBeGreaterThan(cycles(16, 8));
  });

  it("has versions without vmap nodes on their one node, and says nothing of one a CPU", () => {
    const cells = rows(run("vmap-contention", { cpus: "2", pairs: "50" }, 1, { kernel: "6.1" }), "contention");
    expect(cells.map(({ setting, nodes }) => [setting, nodes])).toEqual([["one node", 1]]);
  });

  it("takes longer where workers share no cache than packed into one", () => {
    const topology = { sockets: 1, coresPerSocket: 8, threadsPerCore: 2, coresPerCluster: 2 };
    const cyclesOf = (place: string): number => {
      const own = { cpus: "16", workers: "2", pairs: "200", place };
      const result = runExperiment(vmapContention, presetByName("zen2"), 1, own, undefined, { topology });
      return Number(rows(result, "contention")[0].cyclesPerPair);
    };
    expect(cyclesOf("spread")).toBeGreaterThan(1.3 * cyclesOf("packed"));
  });

  it("fills pages with zeros where it is told to, and that takes longer", () => {
    const cyclesOf = (zero: string): number =>
      Number(rows(run("vmap-contention", { cpus: "1", pairs: "200", zero }), "contention")[0].cyclesPerPair);
    expect(cyclesOf("1")).toBeGreaterThan(cyclesOf("0") + 100);
    expect(cyclesOf("on")).toBe(cyclesOf("1"));
    expect(() => cyclesOf("2")).toThrow("--zero 2: expected on (1, y) or off (0, n)");
  });

  it("takes longer where stacks leave gaps, as searches of the trees find more that another CPU has written", () => {
    const cyclesOf = (stacks: string): number =>
      Number(rows(run("vmap-contention", { cpus: "4", pairs: "200", stacks }), "contention")[0].cyclesPerPair);
    expect(cyclesOf("200")).toBeGreaterThan(1.1 * cyclesOf("0"));
  });
});
