/** Experiments with parameters that take little time, and their tables as objects. */
import { presetByName } from "../../../arch/index.ts";
import type { ExperimentResult, Value } from "../../../src/experiments/base/experiment.ts";
import { EXPERIMENTS, runExperiment } from "../../../src/experiments/index.ts";
import type { MachineSettings } from "../../../src/settings/machine-settings.ts";

/** The microarchitecture that they run on. */
export const SKYLAKE = presetByName("skylake");

/** Parameters with which each experiment takes little time. */
export const SMALL: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "flush-cost": { cpus: "1,2,8,32", pages: "1,33,34", resident: "16", rounds: "1" },
  "flush-ceiling": { ceilings: "0,33,512", cpus: "2", munmaps: "60", resident: "128" },
  "lazy-threshold": { cpus: "1,8", lazy_max_pages: "0,256,8192", frees: "6000" },
  "vmap-contention": { cpus: "1,2,8,16", lazy_max_per_cpu: "256" },
  "unmap-threads": { cpus: "4", threads: "1,4", loops: "400" },
  "page-tables": { size: "64,1024", accesses: "20000" },
  "walk-overlap": { size: "2,64", loads: "4000" },
  "tlb-curves": { stride: "1,16", pages: "4,17,128", orders: "1" },
  "user-flush": { pages: "1,33,34", cpus: "1,8", rounds: "3" },
  "madvise-loop": { threads: "1,4", loops: "40", policies: "ipi,eager" },
  "page-fault": { tasks: "1,4", mib: "1" },
  "concurrent-flush": { cpus: "2,8", pages: "1,10", rounds: "3" },
  "munmap-barrier": { cpus: "1,4", rounds: "3" },
  "pcid-ping-pong": { processes: "2,6,7", pages: "16", turns: "5" },
  fork: { pages: "8,64", cpus: "1,4", rounds: "1" },
  "vmalloc-pages": { pages: "1,16", areas: "300" },
  "nested-walk": { size: "16", pages: "4K,2M", levels: "4", host_levels: "4", accesses: "3000" },
  fracture: { invlpgs: "1,33", rounds: "5" },
  "guest-shootdown": { vcpus: "4", preempted: "0,3", rounds: "3" },
  "kernel-diff": { from: "6.6", to: "6.12", ops: "150", cpus: "2" },
};

/** And with which they take next to none. */
export const TINY: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "flush-cost": { cpus: "2", pages: "1" },
  "flush-ceiling": { ceilings: "33", munmaps: "3" },
  "lazy-threshold": { cpus: "1", lazy_max_pages: "256", frees: "300" },
  "vmap-contention": { cpus: "1", pairs: "50" },
  "unmap-threads": { cpus: "2", threads: "2", loops: "8" },
  "page-tables": { size: "64", accesses: "500" },
  "walk-overlap": { size: "2", pages: "4K", loads: "200" },
  "tlb-curves": { accesses: "store", stride: "1", pages: "4", orders: "1" },
  "user-flush": { pages: "1", cpus: "1", rounds: "1" },
  "madvise-loop": { threads: "2", loops: "4" },
  "page-fault": { kinds: "threads", tasks: "2", mib: "1" },
  "concurrent-flush": { cpus: "2", pages: "1", rounds: "1" },
  "munmap-barrier": { cpus: "2", others: "asleep", rounds: "1" },
  "pcid-ping-pong": { processes: "2", pages: "4", turns: "1" },
  fork: { pages: "4", cpus: "1", rounds: "1" },
  "vmalloc-pages": { pages: "1", areas: "8" },
  "nested-walk": { size: "2", pages: "4K", host_pages: "2M", levels: "4", host_levels: "4", accesses: "200" },
  fracture: { invlpgs: "1", host_pages: "4K", rounds: "1", work: "8" },
  "guest-shootdown": { vcpus: "2", preempted: "1", policies: "kvm", rounds: "1" },
  "kernel-diff": { from: "6.1", to: "6.6", ops: "8", cpus: "1" },
};

/** Runs an experiment by name. @param more parameters in place of the small ones @param settings of its machines */
export function run(
  name: string,
  more: Readonly<Record<string, string>> = {},
  seed = 1,
  settings: MachineSettings = {},
): ExperimentResult {
  const experiment = EXPERIMENTS.find((candidate) => candidate.name === name);
  if (experiment === undefined) throw new Error(`no experiment ${name}`);
  return runExperiment(experiment, SKYLAKE, seed, { ...SMALL[name], ...more }, undefined, settings);
}

/** Rows of a table as objects. */
export function rows(result: ExperimentResult, table: string): Record<string, Value>[] {
  const found = result.tables.find(({ name }) => name === table);
  if (found === undefined) throw new Error(`no table ${table}`);
  return found.rows.map((row) => Object.fromEntries(found.columns.map(({ key }, i) => [key, row[i]])));
}

/** One column of such rows. */
export function column(list: readonly Record<string, Value>[], key: string): number[] {
  return list.map((row) => Number(row[key]));
}
