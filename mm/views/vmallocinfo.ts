/** `/proc/vmallocinfo` (`vmalloc_info_show`), and the `Vmalloc` lines of `/proc/meminfo`. */

import { formatLinearAddress16, PAGE_SIZE } from "../../arch/isa/linear-address.ts";
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
import type { Vmalloc } from "../vmalloc/vmalloc-state.ts";

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
      if (line !== null) lines.push(line);
    }
  }
  return lines.concat(showPurgeInfo(state));
}

/** One line for each lazily freed area (`show_purge_info`). */
function showPurgeInfo({ areas, nodes }: Vmalloc): string[] {
  const lines: string[] = [];
  for (const node of nodes) {
    const { head } = node.lazy.tree;
    for (let area = areas.nextOf(head); area !== head; area = areas.nextOf(area)) {
      lines.push(`${rangeAndSize(areas.startOf(area), areas.endOf(area))} unpurged vm_area`);
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

function rangeAndSize(start: number, end: number): string {
  return `${formatLinearAddress16(start)}-${formatLinearAddress16(end)} ${String(end - start).padStart(7)}`;
}

function busyLine(state: Vmalloc, area: number): string | null {
  const { areas, vms } = state;
  const vm = areas.vmOf(area);
  if (vm === 0) {
    if ((areas.flagsOf(area) & VMAP_RAM) === 0) return null;
    return `${rangeAndSize(areas.startOf(area), areas.endOf(area))} vm_map_ram`;
  }
  const flags = vms.flags[vm];
  if ((flags & VM_UNINITIALIZED) !== 0) return null;
  let line = rangeAndSize(vms.addr[vm], vms.addr[vm] + vms.sizeBytes[vm]);
  if (vms.callerOf(vm) !== "") line += ` ${vms.callerOf(vm)}`;
  if (vms.nrPages[vm] > 0) line += ` pages=${vms.nrPages[vm]}`;
  if (vms.physAddr[vm] !== 0) line += ` phys=0x${vms.physAddr[vm].toString(16).padStart(16, "0")}`;
  for (const [flag, word] of FLAG_WORDS) if ((flags & flag) !== 0) line += ` ${word}`;
  if (vms.pagesAddrOf(vm) !== 0) line += " vpages";
  return line + showNumaInfo(state, vm);
}

function showNumaInfo(state: Vmalloc, vm: number): string {
  const { pages, vms, pageArrays } = state;
  if (pages.numaNodes === 1 || vms.nrPages[vm] === 0) return "";
  const counts = new Array<number>(pages.numaNodes).fill(0);
  for (let i = 0; i < vms.nrPages[vm]; i++) counts[pages.nodeOfFrame(pageArrays.frames[vms.pages[vm] + i])]++;
  return counts.map((count, node) => (count > 0 ? ` N${node}=${count}` : "")).join("");
}
