/** `remap_vmalloc_range`: vmalloc'ed memory in a user address space. */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { PTE_ACCESSED, PTE_PRESENT, PTE_RW, PTE_USER, PTE_XD_HIGH } from "../../arch/isa/pte.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { alignUp, isPageAligned } from "../lib/align.ts";
import { EBUSY, EFAULT, EINVAL } from "../lib/errno.ts";
import { USER_END } from "../lib/memory-layout.ts";
import type { PageTables } from "../page-tables/page-tables.ts";
import { VM_DMA_COHERENT, VM_USERMAP } from "./areas/vm-structs.ts";
import { findVmArea } from "./vm-area.ts";
import { vmallocToPage } from "./vmalloc-lookup.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/** Attributes of user pages: readable, writable, not executable (`PAGE_SHARED`). */
const USER_LOW = PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED;

/**
 * Maps `sizeBytes` bytes of a `vmallocUser` area, from page `pageOffset` on, at `userAddress` of `user`.
 * Each mapping is a further holder of its page: the page goes back to the allocator when the area and all mappings are gone.
 * @returns 0, or -EINVAL (not aligned, no area, not for users, beyond its end), -EFAULT (not in the user half), -EBUSY
 *   (something is mapped there), -ENOMEM; what was mapped stays, as the kernel leaves it to the caller's `munmap`
 */
export function* remapVmallocRange(
  state: Vmalloc,
  user: PageTables,
  userAddress: number,
  kernelAddress: number,
  pageOffset: number,
  sizeBytes: number,
): KernelCode<number> {
  if (!isPageAligned(userAddress) || !isPageAligned(kernelAddress)) return -EINVAL;
  const vm = yield* findVmArea(state, kernelAddress);
  if (vm === 0) return -EINVAL;
  const { vms } = state;
  if ((vms.flags[2 * vm] & (VM_USERMAP | VM_DMA_COHERENT)) === 0) return -EINVAL;
  const bytes = alignUp(sizeBytes, PAGE_SIZE);
  const offset = pageOffset * PAGE_SIZE;
  if (!(offset >= 0) || offset + bytes > vms.usableSizeBytes(vm)) return -EINVAL;
  const frame = new Uint32Array(1);
  for (let at = 0; at < bytes; at += PAGE_SIZE) {
    frame[0] = vmallocToPage(state, kernelAddress + offset + at);
    if (frame[0] === 0) return -EINVAL;
    const to = userAddress + at;
    if (to >= USER_END) return -EFAULT;
    if (isEntryInUse(user, to)) return -EBUSY;
    const result = user.vmapSmallPagesRangeNoflush(to, to + PAGE_SIZE, USER_LOW, PTE_XD_HIGH, frame, 0);
    if (result < 0) return result;
    state.pages.references.get(frame[0]);
  }
  return 0;
}

/** Whether the PTE for `la` is in use (`!pte_none`). */
function isEntryInUse({ cursor }: PageTables, la: number): boolean {
  return cursor.seek(la) === 1 && cursor.isInUse;
}
