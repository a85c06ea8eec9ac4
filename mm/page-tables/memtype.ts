/**
 * Which physical ranges are mapped with which cache mode (`arch/x86/mm/pat/memtype.c`, `memtype_interval.c`): two mappings of
 * one device page must not differ in it. Ranges of devices only; memory is always mapped write-back here. The MTRRs of the
 * emulated machine are those of a plain firmware: memory is write-back, everything else uncached.
 */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { Machine } from "../../arch/machine.ts";
import { currentComm } from "../kernel/current-comm.ts";
import type { FaultInjection } from "../kernel/fault-injection.ts";
import { EBUSY, EINVAL, ENOMEM } from "../lib/errno.ts";
import type { KernelLog } from "../lib/kernel-log.ts";
import type { CacheMode } from "./protection.ts";

/** Ranges below it are tracked whether there is memory or not. */
const ISA_END = 2 ** 20;

/** As the kernel prints them (`cattr_name`). */
const MODE_NAMES: Readonly<Record<CacheMode, string>> = {
  wb: "write-back",
  wc: "write-combining",
  "uc-": "uncached-minus",
  uc: "uncached",
  wt: "write-through",
  wp: "write-protected",
};

/** The values of `enum page_cache_mode`, as the kernel's messages show them. */
const MODE_NUMBERS: Readonly<Record<CacheMode, number>> = { wb: 0, wc: 1, "uc-": 2, uc: 3, wt: 4, wp: 5 };

interface Reserved {
  readonly start: number;
  /** One past the last byte. */
  end: number;
  readonly mode: CacheMode;
}

/** Reserved ranges of physical addresses; they may overlap, and one may be there several times. */
export class MemoryTypes {
  /** By start, those of equal start in the order in which they came. */
  private readonly ranges: Reserved[] = [];
  private longestBytes = 0;

  /** The ranges that overlap [start, end), by start. */
  overlapping(start: number, end: number): Reserved[] {
    const found: Reserved[] = [];
    for (let i = this.firstFrom(start - this.longestBytes); i < this.ranges.length; i++) {
      if (this.ranges[i].start >= end) break;
      if (this.ranges[i].end > start) found.push(this.ranges[i]);
    }
    return found;
  }

  add(start: number, end: number, mode: CacheMode): void {
    this.ranges.splice(this.firstFrom(start + 1), 0, { start, end, mode });
    this.longestBytes = Math.max(this.longestBytes, end - start);
  }

  /** Takes a range out, or off the end of one; false when there is neither. */
  remove(start: number, end: number): boolean {
    const there = this.overlapping(start, end);
    const exact = there.find((range) => range.start === start && range.end === end);
    if (exact !== undefined) {
      this.ranges.splice(this.ranges.indexOf(exact), 1);
      return true;
    }
    const longer = there.find((range) => range.start < start && range.end === end);
    if (longer !== undefined) longer.end = start;
    return longer !== undefined;
  }

  /** Index of the first range that starts at `start` or above. */
  private firstFrom(start: number): number {
    let low = 0;
    let high = this.ranges.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.ranges[middle].start < start) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** What reservations are made in, and where their failures are reported: a `KernelMm` has it. */
export interface MemtypeContext {
  readonly memoryTypes: MemoryTypes;
  readonly machine: Machine;
  readonly log: KernelLog;
  readonly faults: FaultInjection;
}

/**
 * Reserves [start, end), no memory, for mapping with `mode` (`memtype_reserve`). Write-back becomes uncached-minus, as the MTRRs
 * say; a range that is mapped already gives its mode to the new mapping.
 * @returns the mode to map with, or -ENOMEM, or -EBUSY when ranges of different modes are there
 */
export function memtypeReserve(
  kernel: MemtypeContext,
  start: number,
  end: number,
  mode: CacheMode,
): CacheMode | number {
  const { memoryTypes, log, faults } = kernel;
  const asked = mode === "wb" ? "uc-" : mode;
  if (faults.isArmed && faults.fails("memtype")) return -ENOMEM;
  const there = memoryTypes.overlapping(start, end);
  const found = there.length > 0 ? there[0].mode : asked;
  const other = there.find((range) => range.mode !== found);
  if (other !== undefined) {
    const modes = `${MODE_NAMES[found]}<->${MODE_NAMES[other.mode]}`;
    log.print(`x86/PAT: ${who(kernel)} conflicting memory types ${start.toString(16)}-${end.toString(16)} ${modes}`);
    const names = `track ${MODE_NAMES[asked]}, req ${MODE_NAMES[mode]}`;
    log.print(`x86/PAT: memtype_reserve failed ${formatMem(start, end)}, ${names}`);
    return -EBUSY;
  }
  memoryTypes.add(start, end, found);
  return found;
}

/** Gives a range back (`memtype_free`); 0, or -EINVAL for one that was not reserved, which is reported. */
export function memtypeFree(kernel: MemtypeContext, start: number, end: number): number {
  const memory = memoryIn(kernel, Math.max(start, ISA_END), end);
  if (memory !== "none") return memory === "all" ? 0 : -EINVAL;
  if (kernel.memoryTypes.remove(start, end)) return 0;
  kernel.log.print(`x86/PAT: ${who(kernel)} freeing invalid memtype ${formatMem(start, end)}`);
  return -EINVAL;
}

/** Whether a mapping asked for with one mode may have another (`is_new_memtype_allowed`): never a laxer one. */
export function isModeAllowed(asked: CacheMode, got: CacheMode): boolean {
  if (got === "wb") return asked !== "uc-" && asked !== "wc" && asked !== "wt";
  return !(got === "wc" && asked === "wt");
}

/** The number of a mode in the kernel's messages. */
export function modeNumber(mode: CacheMode): number {
  return MODE_NUMBERS[mode];
}

/** How much of [start, end) is memory. */
function memoryIn({ machine: { memory } }: MemtypeContext, start: number, end: number): "none" | "some" | "all" {
  let pages = 0;
  const first = Math.floor(start / PAGE_SIZE);
  const last = Math.ceil(end / PAGE_SIZE);
  for (let frame = first; frame < last && frame < memory.frames; frame++) if (memory.has(frame)) pages++;
  if (pages === 0) return "none";
  return pages === last - first ? "all" : "some";
}

/** Thread and process; threads have no numbers here, so that it is always 0. */
function who({ machine }: MemtypeContext): string {
  return `${currentComm(machine.loop)}:0`;
}

/** `[mem %#010Lx-%#010Lx]` */
function formatMem(start: number, end: number): string {
  const hex = (address: number): string => `0x${address.toString(16).padStart(8, "0")}`;
  return `[mem ${hex(start)}-${hex(end - 1)}]`;
}
