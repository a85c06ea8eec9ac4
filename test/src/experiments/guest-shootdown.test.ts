/** A flush in a guest waits for vCPUs that do not run under interrupts, and for none under the policies of guests. */
import { expect, test } from "vitest";
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
