/** A point of a sweep that replays a trace: on a machine of the grid's values, its numbers as rows. */
import type { StructureReport } from "../../arch/index.ts";
import { nothingCounted } from "../references/nothing-counted.ts";
import { type ReferenceReport, replayReferences } from "../references/reference-replay.ts";
import { parseWarmup, warmupOptions } from "../references/warmup.ts";
import { guestSettings } from "../settings/guest-settings.ts";
import { parseMemorySize } from "../settings/machine-limits.ts";
import { replayFtrace } from "../traces/ftrace-replay.ts";
import type { FtraceReport } from "../traces/ftrace-report.ts";
import { figuresOfPoint } from "./figure-columns.ts";
import type { PointTable, ResultRow } from "./run-point.ts";
import { settingsOf } from "./setting-columns.ts";
import type { GridValue } from "./spec-text.ts";
import type { TraceKind } from "./trace-columns.ts";

/** As `mmulab replay` has it. */
const DEFAULT_MEMORY = "256GiB";
const DEFAULT_WINDOW = 1_000_000;
const DEFAULT_PAGES = "4K";
/** The name of the table of what the replay counted. */
const TABLE = "replay";
/** That of what each TLB and paging-structure cache did. */
const STRUCTURES_TABLE = "structures";

type Values = Readonly<Record<string, GridValue>>;

/**
 * Replays the trace in `file`.
 * @throws InputFileError for what is wrong with it, ConfigError, ValueError, NotEnoughMemory for a machine that cannot do it
 */
export async function replayPoint(kind: TraceKind, file: string, values: Values): Promise<PointTable[]> {
  if (kind === "references") return replayReferencePoint(file, values);
  return [{ name: TABLE, rows: [await replayFtracePoint(file, values)] }];
}

async function replayReferencePoint(file: string, values: Values): Promise<PointTable[]> {
  const { pages, warmup, skip, limit, window, cpus, memory, independent } = values;
  const figures = figuresOfPoint(values);
  const settings = settingsOf(values);
  const guest = settings.guest === true ? guestSettings(settings) : undefined;
  const report = await replayReferences(file, {
    preset: figures.preset,
    figures,
    memoryBytes: parseMemorySize(String(memory ?? DEFAULT_MEMORY)),
    pageSize: String(pages ?? guest?.guestPages ?? DEFAULT_PAGES),
    windowReferences: Number(window ?? DEFAULT_WINDOW),
    ...(warmup === undefined ? {} : warmupOptions(parseWarmup(String(warmup)))),
    ...(skip === undefined ? {} : { skipReferences: Number(skip) }),
    ...(limit === undefined ? {} : { limitReferences: Number(limit) }),
    ...(cpus === undefined ? {} : { cpus: Number(cpus) }),
    ...(guest === undefined ? {} : { guest }),
    ...(independent === true ? { independent } : {}),
    ...(values.structures === true ? { structures: true } : {}),
  });
  const { structures } = report;
  const replay = { name: TABLE, rows: [referenceRow(report)] };
  return structures === undefined
    ? [replay]
    : [replay, { name: STRUCTURES_TABLE, rows: structures.flatMap(structureRows) }];
}

/** A row for a TLB or paging-structure cache, and one for each size of page where it holds several: `entries` says which, or `all`. */
function structureRows({
  structure,
  usedBy,
  lookups,
  hits,
  misses,
  fills,
  evictions,
  bySize,
}: StructureReport): ResultRow[] {
  const sizes = Object.entries(bySize ?? {});
  return [
    { structure, usedBy, entries: "all", lookups, hits, misses, fills, evictions },
    ...sizes.map(([entries, counts]) => ({ structure, usedBy, entries, ...counts })),
  ];
}

function referenceRow(report: ReferenceReport): ResultRow {
  const { counters, memory, workingSet } = report;
  const failure = nothingCounted(report);
  const units = ["dtlb_load_misses", "dtlb_store_misses", "itlb_misses"];
  const sum = (event: string): number => units.reduce((total, unit) => total + counters[`${unit}.${event}`], 0);
  return {
    references: report.references,
    instructions: report.instructions,
    loads: counters["dTLB-loads"],
    loadMisses: counters["dTLB-load-misses"],
    stores: counters["dTLB-stores"],
    storeMisses: counters["dTLB-store-misses"],
    fetches: counters["iTLB-loads"],
    fetchMisses: counters["iTLB-load-misses"],
    secondLevelHits: sum("stlb_hit"),
    walks: sum("walk_completed"),
    walkCycles: sum("walk_active"),
    cycles: report.cycles,
    pageFaults: counters["page-faults"],
    pagesTouched: memory.pagesTouched,
    mappedBytes: memory.mappedBytes,
    tableBytes: memory.tableBytes,
    workingSetPages: workingSet.pages.reduce((most, pages) => Math.max(most, pages), 0),
    ...(failure === null ? {} : { failure }),
  };
}

async function replayFtracePoint(file: string, values: Values): Promise<ResultRow> {
  const figures = figuresOfPoint(values);
  const report = await replayFtrace(file, {
    preset: figures.preset,
    settings: { ...settingsOf(values), figures },
    memoryBytes: parseMemorySize(String(values.memory ?? DEFAULT_MEMORY)),
    ...(values.cpus === undefined ? {} : { cpus: Number(values.cpus) }),
  });
  return ftraceRow(report);
}

function ftraceRow(report: FtraceReport): ResultRow {
  const { areas, flushCost } = report;
  return {
    machineCpus: report.machine.cpus,
    lazyMaxPages: report.lazyMaxPages,
    areasAllocated: areas.allocated,
    areasAtTracedAddress: areas.atTracedAddress,
    areasFreed: areas.freed,
    areasFailed: areas.failed,
    purges: report.purges,
    areasPurged: report.areasPurged,
    fullFlushes: report.fullFlushes,
    rangeFlushes: report.rangeFlushes,
    allocCycles: report.allocCycles,
    freeCycles: report.freeCycles,
    flushWorkCycles: flushCost.workCycles,
    flushWaitCycles: flushCost.waitCycles,
    flushStolenCycles: flushCost.stolenCycles,
    flushLineCycles: flushCost.lineCycles,
    flushRefillCycles: flushCost.refillCycles,
    tracedPurges: report.traced.purges,
    tracedAreasPurged: report.traced.areasPurged,
    differences: report.differences.length,
  };
}
