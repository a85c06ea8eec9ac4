/** Text of a live machine: `/proc/vmallocinfo`, or a dump of `/sys/kernel/debug/page_tables`, told apart by its first lines. */
import { MmulabError } from "../../arch/isa/errors.ts";
import { LINEAR_SPACE_BYTES, orderOfPage } from "../../arch/isa/linear-address.ts";
import {
  isKernelLogLine,
  type PageTableRun,
  parseAddressMarker,
  parsePageTableRun,
} from "../../mm/views/page-table-run.ts";
import { parseVmallocinfoLineOfAny, type VmallocinfoLine } from "../../mm/views/vmallocinfo-line.ts";
import { readLineBatches } from "../files/text-lines.ts";
import { InputFileError } from "../input/errors.ts";

/** A part of the address space that somebody holds. Addresses are in the order of 57 bits (`orderOfPage`). */
export interface HeldRange {
  readonly start: number;
  /** One past the last byte; with vmalloc, guard page included. */
  readonly end: number;
  readonly sizeBytes: number;
  /** What it is: `vmalloc`, `ioremap`, `unpurged vm_area`; of page tables `4K RW NX`. */
  readonly kind: string;
  /** Who holds it: the calling function, with its module; of page tables the part of the address space. */
  readonly holder: string;
  /** 4 KiB pages of memory in it, as far as the text says. */
  readonly pages: number;
  /** A lazily freed area: a purge gives it back. */
  readonly isLazy: boolean;
}

/** What a text says. */
export interface LiveFile {
  readonly file: string;
  readonly format: "vmallocinfo" | "page_tables";
  /** In the order of addresses. */
  readonly ranges: readonly HeldRange[];
  /** Where parts of the address space begin, by name, as the markers of a page-table dump say; in order. */
  readonly markers: readonly { readonly name: string; readonly start: number }[];
  /** Whether the kernel hid the addresses (`kptr_restrict`): sizes and callers are known, places are not. */
  readonly isHidden: boolean;
  /** Lines that were not understood; the first says where. */
  readonly skippedLines: number;
}

/** Lines at the beginning that decide what a text is. */
const DECIDING_LINES = 20;
const END_OF_ADDRESSES = 2 ** 57;

/**
 * Reads a file (`-`: standard input; may be compressed).
 * @throws InputFileError when it cannot be read or is neither
 */
export async function readLiveFile(file: string): Promise<LiveFile> {
  const reader = new LiveReader();
  let lines = 0;
  for await (const batch of readLineBatches(file)) {
    for (const line of batch.lines) {
      reader.add(line);
      lines++;
      if (lines === DECIDING_LINES && reader.format === null) throw neither(file);
    }
  }
  if (reader.format === null) throw neither(file);
  return reader.result(file, reader.format);
}

function neither(file: string): InputFileError {
  const expected =
    "neither /proc/vmallocinfo nor a dump of /sys/kernel/debug/page_tables (nor a recording or a saved state)";
  return new InputFileError(file, 0, `is ${expected}`);
}

/** Lines of an emulated kernel's vmallocinfo, read in that way. @param name what they are called */
export function liveFileOf(name: string, lines: readonly string[]): LiveFile {
  const reader = new LiveReader();
  for (const line of lines) reader.add(line);
  return reader.result(name, "vmallocinfo");
}

function vmallocinfoOf(line: string): VmallocinfoLine | null {
  return orNull(() => parseVmallocinfoLineOfAny(line));
}

function runOf(line: string): PageTableRun | null {
  return orNull(() => parsePageTableRun(line));
}

function orNull<T>(parse: () => T): T | null {
  try {
    return parse();
  } catch (error) {
    if (error instanceof MmulabError) return null;
    throw error;
  }
}

/** Takes line by line. */
class LiveReader {
  format: LiveFile["format"] | null = null;
  private readonly ranges: HeldRange[] = [];
  private readonly markers: { name: string; start: number }[] = [];
  private readonly pendingMarkers: string[] = [];
  private skippedLines = 0;
  private hiddenLines = 0;

  add(line: string): void {
    if (line.trim() === "" || isKernelLogLine(line)) return;
    const marker = parseAddressMarker(line);
    if (marker !== null) {
      this.format ??= "page_tables";
      this.pendingMarkers.push(marker);
    } else if (this.format !== "page_tables" && this.addArea(line)) {
      this.format = "vmallocinfo";
    } else if (this.format !== "vmallocinfo" && this.addRun(line)) {
      this.format = "page_tables";
    } else {
      this.skippedLines++;
    }
  }

  private addArea(line: string): boolean {
    const area = vmallocinfoOf(line);
    if (area === null) return false;
    const [start, end] = [orderOfPage(area.start), orderOfPage(area.end)];
    if (end - start !== area.sizeBytes) this.hiddenLines++;
    const words = area.words.filter((word) => word !== "vpages" && !/^N\d+=/.test(word));
    const bare = area.vmMapRam ? "vm_map_ram" : "unpurged vm_area";
    const isBare = area.vmMapRam || area.unpurged;
    const caller = area.caller.replace(/\+0x[0-9a-f]+\/0x[0-9a-f]+/, "");
    this.ranges.push({
      start,
      end,
      sizeBytes: area.sizeBytes,
      kind: isBare ? bare : words.join(" ") || "no flags",
      holder: isBare ? `(${bare})` : caller || "(unknown)",
      pages: area.pages,
      isLazy: area.unpurged,
    });
    return true;
  }

  private addRun(line: string): boolean {
    const run = runOf(line);
    if (run === null) return false;
    const start = orderOfPage(run.start);
    const end = run.end === LINEAR_SPACE_BYTES ? END_OF_ADDRESSES : orderOfPage(run.end);
    for (const name of this.pendingMarkers.splice(0)) this.markers.push({ name, start });
    if (!run.present) return true;
    const size = { pte: "4K", pmd: "2M", pud: "1G", p4d: "512G", pgd: "512G" }[run.level];
    const rights = `${run.user ? "USR " : ""}${run.rw ? "RW" : "ro"} ${run.nx ? "NX" : "x"}`;
    const memory = run.pcd ? " PCD" : run.pwt ? " PWT" : "";
    this.ranges.push({
      start,
      end,
      sizeBytes: end - start,
      kind: `${size} ${rights}${memory}`,
      holder: this.markers.at(-1)?.name ?? "(no marker)",
      pages: (end - start) / 4096,
      isLazy: false,
    });
    return true;
  }

  result(file: string, format: LiveFile["format"]): LiveFile {
    const ranges = this.ranges.sort((a, b) => a.start - b.start);
    const isHidden = ranges.length > 0 && this.hiddenLines > ranges.length / 2;
    return { file, format, ranges, markers: this.markers, isHidden, skippedLines: this.skippedLines };
  }
}
