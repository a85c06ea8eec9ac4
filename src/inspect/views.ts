/** What one can look at in an emulated kernel, in the formats of a live one. */

import { cachedTables, cachedTranslations } from "../../arch/cpu/cached-translations.ts";
import type { Cpu } from "../../arch/cpu/cpu.ts";
import { TextFormatError } from "../../arch/isa/errors.ts";
import { GeneralProtectionFault } from "../../arch/isa/faults.ts";
import { formatLinearAddress16, LINEAR_SPACE_BYTES, parseAddress64 } from "../../arch/isa/linear-address.ts";
import { SIZE_BYTES, SIZE_NAMES, TR_DIRTY, TR_RW, TR_USER, TR_XD } from "../../arch/isa/translation.ts";
import { formatProbe } from "../../arch/walk/probe.ts";
import { MAX_PAGE_ORDER, type Zone } from "../../mm/frames/zone.ts";
import {
  dumpPageTables,
  FRAME_PAGE_TABLE,
  MODULES_END,
  MODULES_VADDR,
  meminfoLine,
  VMALLOC_DUMP_END,
  VMALLOC_START,
  vmallocinfo,
  vmallocMeminfo,
} from "../../mm/index.ts";
import { USER_END } from "../../mm/lib/memory-layout.ts";
import { ValueError } from "../input/errors.ts";
import type { Kernel } from "../machine/kernel.ts";

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

/** A view: a name, what it shows, and its lines. */
export interface View {
  readonly name: string;
  readonly summary: string;
  readonly lines: (kernel: Kernel, options: ViewOptions) => string[];
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
  },
  {
    name: "page-tables",
    summary: "runs of equal entries, as /sys/kernel/debug/page_tables/kernel shows them (--range)",
    lines: ({ tables }, { range }) => dumpPageTables(tables, ...RANGES[range]),
  },
  { name: "tlb", summary: "what the TLBs of every CPU, or of one, hold (--cpu)", lines: tlbLines },
  {
    name: "psc",
    summary: "what the paging-structure caches of every CPU, or of one, hold (--cpu)",
    lines: structureLines,
  },
  { name: "buddyinfo", summary: "free blocks of memory by order, as /proc/buddyinfo shows them", lines: buddyLines },
  { name: "meminfo", summary: "memory in all, as /proc/meminfo shows it", lines: meminfoLines },
  {
    name: "vmstat",
    summary: "flushes counted, as the nr_tlb lines of /proc/vmstat show them",
    lines: ({ mm }) => mm.flushing.vmstat.lines(),
  },
  { name: "walk", summary: "the page walk of one address, level by level (--address)", lines: walkLines },
];

/** The longest name of a TLB in the presets. */
const NAME_WIDTH = 16;

/** The CPU that was chosen, or all. @throws ValueError for a CPU that there is not */
function chosenCpus({ machine: { cpus } }: Kernel, { cpu }: ViewOptions): readonly Cpu[] {
  if (cpu === undefined) return cpus;
  if (cpu >= cpus.length) throw absentCpu(cpu, cpus.length);
  return [cpus[cpu]];
}

/** What entries of page tables are called, by level. */
const ENTRY_NAMES = ["", "PTE", "PDE", "PDPTE", "PML4E", "PML5E"];

function structureLines(kernel: Kernel, options: ViewOptions): string[] {
  const heading = `cpu  ${"structure".padEnd(NAME_WIDTH)}  entry  from                table        pcid  flags`;
  const lines = chosenCpus(kernel, options).flatMap((cpu) =>
    cachedTables(cpu)
      .sort((a, b) => (a.structure === b.structure ? b.level - a.level || a.la - b.la : 0))
      .map(({ structure, level, la, frame, pcid, flags }) => {
        const columns = [
          String(cpu.id).padStart(3),
          structure.padEnd(NAME_WIDTH),
          ENTRY_NAMES[level].padEnd(5),
          formatLinearAddress16(la),
          `0x${frame.toString(16).padStart(9, "0")}`,
          String(pcid).padStart(4),
          rightsOf(flags),
        ];
        return columns.join("  ").trimEnd();
      }),
  );
  return [heading, ...lines];
}

/** Access rights as the page-table dump names them. */
function rightsOf(flags: number): string {
  const user = (flags & TR_USER) !== 0 ? "USR" : "   ";
  return `${user} ${(flags & TR_RW) !== 0 ? "RW" : "ro"} ${(flags & TR_XD) !== 0 ? "NX" : "x "}`;
}

function tlbLines(kernel: Kernel, options: ViewOptions): string[] {
  const heading = `cpu  ${"tlb".padEnd(NAME_WIDTH)}  page                size  frame       pcid  flags`;
  const lines = chosenCpus(kernel, options).flatMap((each) =>
    cachedTranslations(each)
      .sort((a, b) => (a.tlb === b.tlb ? a.la - b.la : 0))
      .map(({ tlb, la, sizeBytes, frame, pcid, flags }) => {
        const size = nameOfSize(sizeBytes);
        const columns = [
          String(each.id).padStart(3),
          tlb.padEnd(NAME_WIDTH),
          formatLinearAddress16(la),
          size.padStart(4),
          `0x${frame.toString(16).padStart(9, "0")}`,
          (pcid === null ? "GLB" : String(pcid)).padStart(4),
          `${rightsOf(flags)} ${(flags & TR_DIRTY) !== 0 ? "D" : " "}`,
        ];
        return columns.join("  ").trimEnd();
      }),
  );
  return [heading, ...lines];
}

function absentCpu(cpu: number, cpus: number): ValueError {
  const line = `there is no CPU ${cpu}: the machine has ${cpus}, from 0`;
  return new ValueError("CPU", cpu, `a CPU from 0 to ${cpus - 1}`, line);
}

function nameOfSize(sizeBytes: number): string {
  const sizes: readonly number[] = SIZE_BYTES;
  return SIZE_NAMES[sizes.indexOf(sizeBytes)];
}

/** Zones as the kernel names them: memory below 4 GiB, and above. */
function buddyLines({ pages }: Kernel): string[] {
  const nameOf = ({ startFrame }: Zone): string => (startFrame < 2 ** 20 ? "DMA32" : "Normal");
  return pages.zones.map((zone) => {
    let line = `Node ${zone.node}, zone ${nameOf(zone).padStart(8)} `;
    for (let order = 0; order <= MAX_PAGE_ORDER; order++) line += `${String(zone.freeBlocksOf(order)).padStart(6)} `;
    return line;
  });
}

/** The lines that concern what is emulated, in the kernel's order. `PageTables` counts those of user address spaces. */
function meminfoLines({ pages, tables, vm }: Kernel): string[] {
  const kib = (count: number): number => count * 4;
  const userTables = countFrames(pages.zones, FRAME_PAGE_TABLE) - tables.tablePages;
  return [
    meminfoLine("MemTotal", kib(pages.totalPages)),
    meminfoLine("MemFree", kib(pages.freePages)),
    meminfoLine("PageTables", kib(userTables)),
    ...vmallocMeminfo(vm),
  ];
}

function countFrames(zones: readonly Zone[], use: number): number {
  let count = 0;
  for (const zone of zones) {
    const touched = zone.touchedEnd - zone.startFrame;
    for (let i = 0; i < touched; i++) if (zone.use[i] === use) count++;
  }
  return count;
}

function walkLines({ machine }: Kernel, { address, cpu = 0 }: ViewOptions): string[] {
  if (address === undefined) throw new ValueError("", address, "an address to walk");
  const executing = machine.cpus[cpu];
  if (executing === undefined) throw absentCpu(cpu, machine.cpus.length);
  try {
    return formatProbe(executing.probe(parseAddress64(address))).split("\n");
  } catch (error) {
    if (!(error instanceof TextFormatError || error instanceof GeneralProtectionFault)) throw error;
    const expected = "a canonical 64-bit address such as 0xffffc90000000000";
    throw new ValueError("address", address, expected, `address '${address}': expected ${expected}`);
  }
}
