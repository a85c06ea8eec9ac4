/** Entries of user pages, and ranges of user addresses. */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_RW, PTE_USER } from "../../arch/isa/pte.ts";
import { USER_END } from "../lib/memory-layout.ts";

/** Attributes of a page that others may have too: it may be read. */
export const SHARED_PAGE = PTE_PRESENT | PTE_USER | PTE_ACCESSED;
/** Attributes of a page that is this address space's alone, and is about to be written. */
export const USER_PAGE = SHARED_PAGE | PTE_RW | PTE_DIRTY;

/** Whether [start, end) is whole pages of the user half, at least one. */
export function isUserRange(start: number, end: number): boolean {
  return start >= 0 && end <= USER_END && start < end && start % PAGE_SIZE === 0 && end % PAGE_SIZE === 0;
}
