/** The trace of a run, replayed with the run's settings, gives the run's own flush costs back. */
import { describe, expect, it } from "vitest";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { traceEverything } from "../../../src/output/event-file.ts";
import { totalCycles } from "../../../src/report/flush-costs.ts";
import { replayFtrace } from "../../../src/traces/ftrace-replay.ts";
import { threadWorkload } from "../../../src/workloads/base/thread-workload.ts";
import { forkStorm } from "../../../src/workloads/fork-storm.ts";
import { mixed } from "../../../src/workloads/mixed.ts";
import { moduleLoad } from "../../../src/workloads/module-load.ts";
import { userProcesses } from "../../../src/workloads/user-processes.ts";
import { temporaryFolder } from "../fixtures.ts";

const folder = temporaryFolder();
/** The operations of `run` without `--ops`. */
const DEFAULT_OPERATIONS = 20_000;

/**
 * How long a CPU has interrupts off while it takes a batch of pages from the zone. A trace does not say when that is: an interrupt that
 * found interrupts on may find them off in the replay, and the flush waits for it. Where flushes are many that evens out.
 */
const INTERRUPTS_OFF_CYCLES = 7_600;

/** A server that compiles BPF: every program takes the place of an old one, and the change of its pages' attributes flushes aliases. */
const bpfLike = threadWorkload({
  name: "bpf_like",
  summary: "programs that replace each other",
  parameters: [],
  setUp: () => null,
  *thread(thread) {
    let old = 0;
    for (let i = 0; i < thread.operations; i++) {
      const program = yield* thread.vmalloc(2 * 4096);
      thread.store(program, i);
      if (old !== 0) yield* thread.vfree(old);
      old = program;
      yield* thread.vmUnmapAliases();
    }
    if (old !== 0) yield* thread.vfree(old);
  },
});

describe("the trace of a run", () => {
  it.each([
    { workload: mixed, operations: 400, cpus: 4 },
    // On one CPU refills are half of it: which hits of the second-level TLB there were decides what is evicted before a flush takes it.
    { workload: mixed, operations: 1000, cpus: 1 },
    { workload: mixed, operations: 4000, cpus: 4 },
    { workload: mixed, operations: DEFAULT_OPERATIONS, cpus: 4 },
    { workload: moduleLoad, operations: 60, cpus: 4 },
    // CPUs wait for vmap_purge_lock nearly all the time: who gets it next follows from the order of purges.
    { workload: moduleLoad, operations: 200, cpus: 4 },
    // Its last flush finds idle CPUs at the end of a storm of frees.
    { workload: forkStorm, operations: DEFAULT_OPERATIONS, cpus: 4 },
    { workload: forkStorm, operations: DEFAULT_OPERATIONS, cpus: 1 },
    { workload: bpfLike, operations: 400, cpus: 4 },
    { workload: userProcesses, operations: 2000, cpus: 4 },
    // All CPUs load address spaces at once, which were made before: else who makes them is late, and locks go to others.
    { workload: userProcesses, operations: 200, cpus: 8 },
  ])(
    "of $workload.name, $operations operations on $cpus CPUs, replayed costs what the run's flushes cost, within 2 %",
    async ({ workload, operations, cpus }) => {
      const kernel = bootKernel({ cpus });
      const accounts = kernel.vm.flushing.keepAccounts();
      const lines: string[] = [];
      const cyclesPerSecond = kernel.machine.preset.frequencyGhz.value * 1e9;
      kernel.vm.events = traceEverything(kernel, cyclesPerSecond, (line) => lines.push(line));
      workload.run(kernel, { operations, seed: 1 });
      expect(accounts.records.length).toBeGreaterThan(0);
      const trace = folder.write("trace.txt", `${lines.join("\n")}\n`);
      const report = await replayFtrace(trace, { preset: "skylake", memoryBytes: 2 ** 32 });
      expect(report.skipped).toEqual([]);
      // Calls under way at the same time may share one purge more or less.
      expect(Math.abs(report.purges - report.traced.purges)).toBeLessThanOrEqual(report.traced.purges / 50);
      const [ran, replayed] = [accounts.total(), report.flushCost];
      const [ranCycles, replayedCycles] = [totalCycles(ran), totalCycles(replayed)];
      const withoutWaits = (replayedCycles - replayed.waitCycles) / (ranCycles - ran.waitCycles);
      expect(Math.abs(withoutWaits - 1)).toBeLessThan(0.02);
      expect(Math.abs(replayedCycles - ranCycles)).toBeLessThan(0.02 * ranCycles + INTERRUPTS_OFF_CYCLES);
    },
  );
});
