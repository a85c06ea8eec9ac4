import { describe, expect, it } from "vitest";
import { EXPERIMENTS, runExperiment } from "../../../../src/experiments/index.ts";
import { readSettings } from "../../../../src/settings/machine-settings.ts";
import { rows, SKYLAKE } from "../small-runs.ts";

const [experiment] = EXPERIMENTS.filter(({ name }) => name === "page-fault");

function faultsOf(kernel: string, given: Readonly<Record<string, string>>) {
  const observer = { onProgress: () => {}, onKernel: () => {} };
  const result = runExperiment(experiment, SKYLAKE, 1, { mib: "2", ...given }, observer, readSettings({ kernel }));
  return rows(result, "faults");
}

describe("page-fault", () => {
  it("faults of threads wait for each other's munmap where they take mmap_lock (6.1), and not where they lock a mapping (6.4 on)", () => {
    const [old, recent] = ["6.1", "6.12"].map((kernel) => faultsOf(kernel, { kinds: "threads", tasks: "1,16" }));
    const waited = (list: typeof old): number => Number(list[1].faultNs) - Number(list[0].faultNs);
    expect(waited(old)).toBeGreaterThan(1.5 * waited(recent));
    // One thread has nobody to wait for: the lock itself costs little.
    expect(Number(old[0].faultNs)).toBeLessThan(1.1 * Number(recent[0].faultNs));
  });

  it("processes have an mmap_lock each, and no other CPU to tell of a munmap", () => {
    const [threads, processes] = ["threads", "processes"].map((kinds) => faultsOf("6.1", { kinds, tasks: "8" })[0]);
    expect(Number(processes.faultNs)).toBeLessThan(Number(threads.faultNs));
    expect(Number(processes.interruptPercent)).toBe(0);
    expect(Number(threads.interruptPercent)).toBeGreaterThan(0);
  });

  it("one task costs the same, whichever it is, and faults a second are those of fault and munmap together", () => {
    const [thread, process] = faultsOf("6.12", { kinds: "threads,processes", tasks: "1" });
    for (const key of ["faultNs", "munmapUsec", "faultsPerSecond"]) expect(process[key]).toBe(thread[key]);
    const nsAPage = Number(thread.faultNs) + Number(thread.munmapNsPerPage);
    expect(1e9 / Number(thread.faultsPerSecond) / nsAPage).toBeCloseTo(1, 2);
    expect(Number(thread.munmapUsec) * 1000).toBeCloseTo(512 * Number(thread.munmapNsPerPage), -2);
  });

  it("says how long threads sleep for the mmap_lock that others have while they unmap; processes do not", () => {
    const [thread, threads] = faultsOf("6.12", { kinds: "threads", tasks: "1,8" });
    const [processes] = faultsOf("6.12", { kinds: "processes", tasks: "8" });
    expect(thread.idlePercent).toBe(0);
    expect(Number(threads.idlePercent)).toBeGreaterThan(10);
    expect(Number(processes.idlePercent)).toBeLessThan(1);
    // What a page of munmap takes more than by one thread is in one of the columns.
    const more = Number(threads.munmapNsPerPage) - Number(thread.munmapNsPerPage);
    const nsAPage = Number(threads.faultNs) + Number(threads.munmapNsPerPage);
    const waits = ["lockWaitPercent", "lineWaitPercent", "ipiWaitPercent", "interruptPercent", "idlePercent"];
    const waited = waits.reduce((sum, key) => sum + Number(threads[key]), 0);
    expect(waited).toBeGreaterThan((100 * more) / nsAPage);
    expect(waited).toBeLessThan(100);
  });
});
