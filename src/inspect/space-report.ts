/** Who holds how much of an address range, how its free parts lie, and whether an allocation would fit. */
import { formatLinearAddress16, pageOfOrder } from "../../arch/isa/linear-address.ts";
import { type AddressWindow, type LayoutChoice, windowOf } from "./address-window.ts";
import type { HeldRange, LiveFile } from "./live-file.ts";

/** What somebody, or one kind, holds. */
export interface Holding {
  readonly name: string;
  readonly ranges: number;
  /** Bytes of addresses, guard pages included. */
  readonly addressBytes: number;
  /** Bytes of memory behind them, as far as the text says. */
  readonly memoryBytes: number;
}

/** A free part of the range: [start, end) in the order of 57 bits. */
export interface Hole {
  readonly start: number;
  readonly end: number;
}

/** Where an allocation would go. */
export interface Fit {
  readonly sizeBytes: number;
  readonly alignBytes: number;
  /** The lowest address that it would get, 16 hexadecimal digits; null when it does not fit. */
  readonly address: string | null;
  /** What the address is once lazily freed areas are purged. */
  readonly addressAfterPurge: string | null;
}

/** The largest allocation at an alignment, guard page not counted. */
export interface LargestHole {
  readonly alignBytes: number;
  readonly bytes: number;
  readonly bytesAfterPurge: number;
  readonly address: string | null;
}

/** Holes of [2^n, 2^(n+1)) bytes. */
export interface HoleClass {
  readonly fromBytes: number;
  readonly holes: number;
  readonly bytes: number;
}

/** What there is to say of a range. */
export interface SpaceReport {
  readonly file: string;
  readonly format: LiveFile["format"];
  readonly window: { readonly name: string; readonly start: string; readonly end: string; readonly basis: string };
  /** Bytes in the range, of areas that are in use, and of those that wait for a purge. */
  readonly windowBytes: number;
  readonly usedBytes: number;
  readonly lazyBytes: number;
  readonly kinds: readonly Holding[];
  /** By calling function; of page tables by part of the address space. */
  readonly holders: readonly Holding[];
  /** null where the kernel hid the addresses. */
  readonly holes: {
    readonly count: number;
    readonly freeBytes: number;
    /** What part of the free bytes is not in the largest hole. */
    readonly fragmentation: number;
    /** By size, the smallest first. */
    readonly classes: readonly HoleClass[];
    readonly largest: readonly LargestHole[];
  } | null;
  readonly fit: Fit | null;
  /** Bytes that are both writable and executable; null where the text does not say. */
  readonly writableExecutableBytes: number | null;
  readonly skippedLines: number;
}

/** An allocation that is asked about. */
export interface FitQuestion {
  readonly sizeBytes: number;
  readonly alignBytes: number;
}

const PAGE = 4096;
const ALIGNMENTS = [PAGE, 2 ** 16, 2 ** 21, 2 ** 30];

/** The report on a file. */
export function spaceReport(file: LiveFile, layout: LayoutChoice, question: FitQuestion | null): SpaceReport {
  const window = windowOf(file, layout);
  const all = file.isHidden
    ? file.ranges
    : file.ranges.filter(({ start }) => start >= window.start && start < window.end);
  const isDump = file.format === "page_tables";
  const busy = all.filter(({ isLazy }) => !isLazy);
  return {
    file: file.file,
    format: file.format,
    window: { name: window.name, start: shown(window.start), end: shown(window.end), basis: window.basis },
    windowBytes: window.end - window.start,
    usedBytes: bytesOf(busy),
    lazyBytes: bytesOf(all) - bytesOf(busy),
    kinds: holdings(all, ({ kind }) => kind),
    holders: holdings(isDump ? file.ranges : all, ({ holder }) => holder),
    holes: file.isHidden ? null : holesReport(all, busy, window, question),
    fit: file.isHidden || question === null ? null : fitOf(holesIn(all, window), holesIn(busy, window), question),
    writableExecutableBytes: isDump ? bytesOf(file.ranges.filter(({ kind }) => / RW x/.test(kind))) : null,
    skippedLines: file.skippedLines,
  };
}

/** What each name holds, the largest first. */
function holdings(ranges: readonly HeldRange[], nameOf: (range: HeldRange) => string): Holding[] {
  const found = new Map<string, { name: string; ranges: number; addressBytes: number; memoryBytes: number }>();
  for (const range of ranges) {
    const name = nameOf(range);
    let holding = found.get(name);
    if (holding === undefined) {
      holding = { name, ranges: 0, addressBytes: 0, memoryBytes: 0 };
      found.set(name, holding);
    }
    holding.ranges++;
    holding.addressBytes += range.sizeBytes;
    holding.memoryBytes += range.pages * PAGE;
  }
  return [...found.values()].sort((a, b) => b.addressBytes - a.addressBytes || (a.name < b.name ? -1 : 1));
}

/** The parts of the window that no range covers; ranges are in order, and may overlap where the text changed while it was read. */
function holesIn(ranges: readonly HeldRange[], window: AddressWindow): Hole[] {
  const holes: Hole[] = [];
  let free = window.start;
  for (const { start, end } of ranges) {
    if (start > free) holes.push({ start: free, end: start });
    free = Math.max(free, end);
  }
  if (free < window.end) holes.push({ start: free, end: window.end });
  return holes;
}

function holesReport(
  all: readonly HeldRange[],
  busy: readonly HeldRange[],
  window: AddressWindow,
  question: FitQuestion | null,
): SpaceReport["holes"] {
  const now = holesIn(all, window);
  const purged = holesIn(busy, window);
  const freeBytes = now.reduce((sum, hole) => sum + sizeOf(hole), 0);
  const largest = now.reduce((most, hole) => Math.max(most, sizeOf(hole)), 0);
  const alignments = new Set([...ALIGNMENTS, ...(question === null ? [] : [question.alignBytes])]);
  return {
    count: now.length,
    freeBytes,
    fragmentation: freeBytes === 0 ? 0 : 1 - largest / freeBytes,
    classes: classesOf(now),
    largest: [...alignments].sort((a, b) => a - b).map((align) => largestAt(now, purged, align)),
  };
}

function classesOf(holes: readonly Hole[]): HoleClass[] {
  const classes = new Map<number, { fromBytes: number; holes: number; bytes: number }>();
  for (const hole of holes) {
    const fromBytes = 2 ** Math.floor(Math.log2(sizeOf(hole)));
    const found = classes.get(fromBytes) ?? { fromBytes, holes: 0, bytes: 0 };
    found.holes++;
    found.bytes += sizeOf(hole);
    classes.set(fromBytes, found);
  }
  return [...classes.values()].sort((a, b) => a.fromBytes - b.fromBytes);
}

function largestAt(now: readonly Hole[], purged: readonly Hole[], alignBytes: number): LargestHole {
  const roomIn = (hole: Hole): number => Math.max(0, hole.end - alignUp(hole.start, alignBytes) - PAGE);
  const best = now.reduce<Hole | null>((a, b) => (a === null || roomIn(b) > roomIn(a) ? b : a), null);
  const bytes = best === null ? 0 : roomIn(best);
  return {
    alignBytes,
    bytes,
    bytesAfterPurge: purged.reduce((most, hole) => Math.max(most, roomIn(hole)), 0),
    address: best === null || bytes === 0 ? null : shown(alignUp(best.start, alignBytes)),
  };
}

/** The lowest place, as `__alloc_vmap_area` takes it, with a guard page behind. */
function fitOf(now: readonly Hole[], purged: readonly Hole[], { sizeBytes, alignBytes }: FitQuestion): Fit {
  const placeIn = (holes: readonly Hole[]): string | null => {
    const bytes = alignUp(sizeBytes, PAGE) + PAGE;
    const hole = holes.find(({ start, end }) => alignUp(start, alignBytes) + bytes <= end);
    return hole === undefined ? null : shown(alignUp(hole.start, alignBytes));
  };
  return { sizeBytes, alignBytes, address: placeIn(now), addressAfterPurge: placeIn(purged) };
}

function bytesOf(ranges: readonly HeldRange[]): number {
  return ranges.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

function sizeOf({ start, end }: Hole): number {
  return end - start;
}

function alignUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}

function shown(order: number): string {
  return formatLinearAddress16(pageOfOrder(order));
}
