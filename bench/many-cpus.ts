/** How quick is the emulator with many CPUs? vmalloc and vfree of a page on every CPU at once. */
import { type KernelCode, PAGE_SIZE, PAUSE_RESCHED, PAUSE_TURN } from "../arch/index.ts";
import { vfree, vmalloc, wait } from "../mm/index.ts";
import { bootKernel } from "../src/machine/kernel.ts";
import type { BenchTask } from "./task.ts";

/** Operations of one run over all CPUs: each vmalloc and each vfree is one. */
const OPERATIONS = 40_960;

function pairsOn(cpus: number): BenchTask {
  return {
    name: `many_cpus_${cpus}`,
    operationsPerRun: OPERATIONS,
    setup() {
      const kernel = bootKernel({ cpus, memoryBytes: 2 ** 36 });
      const { vm } = kernel;
      const { loop } = kernel.machine;
      function* pairs(count: number): KernelCode<void> {
        for (let i = 0; i < count; i++) {
          while (loop.mustYield()) yield PAUSE_TURN;
          yield* wait(vfree(vm, yield* wait(vmalloc(vm, PAGE_SIZE))));
          if (loop.needsResched()) yield PAUSE_RESCHED;
        }
      }
      return () => {
        for (let cpu = 0; cpu < cpus; cpu++) kernel.spawn(`pairs/${cpu}`, cpu, pairs(OPERATIONS / 2 / cpus));
        kernel.runUntilIdle();
      };
    },
  };
}

/** Benchmarks of many emulated CPUs. */
export const MANY_CPUS_TASKS: readonly BenchTask[] = [pairsOn(4), pairsOn(1024)];
