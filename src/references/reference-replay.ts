/** The memory references of traced programs through the MMUs of a machine, in user mode, on page tables that fill as they are touched. */

import { type CounterSnapshot, type Cpu, counterDifference } from "../../arch/index.ts";
import { ACCESS_STORE } from "../../arch/isa/access.ts";
import { NotEnoughMemory } from "../../mm/index.ts";
import { inputName } from "../files/byte-chunks.ts";
import { bootKernel, type KernelConfig } from "../machine/kernel.ts";
import { describeChoice, type FigureChoice } from "../settings/figure-choice.ts";
import { type AddressSpace, AddressSpaces } from "./address-spaces.ts";
import type { UserPageSize } from "./demand-paging.ts";
import { PageWindows } from "./page-windows.ts";
import { readInBatches } from "./reading.ts";
import { KIND_INSTRUCTION, type ReferenceBatch, type ReferenceFormat } from "./reference-batch.ts";
import { type SourceSummary, traceFiles } from "./reference-source.ts";

/** How a trace is replayed. */
export interface ReferenceOptions {
  /** The machine's microarchitecture. */
  readonly preset: KernelConfig["preset"];
  /** Where the preset comes from and what was changed in it, for the report. */
  readonly figures?: FigureChoice;
  readonly memoryBytes: number;
  readonly pageSize: UserPageSize;
  /** References in a window of the working set. */
  readonly windowReferences: number;
  /** The trace's format. Default: told by its contents. */
  readonly format?: ReferenceFormat;
  /** CPUs, which threads share in turn. Default: as many as a folder of drmemtrace has files, else one. */
  readonly cpus?: number;
  /** References at the beginning that are not made. Default: none. */
  readonly skipReferences?: number;
  /** References after these that fill the TLBs and are not counted. Default: none. */
  readonly warmupReferences?: number;
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
  readonly pageSize: UserPageSize;
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
}

/**
 * Replays the trace in `file` (`-`: standard input): text of valgrind's lackey, a file or folder of drmemtrace, a file of ChampSim;
 * plain, gzip, xz, zstd or, of drmemtrace, zip.
 * @throws InputFileError when it cannot be read or holds no references, NotEnoughMemory when the machine's memory is too small
 */
export async function replayReferences(file: string, options: ReferenceOptions): Promise<ReferenceReport> {
  const replay = new ReferenceReplay(options, options.cpus ?? traceFiles(file, options.format ?? null));
  const summary = await readInBatches(file, options.format ?? null, (batch) => {
    options.onProgress?.(batch.bytesRead, replay.references);
    return replay.take(batch);
  });
  return replay.report(inputName(file), summary);
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
  private readonly countStart: number;
  private readonly end: number;
  /** What had been counted when the counted part began. */
  private before: CounterSnapshot = {};
  private startCycles = 0;

  constructor(options: ReferenceOptions, cpus: number) {
    const { memoryBytes, preset, figures } = options;
    const costs = figures === undefined ? {} : { costs: figures.costs };
    this.options = options;
    this.kernel = bootKernel({ cpus, memoryBytes, preset, ...costs });
    this.spaces = new AddressSpaces(this.kernel, options.pageSize);
    this.windows = new PageWindows(options.windowReferences);
    this.warmupStart = options.skipReferences ?? 0;
    this.countStart = this.warmupStart + (options.warmupReferences ?? 0);
    this.end = this.countStart + (options.limitReferences ?? Number.POSITIVE_INFINITY);
  }

  /** Makes the references of a batch; false when no more are wanted. */
  take(batch: ReferenceBatch): boolean {
    const first = this.references;
    this.format = batch.format;
    const { length } = batch;
    const from = Math.min(length, Math.max(0, this.warmupStart - first));
    const to = Math.min(length, this.end - first);
    if (from < to) this.make(batch, from, to, Math.min(to, Math.max(from, this.countStart - first)));
    this.references = first + to;
    return this.references < this.end;
  }

  /** Makes references `from` to `to - 1`, of which those from `counted` on count. */
  private make(batch: ReferenceBatch, from: number, to: number, counted: number): void {
    const isFirst = this.spaces.processCount === 0;
    const { cpu, space } = this.spaces.enter(batch.thread);
    if (isFirst) this.startCycles = this.spaces.cycles;
    this.touch(cpu, space, batch, from, counted);
    const isAfterWarmup = this.countStart > this.warmupStart && this.references + counted === this.countStart;
    if (counted < to && isAfterWarmup) this.startCounting();
    this.touch(cpu, space, batch, counted, to);
    this.countInstructions(batch.kinds, counted, to);
    this.windows.touch(batch.addresses, from, to, space.number);
  }

  private touch(cpu: Cpu, space: AddressSpace, { kinds, addresses }: ReferenceBatch, from: number, to: number): void {
    for (let at = from; ; ) {
      at = cpu.bulk.touch(kinds, addresses, at, to);
      if (at === to) return;
      // The reference at `at` faulted; with its page there it is made again.
      this.faultIn(space, addresses[at], (kinds[at] & 3) === ACCESS_STORE);
    }
  }

  private countInstructions(kinds: Uint8Array, from: number, to: number): void {
    let count = 0;
    for (let i = from; i < to; i++) if (kinds[i] === KIND_INSTRUCTION) count++;
    this.instructions += count;
  }

  /** From the reference that follows on everything counts. */
  private startCounting(): void {
    this.before = this.spaces.counters();
    this.startCycles = this.spaces.cycles;
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
    return {
      trace,
      format: this.format,
      preset: preset.name,
      ...(options.figures === undefined ? {} : describeChoice(options.figures)),
      frequencyGhz: preset.frequencyGhz.value,
      pageSize: options.pageSize,
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
    };
  }
}
