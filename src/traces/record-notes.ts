/** What the recording script writes into its file beside the trace: comment lines, which ftrace text may have anywhere. */
import { CPUS_MAX } from "../../arch/isa/limits.ts";
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { kernelVersionNear } from "../../mm/index.ts";
import { InputFileError } from "../input/errors.ts";
import type { FtraceNote } from "./ftrace-lines.ts";

/** The number of the file's format. */
export const RECORD_FORMAT = 1;

/** An area that was there before the trace begins. */
export interface InitialArea {
  readonly start: bigint;
  readonly sizeBytes: number;
  readonly caller: string;
  /** Pages that vmalloc allocated for it. */
  readonly pages: number;
  /** What it is: lazily freed, or in use. */
  readonly isLazy: boolean;
}

const AREA = /^(0x[0-9a-f]+)-(0x[0-9a-f]+) +(\d+) ?(.*)$/;
const PAGES = / pages=(\d+)/;

/** What the comments of a trace say of the machine that was traced; absent: nothing. */
export class RecordNotes {
  release = "";
  /** CPUs online; 0 when it is not said. */
  cpus = 0;
  lazyMaxPages = 0;
  seconds = 0;
  /** In the order of `/proc/vmallocinfo`. */
  readonly areas: InitialArea[] = [];
  /** Areas whose addresses were hashed. */
  hashedAreas = 0;
  /** Lazily freed pages at the end; null when it is not said. */
  lazyPagesAtEnd: number | null = null;
  /** What the recording is not sure of, in words. */
  readonly doubts: string[] = [];
  private lacksIdle = false;

  /** Takes the next comment. @throws InputFileError at `line` of `file` for more CPUs than a machine can have */
  add({ name, text }: FtraceNote, file: string, line: number): void {
    if (name === "release") this.release = text;
    else if (name === "cpus") this.cpus = cpusOf(text, file, line);
    else if (name === "lazy_max_pages") this.lazyMaxPages = wholeOf(text);
    else if (name === "seconds") this.seconds = wholeOf(text);
    else if (name === "vmallocinfo-before") this.addArea(text);
    else if (name === "vmallocinfo-after") this.addAfter(text);
    else if (name === "missed") this.doubts.push(`the kernel missed events of a probe (name and number): ${text}`);
    else if (name.startsWith("not ")) this.addLack(name, text);
  }

  /** The version of the kernel that is emulated for this release, by name; null when no release is said. */
  get kernel(): string | null {
    return this.release === "" ? null : kernelVersionNear(this.release).name;
  }

  /** Whether a recording script had the kernel trace idle CPUs. */
  get watchesIdle(): boolean {
    return this.release !== "" && !this.lacksIdle;
  }

  private addLack(name: string, text: string): void {
    if (text === "power/cpu_idle") this.lacksIdle = true;
    this.doubts.push(`${name}: ${text}`);
  }

  private addArea(text: string): void {
    const match = AREA.exec(text);
    if (match === null) return;
    const start = BigInt(match[1]);
    if (start % BigInt(PAGE_SIZE) !== 0n || start >> 47n === 0n) {
      this.hashedAreas++;
      return;
    }
    const isLazy = match[4] === UNPURGED;
    const caller = match[4].split(" ")[0];
    const pages = Number(PAGES.exec(text)?.[1] ?? 0);
    this.areas.push({ start, sizeBytes: Number(match[3]), caller, pages, isLazy });
  }

  private addAfter(text: string): void {
    const match = AREA.exec(text);
    this.lazyPagesAtEnd ??= 0;
    if (match?.[4] === UNPURGED) this.lazyPagesAtEnd += Number(match[3]) / PAGE_SIZE;
  }
}

const UNPURGED = "unpurged vm_area";

function cpusOf(text: string, file: string, line: number): number {
  const cpus = wholeOf(text);
  if (cpus > CPUS_MAX) throw new InputFileError(file, line, `${cpus} CPUs: expected ${CPUS_MAX} at most`);
  return cpus;
}

function wholeOf(text: string): number {
  return /^\d{1,9}$/.test(text) ? Number(text) : 0;
}
