/** What is at one address of the vmalloc range: the area with its vm_struct, its entries and its node, or the gap. */
import { PAGE_SIZE } from "../../../arch/index.ts";
import { LEVEL_BYTES } from "../../../arch/isa/linear-address.ts";
import { MODULES_END, MODULES_VADDR, VMALLOC_END, VMALLOC_START } from "../../../mm/index.ts";
import type { AddressRanges } from "../../../mm/lib/address-ranges.ts";
import {
  VM_ALLOC,
  VM_ALLOW_HUGE_VMAP,
  VM_DMA_COHERENT,
  VM_FLUSH_RESET_PERMS,
  VM_IOREMAP,
  VM_MAP,
  VM_MAP_PUT_PAGES,
  VM_NO_GUARD,
  VM_SPARSE,
  VM_UNINITIALIZED,
  VM_USERMAP,
} from "../../../mm/vmalloc/areas/vm-structs.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { type FreeNode, pathToGap } from "./free-search.ts";

/** What is at an address. */
export interface SpaceSelection {
  readonly what: "area" | "gap" | "pooled area" | "lazily freed area" | "outside";
  readonly start: number;
  readonly end: number;
  /** What there is to say, each with its name. */
  readonly facts: readonly (readonly [name: string, value: string])[];
  /** Of a gap: the path to it from the root of the free tree. */
  readonly path: readonly FreeNode[];
}

/** Pages whose entries are counted at the most. */
const PAGES_MAX = 2 ** 11;

const FLAG_NAMES: readonly (readonly [flag: number, name: string])[] = [
  [VM_IOREMAP, "VM_IOREMAP"],
  [VM_ALLOC, "VM_ALLOC"],
  [VM_MAP, "VM_MAP"],
  [VM_USERMAP, "VM_USERMAP"],
  [VM_DMA_COHERENT, "VM_DMA_COHERENT"],
  [VM_UNINITIALIZED, "VM_UNINITIALIZED"],
  [VM_NO_GUARD, "VM_NO_GUARD"],
  [VM_FLUSH_RESET_PERMS, "VM_FLUSH_RESET_PERMS"],
  [VM_MAP_PUT_PAGES, "VM_MAP_PUT_PAGES"],
  [VM_ALLOW_HUGE_VMAP, "VM_ALLOW_HUGE_VMAP"],
  [VM_SPARSE, "VM_SPARSE"],
];

/** What is at `address`. */
export function spaceSelection(kernel: Kernel, address: number): SpaceSelection {
  const { vm } = kernel;
  const isModules = address >= MODULES_VADDR && address < MODULES_END;
  if (!isModules && (address < VMALLOC_START || address >= VMALLOC_END)) {
    return { what: "outside", start: address, end: address, facts: [], path: [] };
  }
  for (const node of vm.nodes) {
    const busy = node.busy.tree.__findVmapArea(address);
    if (busy !== 0) return ofArea(kernel, busy, node.id);
    const lazy = node.lazy.tree.__findVmapArea(address) || areaIn(kernel, node.purgeList, address);
    if (lazy !== 0) return ofFreed(kernel, lazy, "lazily freed area", `vmap node ${node.id}, until a purge`);
    for (let pool = 0; pool < node.poolsUsed; pool++) {
      const pooled = areaIn(kernel, node.poolHead(pool), address);
      if (pooled !== 0)
        return ofFreed(kernel, pooled, "pooled area", `vmap node ${node.id}, for its next request of this size`);
    }
  }
  const path = pathToGap(vm, address);
  const gap = path.at(-1);
  const facts = [["depth in the free tree", String(path.length)]] as const;
  return { what: "gap", start: gap?.start ?? address, end: gap?.end ?? address, facts, path };
}

/** The area of a list that holds an address; 0 for none. */
function areaIn({ vm: { areas } }: Kernel, head: number, address: number): number {
  for (let area = areas.nextOf(head); area !== head; area = areas.nextOf(area)) {
    if (areas.startOf(area) <= address && address < areas.endOf(area)) return area;
  }
  return 0;
}

function ofFreed({ vm: { areas } }: Kernel, area: number, what: SpaceSelection["what"], where: string): SpaceSelection {
  return { what, start: areas.startOf(area), end: areas.endOf(area), facts: [["held by", where]], path: [] };
}

function ofArea(kernel: Kernel, area: number, nodeId: number): SpaceSelection {
  const { areas, vms, nodes } = kernel.vm;
  const [start, end] = [areas.startOf(area), areas.endOf(area)];
  const struct = areas.vmOf(area);
  const facts: [string, string][] = [["vmap node", `${nodeId} of ${nodes.length}`]];
  if (struct === 0) facts.push(["vm_struct", "none: vm_map_ram"]);
  else {
    const flags = FLAG_NAMES.filter(([flag]) => (vms.flags[2 * struct] & flag) !== 0).map(([, name]) => name);
    facts.push(["flags", flags.length === 0 ? "0" : flags.join(" | ")]);
    facts.push(["asked for", `${vms.requestedSizeBytes[struct]} bytes`]);
    if (vms.callerOf(struct) !== "") facts.push(["caller", vms.callerOf(struct)]);
    if (vms.nrPages[2 * struct] > 0) {
      facts.push(["nr_pages", `${vms.nrPages[2 * struct]}, mapped with pages of order ${vms.pageOrderOf(struct)}`]);
    }
    if (vms.physAddr[struct] !== 0) facts.push(["phys_addr", `0x${vms.physAddr[struct].toString(16)}`]);
  }
  const pieces = piecesIn(kernel, start, end);
  if (pieces !== null) facts.push(["executable memory", pieces]);
  facts.push(["entries", entriesOf(kernel, start, end)]);
  return { what: "area", start, end, facts, path: [] };
}

/** Of a region of the cache of executable memory `2 pieces in use, 7 of 512 pages; 1 free`; null for another area. */
function piecesIn({ vm: { execmem } }: Kernel, start: number, end: number): string | null {
  const inUse = execmem === null ? [] : piecesOf(execmem.busy, start, end);
  const free = execmem === null ? [] : piecesOf(execmem.free, start, end);
  if (inUse.length + free.length === 0) return null;
  const pages = (sizes: readonly number[]): number => sizes.reduce((sum, bytes) => sum + bytes, 0) / PAGE_SIZE;
  const ofPages = `${pages(inUse)} of ${pages(inUse) + pages(free)} pages`;
  return `pieces in use: ${inUse.length}, ${ofPages}; free pieces: ${free.length}`;
}

/** The bytes of each range that lies in [start, end). */
function piecesOf(ranges: AddressRanges, start: number, end: number): number[] {
  const sizes: number[] = [];
  for (let i = 0; i < ranges.count; i++) {
    if (ranges.startOf(i) >= start && ranges.endOf(i) <= end) sizes.push(ranges.endOf(i) - ranges.startOf(i));
  }
  return sizes;
}

/** `3 of 4 KiB, 1 of 2 MiB; 1 page is not mapped`. */
function entriesOf(kernel: Kernel, start: number, end: number): string {
  const until = Math.min(end, start + PAGES_MAX * PAGE_SIZE);
  const bySize = new Map<number, number>();
  let absent = 0;
  const [cpu] = kernel.machine.cpus;
  for (let la = start; la < until; ) {
    const last = cpu.probe(la).levels.at(-1);
    if (last === undefined || (last.present && !last.leaf)) return "in tables that the second stage does not map yet";
    const { level, present } = last;
    const bytes = LEVEL_BYTES[level];
    if (!present) absent += (Math.min(until, la + bytes) - la) / PAGE_SIZE;
    else bySize.set(bytes, (bySize.get(bytes) ?? 0) + 1);
    la += bytes - (la % bytes);
  }
  const present = [...bySize].map(([bytes, count]) => `${count} of ${bytes / 1024} KiB`);
  const counted = until < end ? ` (of the first ${PAGES_MAX} pages)` : "";
  return `${present.length === 0 ? "none" : present.join(", ")}; pages without: ${absent}${counted}`;
}
