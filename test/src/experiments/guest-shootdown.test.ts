/** A flush in a guest waits for vCPUs that do not run under interrupts, and for none under the policies of guests. */
import { expect, test } from "vitest";
import { presetByName } from "../../../arch/index.ts";
import { EXPERIMENTS, runExperiment } from "../../../src/experiments/index.ts";
import { column, rows, run } from "./small-runs.ts";

const result = run("guest-shootdown", { vcpus: "4", preempted: "0,1,3", policies: "ipi,kvm,hyperv", rounds: "12" });
const table = rows(result, "shootdowns");
const of = (policy: string) => table.filter((row) => row.policy === policy);

test("under interrupts a call waits for half a slice of 3 ms on average, for one at the most", () => {
  const [none, one, all] = of("ipi");
  expect(none.latencyUsec).toBeLessThan(10);
  for (const row of [one, all]) {
    expect(row.latencyUsec).toBeGreaterThan(600);
    expect(row.latencyUsec).toBeLessThan(2400);
    expect(row.latencyMaxUsec).toBeLessThan(3020);
    expect(row.interrupts).toBe(3);
    expect(row.skipped).toBe(0);
  }
});

test.each(["kvm", "hyperv"])(
  "under %s calls get shorter the fewer vCPUs run, and each that does not is flushed later",
  (policy) => {
    const own = of(policy);
    const latencies = column(own, "latencyUsec");
    expect(latencies).toEqual([...latencies].sort((a, b) => b - a));
    expect(Math.max(...column(own, "latencyMaxUsec"))).toBeLessThan(10);
    expect(column(own, "interrupts")).toEqual([3, 2, 0]);
    if (policy === "kvm") expect(column(own, "skipped")).toEqual([0, 1, 3]);
    // An INVVPID each, which the preset says takes 400 cycles.
    expect(column(own, "stolenCycles")[2]).toBe(1200);
  },
);

test("figures of guests are among the inputs", () => {
  const names = result.inputs.map(({ name }) => name);
  expect(names).toContain("hypervisor.slice");
  expect(names).toContain("virtualization.costs.vmExit");
});

test("as many vCPUs that do not run as there are, or more, are refused; of those that nobody chose the others are left out", () => {
  for (const preempted of ["5", "0,2"])
    expect(() => run("guest-shootdown", { vcpus: "2", preempted, rounds: "1" })).toThrow(
      /^--preempted [52]: expected at most 1 of --vcpus 2: /,
    );
  const usual = run("guest-shootdown", { vcpus: "2", preempted: "0,1,2,4,7", policies: "kvm", rounds: "1" });
  expect(rows(usual, "shootdowns").map(({ preempted }) => preempted)).toEqual([0, 1]);
});

test("hardware broadcast waits for no vCPU, once the process has the ASID that it needs", () => {
  const experiment = EXPERIMENTS.find(({ name }) => name === "guest-shootdown");
  if (experiment === undefined) throw new Error("no experiment");
  const given = { vcpus: "4", preempted: "0,3", policies: "invlpgb", rounds: "6" };
  const { tables } = runExperiment(experiment, presetByName("zen4"), 1, given);
  const [table] = tables;
  const at = (key: string) => table.columns.findIndex((each) => each.key === key);
  for (const row of table.rows) {
    expect(row[at("interrupts")]).toBe(0);
    expect(row[at("latencyMaxUsec")]).toBeLessThan(5);
  }
});
