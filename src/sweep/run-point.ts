/** One point of a sweep: a run on a machine of its own, and its numbers as rows. */
import { sumCounters } from "../../arch/index.ts";
import { findExperiment, runExperiment } from "../experiments/index.ts";
import { parseParameters } from "../input/parameters.ts";
import { bootKernel, DEFAULT_KERNEL_CONFIG } from "../machine/kernel.ts";
import { counted } from "../report/counted.ts";
import { runOnKernel } from "../runs/run.ts";
import type { RunReport } from "../runs/run-report.ts";
import { warningSummary } from "../runs/run-report-text.ts";
import { parseMemorySize } from "../settings/machine-limits.ts";
import { cpusOf, kernelSettings } from "../settings/machine-settings.ts";
import { findWorkload } from "../workloads/index.ts";
import { figuresOfPoint, isFigureColumn } from "./figure-columns.ts";
import { SETTING_COLUMNS, settingsOf } from "./setting-columns.ts";
import type { SweepPoint, SweepSpec } from "./spec.ts";

/** Numbers and words by column. */
export type ResultRow = Readonly<Record<string, number | string>>;

/** The name of the table that a workload gives. */
const WORKLOAD_TABLE = "run";
const DEFAULT_OPERATIONS = 20_000;
/** Columns of a grid that are not parameters of the workload itself. */
const MACHINE: readonly string[] = ["cpus", "memory", "preset", "operations", ...Object.keys(SETTING_COLUMNS)];

/** Rows of one kind: all have the same columns. */
export interface PointTable {
  /** What the experiment calls it; `run` for a workload's only one. */
  readonly name: string;
  readonly rows: readonly ResultRow[];
}

/** Runs a point; its tables: one of one row for a workload, all that an experiment has. */
export function runPoint(spec: Pick<SweepSpec, "kind" | "name">, point: SweepPoint): PointTable[] {
  if (spec.kind === "experiment") return runExperimentPoint(spec.name, point);
  return [{ name: WORKLOAD_TABLE, rows: [runWorkloadPoint(spec.name, point)] }];
}

function runWorkloadPoint(name: string, point: SweepPoint): ResultRow {
  const { values, seed } = point;
  const workload = findWorkload(name);
  const own = Object.entries(values).filter(([key]) => !MACHINE.includes(key) && !isFigureColumn(key));
  const parameters = parseParameters(
    name,
    workload.parameters ?? [],
    own.map(([key, value]) => `${key}=${value}`),
  );
  const settings = settingsOf(values);
  const { topology } = settings;
  const cpus = values.cpus ?? (topology === undefined ? DEFAULT_KERNEL_CONFIG.cpus : cpusOf(topology));
  const kernel = bootKernel({
    ...kernelSettings({ ...settings, figures: figuresOfPoint(values) }, Number(cpus)),
    ...(values.memory === undefined ? {} : { memoryBytes: parseMemorySize(String(values.memory)) }),
  });
  const accounts = kernel.vm.flushing.keepAccounts();
  const operations = values.operations === undefined ? DEFAULT_OPERATIONS : Number(values.operations);
  const report = runOnKernel(kernel, workload, { operations, seed, parameters });
  const counters = sumCounters(report.counters);
  const flush = accounts.total();
  const sum = (pick: (cycles: (typeof report.cycles)[number]) => number): number =>
    report.cycles.reduce((total, each) => total + pick(each), 0);
  const done = Object.values(report.operations).reduce((total, each) => total + each.done, 0);
  return {
    operationsDone: done,
    elapsedCycles: report.cycles.reduce((most, each) => Math.max(most, each.total), 0),
    idleCycles: sum((each) => each.idle),
    waitingCycles: sum((each) => each.spin),
    flushes: report.vmalloc.fullFlushes + report.vmalloc.rangeFlushes,
    flushWorkCycles: flush.workCycles,
    flushWaitCycles: flush.waitCycles,
    flushStolenCycles: flush.stolenCycles,
    flushLineCycles: flush.lineCycles,
    flushRefillCycles: flush.refillCycles,
    ...numbersOf(report.vmalloc),
    tables: report.pageTables.tablesByLevel.reduce((total, count) => total + count, 0),
    dTLBMisses: counters["dTLB-load-misses"] + counters["dTLB-store-misses"],
    walkCycles: counters["dtlb_load_misses.walk_active"] + counters["dtlb_store_misses.walk_active"],
    ...numbersOf(report.details ?? {}),
    wrongLoads: report.memory.wrongLoads,
    ...failureOf(report),
  };
}

function failureOf(report: RunReport): { failure?: string } {
  const { wrongLoads } = report.memory;
  if (report.failure !== undefined) return { failure: report.failure };
  if (wrongLoads > 0) return { failure: `${counted(wrongLoads, "load")} did not give what had been stored` };
  return report.kernelWarnings > 0 ? { failure: warningSummary(report.kernelWarnings) } : {};
}

function runExperimentPoint(name: string, point: SweepPoint): PointTable[] {
  const experiment = findExperiment(name);
  const { preset: _, ...given } = point.values;
  const figures = figuresOfPoint(point.values);
  const names = experiment.parameters.map((spec) => spec.name);
  const others = Object.entries(given).filter(([key]) => !isFigureColumn(key));
  const own = others.filter(([key]) => names.includes(key));
  const texts = Object.fromEntries(own.map(([key, value]) => [key, String(value)]));
  const settings = { ...settingsOf(Object.fromEntries(others.filter(([key]) => !names.includes(key)))), figures };
  const result = runExperiment(experiment, figures.preset, point.seed, texts, undefined, settings);
  return result.tables.map((table) => ({
    name: table.name,
    rows: table.rows.map((row) =>
      Object.fromEntries(table.columns.flatMap(({ key }, i) => (row[i] === null ? [] : [[key, row[i]]]))),
    ),
  }));
}

function numbersOf(values: Readonly<Record<string, unknown>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, number] => typeof entry[1] === "number"),
  );
}
