/** A program's memory references through the MMU of one CPU, in user mode, on page tables that fill as it touches memory. */

import { type CounterSnapshot, type Cpu, counterDifference, PageFault } from "../../arch/index.ts";
import { ACCESS_FETCH, ACCESS_LOAD, ACCESS_STORE, type Access } from "../../arch/isa/access.ts";
import { NotEnoughMemory } from "../../mm/index.ts";
import { inputName, readByteChunks, toInputError } from "../files/byte-chunks.ts";
import { InputFileError } from "../input/errors.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../machine/kernel.ts";
import { describeChoice, type FigureChoice } from "../settings/figure-choice.ts";
import { DemandPaging, type UserPageSize } from "./demand-paging.ts";
import { LackeyLines, REFERENCE_MODIFY } from "./lackey-lines.ts";
import { PageWindows } from "./page-windows.ts";

/** Lines without a reference after which a file counts as none of lackey: what is packed may be endless. */
const LINES_IN_VAIN_MAX = 2 ** 24;
/** The longest line; the traced program may print among the references. */
const LINE_BYTES_MAX = 2 ** 25;

/** The accesses that the kinds of references stand for. */
const ACCESSES: readonly Access[] = [ACCESS_LOAD, ACCESS_STORE, ACCESS_FETCH];

/** How a trace is replayed. */
export interface LackeyOptions {
  /** The machine's microarchitecture. */
  readonly preset: KernelConfig["preset"];
  /** Where the preset comes from and what was changed in it, for the report. */
  readonly figures?: FigureChoice;
  readonly memoryBytes: number;
  readonly pageSize: UserPageSize;
  /** References in a window of the working set. */
  readonly windowReferences: number;
  /** References at the beginning that fill the TLBs and are not counted. Default: none. */
  readonly warmupReferences?: number;
  /** Told how many bytes of the file have been read, and how many references made. */
  readonly onProgress?: (bytes: number, references: number) => void;
}

/** What a program's references did. */
export interface LackeyReport {
  readonly trace: string;
  readonly preset: string;
  /** The preset's file, and figures that were given another value. */
  readonly presetFile?: string;
  readonly set?: Readonly<Record<string, string>>;
  readonly frequencyGhz: number;
  readonly pageSize: UserPageSize;
  /** Lines of the trace: all, and those that were neither references nor messages of valgrind. */
  readonly lines: number;
  readonly oddLines: number;
  /** The first of these, from 1; 0 for none. */
  readonly firstOddLine: number;
  readonly instructions: number;
  /** References at the beginning that were made and not counted; beside them: */
  readonly warmupReferences: number;
  /** Loads, stores and fetches, a modification being a load and a store; one that crosses a page counts in both pages. */
  readonly references: number;
  /**
   * Under the names that `perf list` gives them. As on hardware, an access to a page that is not mapped yet counts twice, the walk
   * that faults and that of the access made again.
   */
  readonly counters: CounterSnapshot;
  /** Cycles of the CPU's clock: issue of each reference, and all that translation adds. */
  readonly cycles: number;
  readonly memory: {
    /** Different 4 KiB pages that were referenced. */
    readonly pagesTouched: number;
    /** Bytes that the program was given for them. */
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
 * Replays the trace in `file` (`-`: standard input; plain or gzip).
 * @throws InputFileError when it cannot be read or holds no references, NotEnoughMemory when the machine's memory is too small
 */
export async function replayLackey(file: string, options: LackeyOptions): Promise<LackeyReport> {
  const { memoryBytes, preset, figures } = options;
  const costs = figures === undefined ? {} : { costs: figures.costs };
  const kernel = bootKernel({ cpus: 1, memoryBytes, preset, ...costs });
  const replay = new LackeyReplay(kernel, options);
  let bytesRead = 0;
  const { lines } = replay;
  try {
    const onRead = (bytes: number): void => {
      bytesRead = bytes;
    };
    for await (const chunk of readByteChunks(file, onRead)) {
      lines.feed(chunk);
      if (lines.references === 0 && (lines.lines > LINES_IN_VAIN_MAX || lines.openLineBytes > LINE_BYTES_MAX)) break;
      if (lines.openLineBytes > LINE_BYTES_MAX) {
        const problem = `is longer than ${LINE_BYTES_MAX} bytes, the most that a line may have`;
        throw new InputFileError(inputName(file), lines.lines + 1, problem);
      }
      options.onProgress?.(bytesRead, replay.references);
    }
  } catch (error) {
    throw toInputError(file, lines.lines + 1, error);
  }
  lines.end();
  if (lines.references === 0) {
    const name = inputName(file);
    throw new InputFileError(name, 1, "no line is a reference of valgrind's lackey (such as ` L 1fff000778,8`)");
  }
  return replay.report(inputName(file));
}

/** The machine and what is counted. */
class LackeyReplay {
  readonly lines: LackeyLines;
  /** Loads, stores and fetches so far, by page. */
  references = 0;
  private readonly kernel: Kernel;
  private readonly options: LackeyOptions;
  private readonly paging: DemandPaging;
  private readonly cpu: Cpu;
  private readonly windows: PageWindows;
  private instructions = 0;
  private readonly warmupReferences: number;
  /** What had been counted when the warm-up ended. */
  private before: CounterSnapshot = {};
  private startCycles: number;

  constructor(kernel: Kernel, options: LackeyOptions) {
    const { machine } = kernel;
    const [cpu] = machine.cpus;
    this.kernel = kernel;
    this.options = options;
    this.paging = new DemandPaging(kernel, options.pageSize);
    this.windows = new PageWindows(options.windowReferences);
    this.cpu = cpu;
    cpu.writeCr3(this.paging.tables.rootFrame * 4096);
    cpu.setCpl(3);
    this.warmupReferences = options.warmupReferences ?? 0;
    this.startCycles = machine.loop.clockCycles[0];
    this.lines = new LackeyLines((kind, la, sizeBytes) => this.line(kind, la, sizeBytes));
  }

  report(trace: string): LackeyReport {
    const { kernel, options, paging, windows, lines } = this;
    const { machine } = kernel;
    const { tables } = paging;
    return {
      trace,
      preset: machine.preset.name,
      ...(options.figures === undefined ? {} : describeChoice(options.figures)),
      frequencyGhz: machine.preset.frequencyGhz.value,
      pageSize: options.pageSize,
      lines: lines.lines,
      oddLines: lines.oddLines,
      firstOddLine: lines.firstOddLine,
      instructions: this.instructions,
      warmupReferences: Math.min(this.warmupReferences, this.references),
      references: Math.max(0, this.references - this.warmupReferences),
      counters: counterDifference(this.before, machine.cpus[0].counters()),
      cycles: machine.loop.clockCycles[0] - this.startCycles,
      memory: {
        pagesTouched: windows.pages,
        mappedBytes: paging.sizeBytes,
        tablesByLevel: [...tables.tables],
        tableBytes: tables.tablePages * 4096,
      },
      workingSet: { windowReferences: windows.windowReferences, pages: windows.windows() },
    };
  }

  private line(kind: number, la: number, sizeBytes: number): void {
    if (kind === REFERENCE_MODIFY) {
      this.access(ACCESS_LOAD, la, sizeBytes);
      this.access(ACCESS_STORE, la, sizeBytes);
      return;
    }
    this.access(kind, la, sizeBytes);
    if (kind === ACCESS_FETCH && this.references > this.warmupReferences) this.instructions++;
  }

  private access(kind: number, la: number, sizeBytes: number): void {
    const page = Math.floor(la / 4096);
    this.reference(kind, page, la);
    const last = Math.floor((la + sizeBytes - 1) / 4096);
    for (let next = page + 1; next <= last; next++) this.reference(kind, next, next * 4096);
  }

  private reference(kind: number, page: number, la: number): void {
    if (this.references++ === this.warmupReferences && this.warmupReferences > 0) this.endWarmup();
    this.windows.touch(page);
    try {
      this.cpu.touchAs(ACCESSES[kind], la);
    } catch (error) {
      if (!(error instanceof PageFault)) throw error;
      this.faultIn(la, kind === ACCESS_STORE);
      this.cpu.touchAs(ACCESSES[kind], la);
    }
  }

  /** From the reference that follows on everything counts. */
  private endWarmup(): void {
    this.before = this.cpu.counters();
    this.startCycles = this.kernel.machine.loop.clockCycles[0];
  }

  private faultIn(la: number, isWrite: boolean): void {
    if (this.paging.handleFault(la, isWrite)) return;
    const { memoryBytes, pageSize } = this.options;
    const touched = this.paging.sizeBytes;
    throw new NotEnoughMemory(
      `the traced program needs more memory than the machine has (${memoryBytes} bytes, ${touched} given in ${pageSize} pages); try a larger --memory`,
    );
  }
}
