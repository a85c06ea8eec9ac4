/** The `test_vmalloc` workload: the kernel's lib/test_vmalloc.c, with its parameters and its report. */
import { type CodesInTurn, nothing } from "../../../arch/time/event-loop.ts";
import { KvfreeRcu } from "../../../mm/percpu/kvfree-rcu.ts";
import { PercpuAllocator } from "../../../mm/percpu/percpu.ts";
import { EventCounter } from "../../events/event-counter.ts";
import { booleanParameter, defaultParameters, integerParameter, type ParameterValues } from "../../input/parameters.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../../machine/kernel.ts";
import { type Random, randomStream } from "../../machine/random.ts";
import { Turns } from "../base/turns.ts";
import type { Workload, WorkloadOptions, WorkloadResult } from "../base/workload.ts";
import { TEST_VMALLOC_PARAMETERS } from "./parameters.ts";
import { KERNEL_SIZES, type TestSizes } from "./test-sizes.ts";
import { VMALLOC_TESTS } from "./tests.ts";
import { Worker } from "./worker.ts";

const SEED_MAX = 2 ** 32 - 1;
/** From so many loops on a rehearsal takes no longer than it saves, with the default masks; with 20,000 it took longer. */
const REHEARSAL_WORTH_LOOPS = 100_000;
const REHEARSAL_LOOPS = 1000;
/** Two workers, so that locks are waited for. */
const REHEARSAL_THREADS = 2;
const REHEARSAL_CPUS_MAX = 4;
/** Purges have to come often in so few loops, and vmap blocks to fill. */
const REHEARSAL_VMALLOC = { lazyMaxPages: 512, blockPages: 128, purgeThresholdPages: 32 };
const REHEARSAL_SIZES: TestSizes = { fitAreas: 100, busyAreas: 300, percpuObjects: 2000 };

/** What one worker found of one test. */
export interface TestOutcome {
  readonly name: string;
  readonly id: number;
  passed: number;
  failed: number;
  readonly repeat: number;
  readonly loops: number;
  /** Microseconds of the worker's CPU's clock, the average of all repeats. */
  avgUsec: number;
}

/** What one worker did. */
export interface WorkerOutcome {
  readonly worker: number;
  readonly cpu: number;
  cycles: number;
  readonly tests: readonly TestOutcome[];
}

/** The kernel's own stress test and benchmark of vmalloc. */
export const testVmalloc: Workload = {
  name: "test_vmalloc",
  summary: "the kernel's lib/test_vmalloc.c: its tests, parameters and report, in simulated time",
  parameters: TEST_VMALLOC_PARAMETERS,
  usesOperations: false,
  operationsOf: (parameters) => {
    const settings = settingsOf(parameters);
    return settings.threads * settings.repeat * settings.tests.reduce((sum, test) => sum + loopsOf(test, settings), 0);
  },
  run: (kernel, options) => runTestVmalloc(kernel, options),
};

interface Settings {
  readonly threads: number;
  readonly sequential: boolean;
  readonly repeat: number;
  readonly loops: number;
  readonly pages: number;
  readonly useHuge: boolean;
  readonly isRehearsal: boolean;
  /** Indices of the tests to run. */
  readonly tests: readonly number[];
}

function settingsOf(parameters: ParameterValues): Settings {
  const mask = integerParameter(parameters, "run_test_mask");
  return {
    threads: Math.max(1, integerParameter(parameters, "nr_threads")),
    sequential: booleanParameter(parameters, "sequential_test_order"),
    repeat: Math.max(1, integerParameter(parameters, "test_repeat_count")),
    loops: Math.max(1, integerParameter(parameters, "test_loop_count")),
    pages: Math.max(1, integerParameter(parameters, "nr_pages")),
    useHuge: booleanParameter(parameters, "use_huge"),
    isRehearsal: false,
    tests: VMALLOC_TESTS.map((_, index) => index).filter((index) => (mask & (1 << index)) !== 0),
  };
}

function loopsOf(test: number, settings: Settings): number {
  return VMALLOC_TESTS[test].ownLoops ?? settings.loops;
}

function runTestVmalloc(kernel: Kernel, options: WorkloadOptions): WorkloadResult {
  const settings = settingsOf(options.parameters ?? defaultParameters(TEST_VMALLOC_PARAMETERS));
  if (settings.loops >= REHEARSAL_WORTH_LOOPS) rehearse(kernel.config, settings);
  return runTests(kernel, settings, KERNEL_SIZES, options);
}

/**
 * Runs the tests briefly on another kernel, for the host's sake: V8 compiles what runs often for what it has seen by then, and
 * throws the code away when something rarer happens (a purge, a pool that decays, a list that fills up). Here all of it has
 * happened before anything is compiled.
 */
function rehearse(config: KernelConfig, settings: Settings): void {
  const kernel = bootKernel({
    ...config,
    cpus: Math.min(config.cpus, REHEARSAL_CPUS_MAX),
    topology: undefined,
    flushPolicy: undefined,
    isolatedCpus: undefined,
    vmalloc: { ...config.vmalloc, ...REHEARSAL_VMALLOC },
  });
  kernel.vm.events = new EventCounter();
  const brief = { threads: REHEARSAL_THREADS, repeat: 1, loops: REHEARSAL_LOOPS, isRehearsal: true };
  runTests(kernel, { ...settings, ...brief }, REHEARSAL_SIZES, { seed: 0 });
}

function runTests(
  kernel: Kernel,
  settings: Settings,
  sizes: TestSizes,
  options: Pick<WorkloadOptions, "seed" | "onProgress" | "phases">,
): WorkloadResult {
  const { loop, preset } = kernel.machine;
  let done = 0;
  const parts = {
    kernel,
    turns: new Turns(loop, preset.frequencyGhz.value),
    percpu: new PercpuAllocator(kernel.vm),
    kvfreeRcu: new KvfreeRcu(kernel.vm, preset.frequencyGhz.value * 1e9),
    loops: settings.loops,
    pages: settings.pages,
    useHuge: settings.useHuge,
    sizes,
    onLoops: (loops: number) => {
      done += loops;
      options.onProgress?.(done);
    },
  };
  const seeds = randomStream(options.seed);
  const workers: Worker[] = [];
  const outcomes: WorkerOutcome[] = [];
  let undone = settings.threads;
  for (let id = 0; id < settings.threads; id++) {
    const cpu = id % loop.cpus;
    const worker = new Worker(parts, cpu, randomStream(seeds.between(0, SEED_MAX)));
    const order = testOrder(settings, randomStream(seeds.between(0, SEED_MAX)));
    const tests = settings.tests.map((index) => outcomeOf(index, settings));
    const outcome: WorkerOutcome = { worker: id, cpu, cycles: 0, tests };
    workers.push(worker);
    outcomes.push(outcome);
    const codes = function* (): CodesInTurn {
      yield* runWorker(kernel, worker, outcome, order, settings, options);
      undone--;
    };
    loop.spawn(`vmalloc_test/${id}`, cpu, nothing(), codes());
  }
  loop.run(() => undone === 0);
  // What was freed by RCU goes when its time has come.
  kernel.runUntilIdle();
  return resultOf(kernel, workers, outcomes);
}

function outcomeOf(index: number, settings: Settings): TestOutcome {
  const { name } = VMALLOC_TESTS[index];
  return { name, id: 2 ** index, passed: 0, failed: 0, repeat: settings.repeat, loops: settings.loops, avgUsec: 0 };
}

/** One worker's tests, one after the other (`test_func`). */
function* runWorker(
  kernel: Kernel,
  worker: Worker,
  outcome: WorkerOutcome,
  order: readonly number[],
  settings: Settings,
  options: Pick<WorkloadOptions, "phases">,
): CodesInTurn {
  const { loop, preset } = kernel.machine;
  const start = loop.nowCycles();
  for (const index of order) {
    const test = VMALLOC_TESTS[index];
    const result = outcome.tests.find((candidate) => candidate.name === test.name);
    if (result === undefined) continue;
    const since = loop.nowCycles();
    if (outcome.worker === 0) options.phases?.begin(test.name);
    const repeats = settings.isRehearsal ? (test.rehearsals ?? 1) : settings.repeat;
    for (let repeat = 0; repeat < repeats; repeat++) {
      worker.beginTest();
      if ((yield test.run(worker)) === true) result.passed++;
      else result.failed++;
      worker.endTest(loopsOf(index, settings));
    }
    if (outcome.worker === 0) options.phases?.end(test.name, settings.repeat * loopsOf(index, settings));
    const usec = Math.floor((loop.nowCycles() - since) / (preset.frequencyGhz.value * 1000));
    result.avgUsec = Math.floor(usec / settings.repeat);
  }
  outcome.cycles = Math.round(loop.nowCycles() - start);
}

/** The indices of the tests in the order in which a worker runs them: shuffled as the kernel's `shuffle_array` does. */
function testOrder(settings: Settings, random: Random): number[] {
  const order = VMALLOC_TESTS.map((_, index) => index);
  if (!settings.sequential) {
    for (let i = order.length - 1; i > 0; i--) {
      const j = random.between(0, i - 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
  }
  return order.filter((index) => settings.tests.includes(index));
}

function resultOf(kernel: Kernel, workers: readonly Worker[], outcomes: readonly WorkerOutcome[]): WorkloadResult {
  const unexpected = outcomes.flatMap(({ worker, tests }) =>
    tests
      .filter(({ name, failed, repeat }) => failed !== (isExpectedToFail(name) ? repeat : 0))
      .map(({ name, failed }) =>
        isExpectedToFail(name)
          ? `${name} passed on worker ${worker}`
          : `${name} failed ${failed} times on worker ${worker}`,
      ),
  );
  return {
    operations: new Map(),
    loads: workers.reduce((sum, worker) => sum + worker.loads, 0),
    stores: workers.reduce((sum, worker) => sum + worker.stores, 0),
    wrongLoads: 0,
    lines: outcomes.flatMap(reportLines),
    details: { frequencyGhz: kernel.machine.preset.frequencyGhz.value, workers: outcomes },
    ...(unexpected.length > 0 ? { failure: unexpected.join("; ") } : {}),
  };
}

function isExpectedToFail(name: string): boolean {
  return VMALLOC_TESTS.some((test) => test.name === name && test.expectedToFail === true);
}

/** The lines that the kernel's module prints of a worker. */
function reportLines(outcome: WorkerOutcome): string[] {
  return [
    ...outcome.tests.map(
      ({ name, passed, failed, repeat, loops, avgUsec }) =>
        `Summary: ${name} passed: ${passed} failed: ${failed} repeat: ${repeat} loops: ${loops} avg: ${avgUsec} usec`,
    ),
    `All test took worker${outcome.worker}=${outcome.cycles} cycles`,
  ];
}
