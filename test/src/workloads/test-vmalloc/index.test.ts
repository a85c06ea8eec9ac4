import { describe, expect, it } from "vitest";
import { parseParameters } from "../../../../src/input/parameters.ts";
import { bootKernel } from "../../../../src/machine/kernel.ts";
import { runOnKernel, runWorkload } from "../../../../src/runs/run.ts";
import type { RunReport } from "../../../../src/runs/run-report.ts";
import { testVmalloc, type WorkerOutcome } from "../../../../src/workloads/test-vmalloc/index.ts";
import { VMALLOC_TESTS } from "../../../../src/workloads/test-vmalloc/tests.ts";

function run(words: string, cpus = 1, seed = 1): RunReport {
  const parameters = parseParameters("test_vmalloc", testVmalloc.parameters ?? [], words.split(" "));
  return runWorkload(testVmalloc, { cpus }, { operations: 1, seed, parameters });
}

function workersOf(report: RunReport): WorkerOutcome[] {
  return (report.details as { workers: WorkerOutcome[] }).workers;
}

describe("test_vmalloc", () => {
  it("has the tests of Linux 6.12 with their ids", () => {
    expect(VMALLOC_TESTS.map(({ name }, index) => `${2 ** index} ${name}`)).toEqual([
      "1 fix_size_alloc_test",
      "2 full_fit_alloc_test",
      "4 long_busy_list_alloc_test",
      "8 random_size_alloc_test",
      "16 fix_align_alloc_test",
      "32 random_size_align_alloc_test",
      "64 align_shift_alloc_test",
      "128 pcpu_alloc_test",
      "256 kvfree_rcu_1_arg_vmalloc_test",
      "512 kvfree_rcu_2_arg_vmalloc_test",
      "1024 vm_map_ram_test",
    ]);
  });

  it("runs all tests by default, of which align_shift_alloc_test fails, with the kernel's report lines", () => {
    const report = run("test_loop_count=200 sequential_test_order=1");
    const [worker] = workersOf(report);
    for (const { name, passed, failed } of worker.tests) {
      const fails = name === "align_shift_alloc_test";
      expect({ name, passed, failed }).toEqual({ name, passed: fails ? 0 : 1, failed: fails ? 1 : 0 });
    }
    expect(report.failure).toBeUndefined();
    expect(report.lines).toHaveLength(VMALLOC_TESTS.length + 1);
    report.lines?.slice(0, -1).forEach((line, index) => {
      const counts = index === 6 ? "passed: 0 failed: 1" : "passed: 1 failed: 0";
      expect(line).toMatch(
        new RegExp(`^Summary: ${VMALLOC_TESTS[index].name} ${counts} repeat: 1 loops: 200 avg: \\d+ usec$`),
      );
    });
    expect(report.lines?.at(-1)).toBe(`All test took worker0=${worker.cycles} cycles`);
  });

  it("counts time on the worker's clock: the tests' times add up to the worker's cycles", () => {
    const report = run("test_loop_count=300 run_test_mask=0x19 test_repeat_count=3");
    const [worker] = workersOf(report);
    const cyclesPerUsec = report.machine.frequencyGhz * 1000;
    const sum = worker.tests.reduce((total, { avgUsec, repeat }) => total + avgUsec * repeat * cyclesPerUsec, 0);
    expect(sum).toBeGreaterThan(0.9 * worker.cycles - 3 * 3 * cyclesPerUsec);
    expect(sum).toBeLessThanOrEqual(worker.cycles);
  });

  it("runs only the tests of the mask, as often as it is told", () => {
    const report = run("run_test_mask=1033 test_loop_count=50 test_repeat_count=3 nr_threads=2", 2);
    const workers = workersOf(report);
    expect(workers.map(({ cpu }) => cpu)).toEqual([0, 1]);
    for (const { tests } of workers) {
      expect(tests.map(({ id, passed, repeat, loops }) => ({ id, passed, repeat, loops }))).toEqual(
        [1, 8, 1024].map((id) => ({ id, passed: 3, repeat: 3, loops: 50 })),
      );
    }
  });

  it("treats 0 threads, repeats and loops as 1, as the module does", () => {
    const [worker, ...others] = workersOf(run("nr_threads=0 test_repeat_count=0 test_loop_count=0 run_test_mask=1"));
    expect(others).toEqual([]);
    expect(worker.tests).toMatchObject([{ passed: 1, repeat: 1, loops: 1 }]);
  });

  it("maps nr_pages pages, and with use_huge 2 MiB pages", () => {
    const small = run("run_test_mask=1 test_loop_count=10 nr_pages=1024");
    const huge = run("run_test_mask=1 test_loop_count=10 nr_pages=1024 use_huge=1");
    expect(small.pageTables.leavesMapped).toBeGreaterThan(10 * 1024);
    expect(huge.pageTables.leavesMapped).toBeLessThan(10 * 10);
    expect(huge.vmalloc.areasAllocated).toBeGreaterThanOrEqual(10);
  });

  it("gives the same report for the same seed, and another order of tests for another", () => {
    const words = "test_loop_count=40 run_test_mask=1855 nr_threads=3";
    expect(run(words, 2, 5)).toEqual(run(words, 2, 5));
    expect(workersOf(run(words, 2, 6))).not.toEqual(workersOf(run(words, 2, 5)));
  });

  it("leaves vmalloc's state whole, and nothing busy that it allocated, on 4 CPUs with 3 workers", () => {
    const kernel = bootKernel({ cpus: 4 });
    const parameters = parseParameters("test_vmalloc", testVmalloc.parameters ?? [], [
      "nr_threads=3",
      "test_loop_count=100",
      "run_test_mask=1981",
    ]);
    const before = kernel.vm.nrVmallocPages;
    const report = runOnKernel(kernel, testVmalloc, { operations: 1, seed: 3, parameters });
    expect(report.failure).toBeUndefined();
    expect(kernel.verify()).toEqual([]);
    expect(kernel.vm.nrVmallocPages).toBe(before);
  });

  it("rehearses before long runs, on another kernel: nothing of it is counted or reported", () => {
    const kernel = bootKernel({ cpus: 2 });
    const told: number[] = [];
    const words = ["run_test_mask=1", "test_loop_count=100000"];
    const report = runOnKernel(kernel, testVmalloc, {
      operations: 1,
      seed: 1,
      parameters: parseParameters("test_vmalloc", testVmalloc.parameters ?? [], words),
      onProgress: (operations) => told.push(operations),
    });
    expect(told.at(-1)).toBe(100_000);
    expect(told[0]).toBeLessThan(100_000);
    expect(report.memory.stores).toBe(100_000);
    expect(report.lines?.[0]).toMatch(/loops: 100000 avg/);
    expect(kernel.verify()).toEqual([]);
  });

  it("says which test failed when memory runs out", () => {
    const parameters = parseParameters("test_vmalloc", testVmalloc.parameters ?? [], [
      "run_test_mask=3",
      "test_loop_count=10",
    ]);
    const report = runWorkload(testVmalloc, { cpus: 1, memoryBytes: 2 ** 25 }, { operations: 1, seed: 1, parameters });
    expect(report.failure).toBe(undefined);
    const more = parseParameters("test_vmalloc", testVmalloc.parameters ?? [], [
      "run_test_mask=1",
      "nr_pages=100000",
      "test_loop_count=10",
    ]);
    const failed = runWorkload(
      testVmalloc,
      { cpus: 1, memoryBytes: 2 ** 25 },
      { operations: 1, seed: 1, parameters: more },
    );
    expect(failed.failure).toBe("fix_size_alloc_test failed 1 times on worker 0");
    expect(failed.lines?.[0]).toMatch(/passed: 0 failed: 1/);
  });
});
