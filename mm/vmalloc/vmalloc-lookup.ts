/** Questions about addresses: `is_vmalloc_addr`, `vmalloc_to_page`, `vmalloc_dump_obj`, `vmalloc_nr_pages`. */
import { formatLinearAddress, PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { alignUp } from "../lib/align.ts";
import { VMALLOC_END, VMALLOC_START } from "../lib/memory-layout.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/** Whether an address lies in the vmalloc range, mapped or not (`is_vmalloc_addr`). */
export function isVmallocAddr(address: number): boolean {
  return address >= VMALLOC_START && address < VMALLOC_END;
}

/**
 * The frame that the page tables name for an address, or -1 where nothing is mapped (`vmalloc_to_pfn`). Within a large
 * page it is the frame of the 4 KiB piece.
 */
export function vmallocToPfn({ tables }: Vmalloc, address: number): number {
  return tables.cursor.frameAt(address);
}

/**
 * The page behind an address, by the number of its frame (a `struct page` has no other name here), or 0 (NULL) where nothing is
 * mapped or what is mapped is no memory (`vmalloc_to_page`).
 */
export function vmallocToPage(state: Vmalloc, address: number): number {
  const frame = vmallocToPfn(state, address);
  return frame > 0 && state.tables.memory.has(frame) ? frame : 0;
}

/** Pages that vmalloc allocated and still holds (`vmalloc_nr_pages`). */
export function vmallocNrPages(state: Vmalloc): number {
  return state.nrVmallocPages;
}

/**
 * What the kernel says of an object in vmalloc space when it finds it in a bad state (`vmalloc_dump_obj`), or null when
 * the object is in no such area or the area's lock is held.
 */
export function vmallocDumpObj(state: Vmalloc, object: number): string | null {
  const { areas, vms } = state;
  const address = alignUp(object, PAGE_SIZE);
  const node = state.addrToNode(address);
  if (node.busyLock.isHeld) return null;
  // The kernel tries to take the lock; here nothing can come between this look and the answer.
  const area = node.busy.tree.__findVmapArea(address);
  const vm = area === 0 ? 0 : areas.vmOf(area);
  if (vm === 0) return null;
  const start = formatLinearAddress(vms.addr[vm]);
  return ` ${vms.nrPages[2 * vm]}-page vmalloc region starting at ${start} allocated at ${vms.callerOf(vm)}`;
}
