/** What one can look at in an emulated kernel: as text in the formats of a live one, and as data. */
import { GeneralProtectionFault } from "../../arch/isa/faults.ts";
import {
  formatLinearAddress,
  formatLinearAddress16,
  LINEAR_SPACE_BYTES,
  PAGE_SIZE,
} from "../../arch/isa/linear-address.ts";
import { SIZE_NAMES } from "../../arch/isa/translation.ts";
import { entriesOf, formatProbe, LEVEL_NAMES, type ProbeResult } from "../../arch/walk/probe.ts";
import { memoryTypeWords, type SecondStageProbe } from "../../arch/walk/second-stage-probe.ts";
import {
  dumpPageTables,
  MODULES_END,
  MODULES_VADDR,
  pageTableRuns,
  parseVmallocinfoLine,
  VMALLOC_DUMP_END,
  VMALLOC_START,
  type VmallocinfoLine,
  vmallocinfo,
} from "../../mm/index.ts";
import { USER_END } from "../../mm/lib/memory-layout.ts";
import { ValueError } from "../input/errors.ts";
import { address64 } from "../input/values.ts";
import type { Kernel } from "../machine/kernel.ts";
import { absentCpu, cachedData, cachedLines } from "./cached-views.ts";
import { buddyData, buddyLines, meminfoData, meminfoLines, vmstatData } from "./memory-views.ts";
import { secondStageData, secondStageLines } from "./second-stage-view.ts";

/** Parts of the address space by name. */
export const RANGE_NAMES = ["vmalloc", "modules", "kernel", "all"] as const;
export type RangeName = (typeof RANGE_NAMES)[number];

/** Choices of a view. */
export interface ViewOptions {
  /** Part of the address space whose page tables are shown. */
  readonly range: RangeName;
  /** The CPU whose TLBs are shown; all when absent. */
  readonly cpu?: number;
  /** The address whose walk is shown, as a person wrote it. */
  readonly address?: string;
}

/** A view of a kernel. */
export interface View {
  readonly name: string;
  /** What it shows, in one line. */
  readonly summary: string;
  /** Whether its form is our own, and keeps to the width of a terminal; the kernel's are written to the letter. */
  readonly isOwnForm?: true;
  /** It as text, without newlines. */
  readonly lines: (kernel: Kernel, options: ViewOptions) => string[];
  /** It as data that can be written as JSON: numbers, and addresses as hexadecimal words. */
  readonly data: (kernel: Kernel, options: ViewOptions) => object;
}

const RANGES: Readonly<Record<RangeName, readonly [number, number]>> = {
  vmalloc: [VMALLOC_START, VMALLOC_DUMP_END],
  modules: [MODULES_VADDR, MODULES_END],
  kernel: [USER_END, LINEAR_SPACE_BYTES],
  all: [0, LINEAR_SPACE_BYTES],
};

/** All views. */
export const VIEWS: readonly View[] = [
  {
    name: "vmallocinfo",
    summary: "the areas of vmalloc, as /proc/vmallocinfo shows them",
    lines: ({ vm }) => vmallocinfo(vm),
    data: ({ vm }) => ({ areas: vmallocinfo(vm).map((line) => areaData(parseVmallocinfoLine(line))) }),
  },
  {
    name: "page-tables",
    summary: "runs of equal entries, as /sys/kernel/debug/page_tables/kernel shows them (--range)",
    lines: ({ tables }, { range }) => dumpPageTables(tables, ...RANGES[range]),
    data: runsData,
  },
  {
    name: "tlb",
    summary: "the TLBs of every CPU, or of one, by set and way: ages, stale entries (--cpu)",
    isOwnForm: true,
    lines: (kernel, { cpu }) => cachedLines(kernel, "translations", cpu),
    data: (kernel, { cpu }) => cachedData(kernel, "translations", cpu),
  },
  {
    name: "psc",
    summary: "the paging-structure caches of every CPU, or of one, in the same way (--cpu)",
    isOwnForm: true,
    lines: (kernel, { cpu }) => cachedLines(kernel, "tables", cpu),
    data: (kernel, { cpu }) => cachedData(kernel, "tables", cpu),
  },
  {
    name: "buddyinfo",
    summary: "free blocks of memory by order, as /proc/buddyinfo shows them",
    lines: buddyLines,
    data: buddyData,
  },
  { name: "meminfo", summary: "memory in all, as /proc/meminfo shows it", lines: meminfoLines, data: meminfoData },
  {
    name: "vmstat",
    summary: "flushes counted, as the nr_tlb lines of /proc/vmstat show them",
    lines: ({ mm }) => mm.flushing.vmstat.lines(),
    data: vmstatData,
  },
  {
    name: "walk",
    summary: "the page walk of one address, level by level (--address)",
    lines: (kernel, options) => formatProbe(walkOf(kernel, options)).split("\n"),
    data: (kernel, options) => walkData(walkOf(kernel, options)),
  },
  {
    name: "second-stage",
    summary: "runs of equal entries of the second stage, below a guest (--guest)",
    lines: secondStageLines,
    data: secondStageData,
  },
];

/** A line of `/proc/vmallocinfo` with its addresses as words, and pages by NUMA node where it has them. */
function areaData({ start, end, phys, words, ...area }: VmallocinfoLine): object {
  const nodes = words.flatMap((word) => {
    const match = /^N(\d+)=(\d+)$/.exec(word);
    return match === null ? [] : [[match[1], Number(match[2])]];
  });
  return {
    start: formatLinearAddress16(start),
    end: formatLinearAddress16(end),
    ...area,
    physicalAddress: phys === null ? null : hex(phys),
    flags: words.filter((word) => !/^N\d+=/.test(word)),
    ...(nodes.length > 0 ? { pagesByNode: Object.fromEntries(nodes) } : {}),
  };
}

function runsData({ tables }: Kernel, { range }: ViewOptions): object {
  const runs = pageTableRuns(tables, ...RANGES[range]).map(({ start, end, ...run }) => ({
    start: formatLinearAddress16(start),
    end: end === LINEAR_SPACE_BYTES ? null : formatLinearAddress16(end),
    ...run,
  }));
  return { range, runs };
}

function walkOf({ machine }: Kernel, { address, cpu = 0 }: ViewOptions): ProbeResult {
  if (address === undefined) throw new ValueError("", address, "an address to walk");
  const executing = machine.cpus[cpu];
  if (executing === undefined) throw absentCpu(cpu, machine.cpus.length);
  try {
    return executing.probe(address64(address));
  } catch (error) {
    if (!(error instanceof ValueError || error instanceof GeneralProtectionFault)) throw error;
    const expected = "a canonical 64-bit address such as 0xffffc90000000000, or the same in decimal";
    throw new ValueError("address", address, expected, `address '${address}': expected ${expected}`);
  }
}

/** A walk with its addresses and entries as words; in a guest, with the second stage's walk for each table and for the page. */
function walkData(walk: ProbeResult): object {
  const { linearAddress, physical, levels, guestPhysical, secondStage, ...rest } = walk;
  return {
    address: formatLinearAddress(linearAddress),
    ...rest,
    physicalAddress: physical === null ? null : hex(physical),
    levels: levels.map(({ entryAddress, entry, reservedBits, secondStage: ofTable, ...level }) => ({
      ...level,
      entryAddress: hex(entryAddress),
      entry: hex(entry),
      reservedBits: hex(reservedBits),
      ...(ofTable === undefined ? {} : { secondStage: secondStageWalkData(ofTable) }),
    })),
    ...(guestPhysical === undefined ? {} : { guestPhysicalAddress: hex(guestPhysical) }),
    ...(secondStage === undefined
      ? {}
      : { secondStage: secondStageWalkData(secondStage), entriesWithNothingCached: entriesOf(walk) }),
  };
}

function secondStageWalkData({ guestPhysical, levels, frame, size, memoryType, ...rest }: SecondStageProbe): object {
  const typeOf = (type: SecondStageProbe["memoryType"]): string | null =>
    type === null ? null : memoryTypeWords(type);
  return {
    guestPhysicalAddress: hex(guestPhysical),
    ...rest,
    physicalAddress: frame === null ? null : hex(frame * PAGE_SIZE),
    pageSize: frame === null ? null : SIZE_NAMES[size],
    memoryType: typeOf(memoryType),
    levels: levels.map(({ level, entryAddress, entry, memoryType: type, ...at }) => ({
      name: LEVEL_NAMES[level],
      level,
      ...at,
      memoryType: typeOf(type),
      entryAddress: hex(entryAddress),
      entry: hex(entry),
    })),
  };
}

function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
