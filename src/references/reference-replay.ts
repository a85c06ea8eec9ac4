/** The memory references of traced programs through the MMUs of a machine, in user mode, on page tables that fill as they are touched. */

import {
  type CounterSnapshot,
  type Cpu,
  counterDifference,
  StructureCounting,
  type StructureReport,
} from "../../arch/index.ts";
import { ACCESS_STORE } from "../../arch/isa/access.ts";
import { NotEnoughMemory } from "../../mm/index.ts";
import { inputName } from "../files/byte-chunks.ts";
import type { GuestConfig } from "../guests/guest-config.ts";
import { bootKernel, type KernelConfig } from "../machine/kernel.ts";
import { type GuestReport, guestReport } from "../report/guest.ts";
import { describeChoice } from "../settings/choice-text.ts";
import type { FigureChoice } from "../settings/figure-choice.ts";
import { type AddressSpace, AddressSpaces } from "./address-spaces.ts";
import { type CostlyPlaces, MissProfile } from "./miss-profile.ts";
import { type Interval, OverTime } from "./over-time.ts";
import { PageWindows } from "./page-windows.ts";
import { readInBatches } from "./reading.ts";
import { KIND_INSTRUCTION, type ReferenceBatch, type ReferenceFormat } from "./reference-batch.ts";
import { type SourceSummary, traceFiles } from "./reference-source.ts";
import { RunReplay } from "./run-replay.ts";

/** How a trace is replayed. */
export interface ReferenceOptions {
  /** The machine's microarchitecture. */
  readonly preset: KernelConfig["preset"];
  /** Where the preset comes from and what was changed in it, for the report. */
  readonly figures?: FigureChoice;
  readonly memoryBytes: number;
  /** The version of Linux (`6.12`). Default: the one that kernels have by default. */
  readonly kernel?: string;
  /** Runs the programs on a kernel that is a guest. Default: on the machine itself. */
  readonly guest?: GuestConfig;
  /** Pages of the traced program: `4K`, `2M`, `1G`, or rules (page-rules.ts). */
  readonly pageSize: string;
  /** References in a window of the working set. */
  readonly windowReferences: number;
  /**
   * Whether no reference waits for the ones before it; fetches keep what follows waiting. Traces do not say what depends on what. Default:
   * each waits, as those of a list that is followed.
   */
  readonly independent?: boolean;
  /** The trace's format. Default: told by its contents. */
  readonly format?: ReferenceFormat;
  /** CPUs, which threads share in turn. Default: as many as a folder of drmemtrace has files, else one. */
  readonly cpus?: number;
  /** References at the beginning that are not made. Default: none. */
  readonly skipReferences?: number;
  /** References after these that fill the TLBs and are not counted. Default: none. */
  readonly warmupReferences?: number;
  /** Ends the warm-up when this fraction of the entries of the last-level TLBs are in use, in place of a number of references. */
  readonly warmupFraction?: number;
  /** How many of the costliest pages, ranges and instructions are told. Default: none, and nothing of the kind is counted. */
  readonly top?: number;
  /** Whether each TLB and paging-structure cache is counted by itself, which takes up to twice as long. Default: no. */
  readonly structures?: boolean;
  /** References of an interval of which counters are told. Default: none. */
  readonly intervalReferences?: number;
  /** References after these, with which the replay ends. Default: all. */
  readonly limitReferences?: number;
  /** Told how many bytes of the file have been read, and how many references made. */
  readonly onProgress?: (bytes: number, references: number) => void;
}

/** What a program's references did. */
export interface ReferenceReport {
  readonly trace: string;
  readonly format: ReferenceFormat;
  readonly preset: string;
  /** The preset's file, and figures that were given another value. */
  readonly presetFile?: string;
  readonly set?: Readonly<Record<string, string>>;
  readonly frequencyGhz: number;
  /** The version of Linux, where one was asked for. */
  readonly kernel?: string;
  readonly pageSize: string;
  /** Present where no reference waited for the ones before it. */
  readonly independent?: true;
  /**
   * Lines (records of a binary trace): all, and those that should mean something and do not; the first of these, from 1, or 0.
   * Absent where the replay ended before the trace.
   */
  readonly lines?: number;
  readonly oddLines?: number;
  readonly firstOddLine?: number;
  /** CPUs that ran something, and the traced threads and processes. */
  readonly cpus: number;
  readonly threads: number;
  readonly processes: number;
  readonly instructions: number;
  /** References at the beginning that were not made, and those after them that were made and not counted; beside them: */
  readonly skippedReferences: number;
  readonly warmupReferences: number;
  /** Loads, stores and fetches, a modification being a load and a store; one that crosses a page counts in both pages. */
  readonly references: number;
  /**
   * Under the names that `perf list` gives them, of all CPUs together. As on hardware, an access to a page that is not mapped yet
   * counts twice, the walk that faults and that of the access made again.
   */
  readonly counters: CounterSnapshot;
  /** Cycles of the CPUs' clocks together: issue of each reference, and all that translation adds. */
  readonly cycles: number;
  readonly memory: {
    /** Different 4 KiB pages that were referenced. */
    readonly pagesTouched: number;
    /** Bytes that the programs were given for them. */
    readonly mappedBytes: number;
    /** Page tables by level: index 1 PTE tables to 4 the top table; and their bytes. */
    readonly tablesByLevel: readonly number[];
    readonly tableBytes: number;
  };
  readonly workingSet: {
    readonly windowReferences: number;
    /** Different 4 KiB pages in each window; the last may be shorter. */
    readonly pages: readonly number[];
  };
  /** What page walks were for, where that was asked for. */
  readonly costliest?: CostlyPlaces;
  /** What each TLB and paging-structure cache did, where that was asked for. */
  readonly structures?: readonly StructureReport[];
  /** The host, where the programs ran in a guest: since the begin of the replay. */
  readonly guest?: GuestReport;
  /** Counters of each interval, where that was asked for; the last may be shorter. `from` counts from the first counted reference. */
  readonly overTime?: { readonly intervalReferences: number; readonly intervals: readonly Interval[] };
}

/** References between two looks at how full the TLBs are. */
const FILL_CHECK_REFERENCES = 1024;

/**
 * Replays the trace in `file` (`-`: standard input): text of valgrind's lackey, a file or folder of drmemtrace, a file of ChampSim;
 * plain, gzip, xz, zstd or, of drmemtrace, zip.
 * @throws InputFileError when it cannot be read or holds no references, NotEnoughMemory when the machine's memory is too small
 */
export async function replayReferences(file: string, options: ReferenceOptions): Promise<ReferenceReport> {
  const [report] = await compareReferences(file, [options]);
  return report;
}

/**
 * Replays a trace with several settings side by side: it is read once, and each has a machine of its own.
 * @param settings at least one; format and progress are those of the first
 * @returns a report for each
 * @throws as {@link replayReferences}
 */
export async function compareReferences(
  file: string,
  settings: readonly ReferenceOptions[],
): Promise<readonly ReferenceReport[]> {
  const [{ format = null, onProgress }] = settings;
  const replays = settings.map((each) => new ReferenceReplay(each, each.cpus ?? traceFiles(file, format)));
  const summary = await readInBatches(file, format, (batch) => {
    onProgress?.(batch.bytesRead, replays[0].references);
    let isWanted = false;
    for (const replay of replays) isWanted = (!replay.isDone && replay.take(batch)) || isWanted;
    return isWanted;
  });
  return replays.map((replay) => replay.report(inputName(file), summary));
}

/** The machine and what is counted. */
class ReferenceReplay {
  /** Loads, stores and fetches of the trace so far, by page, those that were skipped too. */
  references = 0;
  private readonly options: ReferenceOptions;
  private readonly kernel;
  private readonly spaces: AddressSpaces;
  private readonly windows: PageWindows;
  private instructions = 0;
  private format: ReferenceFormat = "lackey";
  /** Numbers of the references with which the warm-up, the counted part and what lies behind it begin. */
  private readonly warmupStart: number;
  private countStart: number;
  private end: number;
  private readonly profile: MissProfile | null;
  private readonly structures: StructureCounting | null;
  private overTime: OverTime | null = null;
  /** What had been counted when the counted part began. */
  private before: CounterSnapshot = {};
  private startCycles = 0;

  constructor(options: ReferenceOptions, cpus: number) {
    const { memoryBytes, preset, figures, kernel, guest } = options;
    const costs = figures === undefined ? {} : { costs: figures.costs };
    const version = kernel === undefined ? {} : { kernel };
    this.options = options;
    this.kernel = bootKernel({ cpus, memoryBytes, preset, guest, ...version, ...costs });
    const { machine } = this.kernel;
    const isGuest = guest !== undefined;
    this.structures = options.structures === true ? new StructureCounting(machine.cpus, machine.preset, isGuest) : null;
    this.spaces = new AddressSpaces(this.kernel, options.pageSize);
    this.windows = new PageWindows(options.windowReferences);
    this.warmupStart = options.skipReferences ?? 0;
    this.profile = options.top === undefined ? null : new MissProfile();
    const { intervalReferences } = options;
    if (intervalReferences !== undefined) this.overTime = new OverTime(intervalReferences, {});
    // How long a warm-up by fraction is turns out on the way.
    const warmup = options.warmupFraction === undefined ? (options.warmupReferences ?? 0) : Number.POSITIVE_INFINITY;
    this.countStart = this.warmupStart + warmup;
    this.end = this.countStart + (options.limitReferences ?? Number.POSITIVE_INFINITY);
  }

  /** Whether no more references are wanted. */
  get isDone(): boolean {
    return this.references >= this.end;
  }

  /** Makes the references of a batch; false when no more are wanted. */
  take(batch: ReferenceBatch): boolean {
    this.format = batch.format;
    const { length } = batch;
    let from = Math.min(length, Math.max(0, this.warmupStart - this.references));
    this.references += from;
    while (from < length && !this.isDone) {
      const to = Math.min(length, from + this.referencesUntilStop());
      this.make(batch, from, to);
      this.references += to - from;
      from = to;
      this.stop();
    }
    return !this.isDone;
  }

  /** References until the next place where something begins or ends. */
  private referencesUntilStop(): number {
    const { references, countStart } = this;
    if (references >= countStart) {
      const untilInterval = this.overTime?.left(references - countStart) ?? Number.POSITIVE_INFINITY;
      return Math.min(this.end - references, untilInterval);
    }
    const { warmupFraction } = this.options;
    return warmupFraction === undefined ? countStart - references : FILL_CHECK_REFERENCES;
  }

  /** What begins or ends before the next reference: the warm-up, an interval. */
  private stop(): void {
    const { options, spaces } = this;
    const isFull = options.warmupFraction !== undefined && spaces.filled >= options.warmupFraction;
    if (this.references < this.countStart && isFull) {
      this.countStart = this.references;
      this.end = this.countStart + (options.limitReferences ?? Number.POSITIVE_INFINITY);
    }
    if (this.references === this.countStart) this.startCounting();
    else if (this.overTime?.left(this.references - this.countStart) === 0) this.closeInterval();
  }

  private closeInterval(): void {
    this.overTime?.close(Math.max(0, this.references - this.countStart), this.spaces.counters());
  }

  /** Makes references `from` to `to - 1`, all of which count or none. */
  private make(batch: ReferenceBatch, from: number, to: number): void {
    const { spaces } = this;
    const isFirst = spaces.processCount === 0;
    const { cpu, space } = spaces.enter(batch.thread);
    if (isFirst) this.startCycles = spaces.cycles;
    if (from === 0 && to === batch.length) this.makeWhole(cpu, space, batch);
    else this.makePart(cpu, space, batch, from, to);
  }

  private makeWhole(cpu: Cpu, space: AddressSpace, batch: ReferenceBatch): void {
    const { profile, options, windows, structures } = this;
    const isWatched = profile !== null || structures !== null;
    // In a guest a fault of the second stage may flush anything.
    const byRuns = !isWatched && options.independent !== true && options.guest === undefined;
    if (byRuns && cpu.bulk.canRepeatHits) {
      new RunReplay(cpu, batch, (la, kind) => this.faultIn(space, la, (kind & 3) === ACCESS_STORE)).run();
    } else {
      this.touch(cpu, space, batch, 0, batch.length);
    }
    if (this.references >= this.countStart) this.instructions += batch.instructions;
    windows.touchBatch(batch, space.number);
  }

  private makePart(cpu: Cpu, space: AddressSpace, batch: ReferenceBatch, from: number, to: number): void {
    this.touch(cpu, space, batch, from, to);
    if (this.references >= this.countStart) this.countInstructions(batch.kinds, from, to);
    this.windows.touch(batch.addresses, from, to, space.number);
  }

  private touch(cpu: Cpu, space: AddressSpace, batch: ReferenceBatch, from: number, to: number): void {
    const { profile } = this;
    const { kinds, addresses } = batch;
    const maker = this.options.independent === true ? cpu.independent.bulk : cpu.bulk;
    for (let at = from; ; ) {
      at = profile === null ? maker.touch(kinds, addresses, at, to) : profile.touch(cpu, maker, batch, at, to);
      if (at === to) return;
      // The reference at `at` faulted; with its page there it is made again.
      this.faultIn(space, addresses[at], (kinds[at] & 3) === ACCESS_STORE);
    }
  }

  private countInstructions(kinds: Uint8Array, from: number, to: number): void {
    let count = 0;
    // No branch: the host's CPU cannot predict which references are fetches. Other kinds differ from this one in a bit or more.
    for (let i = from; i < to; i++) count += ((kinds[i] ^ KIND_INSTRUCTION) - 1) >>> 31;
    this.instructions += count;
  }

  /** From the reference that follows on everything counts. */
  private startCounting(): void {
    const { intervalReferences } = this.options;
    this.before = this.spaces.counters();
    this.startCycles = this.spaces.cycles;
    this.profile?.clear();
    this.structures?.clear();
    if (intervalReferences !== undefined) this.overTime = new OverTime(intervalReferences, this.before);
  }

  private faultIn({ paging }: AddressSpace, la: number, isWrite: boolean): void {
    if (paging.handleFault(la, isWrite)) return;
    const { memoryBytes, pageSize } = this.options;
    throw new NotEnoughMemory(
      `the traced program needs more memory than the machine has (${memoryBytes} bytes, ${this.spaces.mappedBytes} given in ${pageSize} pages); try a larger --memory`,
    );
  }

  /** What was counted; `summary` is of the trace, null where the replay ended before it. */
  report(trace: string, summary: SourceSummary | null): ReferenceReport {
    const { kernel, options, spaces, windows } = this;
    const { preset } = kernel.machine;
    const skipped = Math.min(this.references, this.warmupStart);
    const warmup = Math.min(this.references, this.countStart) - skipped;
    const hasCounted = this.references > this.countStart || this.countStart === this.warmupStart;
    const after = spaces.counters();
    if (hasCounted) this.closeInterval();
    const { profile, overTime, structures } = this;
    // What was counted before the counted part, which never began.
    if (!hasCounted) {
      structures?.clear();
      profile?.clear();
    }
    return {
      trace,
      format: this.format,
      preset: preset.name,
      ...(options.figures === undefined ? {} : describeChoice(options.figures)),
      frequencyGhz: preset.frequencyGhz.value,
      ...(options.kernel === undefined ? {} : { kernel: kernel.mm.version.name }),
      pageSize: options.pageSize,
      ...(options.independent === true ? { independent: true } : {}),
      ...(summary === null ? {} : { lines: summary.records, oddLines: summary.odd, firstOddLine: summary.firstOdd }),
      cpus: spaces.busyCpus.length,
      threads: spaces.threadCount,
      processes: spaces.processCount,
      instructions: this.instructions,
      skippedReferences: skipped,
      warmupReferences: warmup,
      references: this.references - skipped - warmup,
      counters: counterDifference(hasCounted ? this.before : after, after),
      cycles: hasCounted ? spaces.cycles - this.startCycles : 0,
      memory: {
        pagesTouched: windows.pages,
        mappedBytes: spaces.mappedBytes,
        tablesByLevel: spaces.tablesByLevel,
        tableBytes: spaces.tableBytes,
      },
      workingSet: { windowReferences: windows.windowReferences, pages: windows.windows() },
      ...(kernel.host === null ? {} : { guest: guestReport(kernel.machine, kernel.host) }),
      ...(structures === null ? {} : { structures: structures.report() }),
      ...(profile === null || options.top === undefined ? {} : { costliest: profile.most(options.top) }),
      ...(overTime === null
        ? {}
        : { overTime: { intervalReferences: overTime.intervalReferences, intervals: overTime.intervals } }),
    };
  }
}
