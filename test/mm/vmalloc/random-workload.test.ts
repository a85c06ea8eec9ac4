import { describe, expect, it } from "vitest";
import {
  DEFERRED_POLICY,
  EAGER_POLICY,
  INVLPGB_POLICY,
  RAR_POLICY,
  snapshotVmalloc,
  VMALLOC_START,
} from "../../../mm/index.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../../../src/machine/kernel.ts";
import { framesHeld, RandomWorkload } from "./random-workload.ts";

/** Operations of each workload; `npm run soak` makes a million. */
const OPERATIONS = Number(process.env.MMULAB_OPERATIONS ?? 50_000);
const ROUND = 2500;
const MIB = 2 ** 20;

/** Runs a workload with a check of everything after each round, and at the end when all has been freed. */
function run(kernel: Kernel, workload: RandomWorkload, operations: number): void {
  for (let done = 0; done < operations; done += ROUND) {
    workload.round(Math.min(ROUND, operations - done));
    expect(kernel.verify(), `after ${done + ROUND} operations`).toEqual([]);
  }
  workload.finish();
  expect(kernel.verify()).toEqual([]);
  expect(framesHeld(kernel)).toBe(0);
  const { free, busy, lazy, pool, blocks, lazyNr } = snapshotVmalloc(kernel.vm);
  expect({ gaps: free.map(({ start, end }) => [start, end]), busy, lazy, pool, blocks, lazyNr }).toEqual({
    gaps: [[1, 2 ** 48 - 1]],
    busy: [],
    lazy: [],
    pool: [],
    blocks: [],
    lazyNr: 0,
  });
  expect(kernel.vm.vms.liveCount).toBe(0);
  // Where allocations fail, per-CPU areas may lack a node for a split, which is warned of (`va_clip`).
  const { "failed percpu": failedSplits = 0 } = workload.tally;
  expect(kernel.log.warnings).toBeGreaterThanOrEqual(workload.expectedWarnings);
  expect(kernel.log.warnings).toBeLessThanOrEqual(workload.expectedWarnings + failedSplits);
}

interface Case {
  readonly name: string;
  readonly config: Partial<KernelConfig>;
  readonly mistakeEvery?: number;
  readonly faultEvery?: number;
  readonly userSpaces?: number;
}

const CASES: Case[] = [
  { name: "1 CPU", config: { cpus: 1, vmalloc: { lazyMaxPages: 512 } } },
  { name: "4 CPUs", config: { cpus: 4, vmalloc: { lazyMaxPages: 512 } } },
  {
    name: "4 CPUs, blocks of 128 pages, purges with helpers",
    config: { cpus: 4, vmalloc: { blockPages: 128, lazyMaxPages: 32 } },
  },
  {
    name: "4 CPUs that share 2 vmap nodes, on 2 NUMA nodes, with mistakes and failing allocations",
    config: { cpus: 4, numaNodes: 2, vmalloc: { vmapNodes: 2, lazyMaxPages: 256 } },
    mistakeEvery: 40,
    faultEvery: 100,
  },
];

const POLICY_CASES: Case[] = [
  { name: "eager", config: { flushPolicy: EAGER_POLICY } },
  { name: "invlpgb", config: { flushPolicy: INVLPGB_POLICY, features: { invlpgb: true } } },
  { name: "rar", config: { flushPolicy: RAR_POLICY, features: { rar: true } }, userSpaces: 4 },
  {
    name: "rar, with page-table isolation",
    config: { flushPolicy: RAR_POLICY, features: { rar: true }, pageTableIsolation: true },
    userSpaces: 4,
  },
  { name: "deferred", config: { flushPolicy: DEFERRED_POLICY, isolatedCpus: [2, 3] } },
  { name: "ipi, among user address spaces", config: {}, userSpaces: 9 },
  {
    name: "ipi, among user address spaces with page-table isolation",
    config: { pageTableIsolation: true },
    userSpaces: 4,
  },
  {
    name: "deferred, with page-table isolation",
    config: { flushPolicy: DEFERRED_POLICY, isolatedCpus: [1, 2, 3], pageTableIsolation: true },
    userSpaces: 3,
  },
];

describe("a random workload of all calls stays sound", () => {
  it.each(CASES)("on $name", ({ config, mistakeEvery = 0, faultEvery = 0 }) => {
    const kernel = bootKernel({ memoryBytes: 256 * MIB, ...config });
    const workload = new RandomWorkload(kernel, {
      seed: 20260,
      liveMax: 400,
      mistakeEvery,
      faultEvery,
      userModeEvery: 0,
    });
    run(kernel, workload, OPERATIONS);
    const { tally } = workload;
    for (const name of [
      "vmalloc",
      "vmallocHuge",
      "vmap",
      "vmMapRam of its own",
      "ioremap",
      "vrealloc",
      "vmAreaMapPages",
      "percpu",
    ]) {
      expect(tally[name], name).toBeGreaterThan(OPERATIONS / 2000);
    }
    expect(tally["failed vmallocWindow"], "the window fills up").toBeGreaterThan(0);
    expect(kernel.vm.purges, "purges by drain work").toBeGreaterThan(tally.vmUnmapAliases + tally.reclaimAndPurge);
    if (mistakeEvery > 0) expect(tally["mistake warned of"]).toBeGreaterThan(OPERATIONS / 200);
    if (faultEvery > 0) expect(tally["failed vmalloc"]).toBeGreaterThan(OPERATIONS / 2000);
  });

  it.each(POLICY_CASES)("with the flush policy $name", ({ config, userSpaces = 0 }) => {
    const kernel = bootKernel({ cpus: 4, memoryBytes: 256 * MIB, vmalloc: { lazyMaxPages: 512 }, ...config });
    const workload = new RandomWorkload(kernel, {
      seed: 9,
      liveMax: 400,
      userModeEvery: 5,
      userSpaces,
    });
    run(kernel, workload, OPERATIONS / 4);
    expect(workload.tally["user mode"]).toBeGreaterThan(OPERATIONS / 200);
  });

  it("also where memory is too small for it", () => {
    const kernel = bootKernel({ cpus: 4, memoryBytes: 16 * MIB, vmalloc: { lazyMaxPages: 512 } });
    const workload = new RandomWorkload(kernel, {
      seed: 5,
      liveMax: 900,
      userModeEvery: 0,
    });
    run(kernel, workload, OPERATIONS / 4);
    expect(workload.tally["failed vmalloc"]).toBeGreaterThan(0);
  });

  it("and the same seed gives the same state, clocks and counts", () => {
    const outcome = (seed: number): unknown => {
      const kernel = bootKernel({ cpus: 4, memoryBytes: 64 * MIB, vmalloc: { lazyMaxPages: 512 } });
      const workload = new RandomWorkload(kernel, {
        seed,
        liveMax: 300,
        mistakeEvery: 50,
        faultEvery: 200,
        userModeEvery: 0,
      });
      workload.round(4000);
      const clocks = [...kernel.machine.loop.clockCycles];
      return { state: snapshotVmalloc(kernel.vm), clocks, tally: workload.tally, start: VMALLOC_START };
    };
    const first = outcome(1);
    expect(outcome(1)).toEqual(first);
    expect(outcome(2)).not.toEqual(first);
  });
});
