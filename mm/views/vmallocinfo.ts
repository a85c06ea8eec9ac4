/** `/proc/vmallocinfo` (`vmalloc_info_show`), and the `Vmalloc` lines of `/proc/meminfo`. */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { VMALLOC_END, VMALLOC_START } from "../lib/memory-layout.ts";
import {
  VM_ALLOC,
  VM_DMA_COHERENT,
  VM_IOREMAP,
  VM_MAP,
  VM_SPARSE,
  VM_UNINITIALIZED,
  VM_USERMAP,
} from "../vmalloc/areas/vm-structs.ts";
import { VMAP_RAM } from "../vmalloc/areas/vmap-areas.ts";
import { lazyRanges } from "../vmalloc/lazy-ranges.ts";
import type { Vmalloc } from "../vmalloc/vmalloc-state.ts";
import { formatVmallocinfoLine, type VmallocinfoLine } from "./vmallocinfo-line.ts";

const FLAG_WORDS: readonly (readonly [number, string])[] = [
  [VM_IOREMAP, "ioremap"],
  [VM_SPARSE, "sparse"],
  [VM_ALLOC, "vmalloc"],
  [VM_MAP, "vmap"],
  [VM_USERMAP, "user"],
  [VM_DMA_COHERENT, "dma-coherent"],
];

/** One line an area, node by node; then the lazily freed ones. */
export function vmallocinfo(state: Vmalloc): string[] {
  const { areas } = state;
  const lines: string[] = [];
  for (const node of state.nodes) {
    const { head } = node.busy.tree;
    for (let area = areas.nextOf(head); area !== head; area = areas.nextOf(area)) {
      const line = busyLine(state, area);
      if (line !== null) lines.push(formatVmallocinfoLine(line));
    }
  }
  return lines.concat(showPurgeInfo(state));
}

/** One line for each lazily freed area (`show_purge_info`). */
function showPurgeInfo(state: Vmalloc): string[] {
  const lines: string[] = [];
  for (const node of state.nodes) {
    for (const { start, end } of lazyRanges(state, node)) {
      lines.push(formatVmallocinfoLine({ ...NOTHING_MORE, start, end, sizeBytes: end - start, unpurged: true }));
    }
  }
  return lines;
}

/** The `Vmalloc` lines of `/proc/meminfo`. */
export function vmallocMeminfo(state: Vmalloc): string[] {
  const totalKib = Math.floor((VMALLOC_END - VMALLOC_START) / 1024);
  return [
    meminfoLine("VmallocTotal", totalKib),
    meminfoLine("VmallocUsed", (state.nrVmallocPages * PAGE_SIZE) / 1024),
    meminfoLine("VmallocChunk", 0),
  ];
}

/** A line of `/proc/meminfo`. */
export function meminfoLine(name: string, kib: number): string {
  return `${`${name}:`.padEnd(16)}${String(kib).padStart(8)} kB`;
}

/** What a line says when an area has nothing that it tells of. */
const NOTHING_MORE = { caller: "", pages: 0, phys: null, words: [], vmMapRam: false, unpurged: false } as const;

/** Whether an area in use has a line; one that is being made has none. */
export function hasBusyLine({ areas, vms, version }: Vmalloc, area: number): boolean {
  const vm = areas.vmOf(area);
  if (vm !== 0) return (vms.flags[2 * vm] & VM_UNINITIALIZED) === 0;
  return version.areaFlagsMask === 0 || (areas.flagsOf(area) & VMAP_RAM) !== 0;
}

/** What the line of an area in use says; null for one that has none. */
export function busyLine(state: Vmalloc, area: number): VmallocinfoLine | null {
  if (!hasBusyLine(state, area)) return null;
  const { areas, vms } = state;
  const vm = areas.vmOf(area);
  if (vm === 0) {
    const [start, end] = [areas.startOf(area), areas.endOf(area)];
    return { ...NOTHING_MORE, start, end, sizeBytes: end - start, vmMapRam: true };
  }
  const flags = vms.flags[2 * vm];
  const words = FLAG_WORDS.filter(([flag]) => (flags & flag) !== 0).map(([, word]) => word);
  if (vms.pagesAddrOf(vm) !== 0) words.push("vpages");
  return {
    ...NOTHING_MORE,
    start: vms.addr[vm],
    end: vms.addr[vm] + vms.sizeBytes[vm],
    sizeBytes: vms.sizeBytes[vm],
    caller: vms.callerOf(vm),
    pages: vms.nrPages[2 * vm],
    phys: vms.physAddr[vm] === 0 ? null : vms.physAddr[vm],
    words: [...words, ...showNumaInfo(state, vm)],
  };
}

/** `N0=3 N1=1`: pages of an area by NUMA node, where there are several (`show_numa_info`). */
function showNumaInfo(state: Vmalloc, vm: number): string[] {
  const { pages, vms, pageArrays } = state;
  if (pages.numaNodes === 1 || vms.nrPages[2 * vm] === 0) return [];
  const counts = new Array<number>(pages.numaNodes).fill(0);
  for (let i = 0; i < vms.nrPages[2 * vm]; i++) counts[pages.nodeOfFrame(pageArrays.frames[vms.pages[2 * vm] + i])]++;
  return counts.flatMap((count, node) => (count > 0 ? [`N${node}=${count}`] : []));
}
