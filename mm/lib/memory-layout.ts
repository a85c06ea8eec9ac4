/** Where the parts of the kernel's address space lie: 4-level paging, no KASLR (`Documentation/arch/x86/x86_64/mm.rst`). */
import { LINEAR_SPACE_BYTES, UPPER_HALF } from "../../arch/isa/linear-address.ts";

/** One past the last user address (`TASK_SIZE_MAX` and its guard page). */
export const USER_END = UPPER_HALF;
/** Where the direct map of all memory begins (`PAGE_OFFSET`). */
export const PAGE_OFFSET = 0x8880_0000_0000;
/** First address of the vmalloc range. */
export const VMALLOC_START = 0xc900_0000_0000;
/** Last byte of the vmalloc range; used as an exclusive bound, as the kernel does. */
export const VMALLOC_END = 0xe8ff_ffff_ffff;
/** Where the array of `struct page` begins. */
export const VMEMMAP_START = 0xea00_0000_0000;
/** Where each CPU's part of the `cpu_entry_area` begins. */
export const CPU_ENTRY_AREA = 0xfe00_0000_0000;
/** Where the kernel's text begins, without KASLR. */
export const KERNEL_TEXT = 0xffff_8100_0000;
/** Where modules live. */
export const MODULES_VADDR = 0xffff_a000_0000;
/** One past the last address for modules. */
export const MODULES_END = 0xffff_ff00_0000;
/** The kernel's ULONG_MAX: the start of an empty range, the end of the address space. */
export const ADDRESS_MAX = LINEAR_SPACE_BYTES - 1;

/** A window of the address space: [start, end). */
export interface AddressRange {
  readonly start: number;
  readonly end: number;
}

/** The vmalloc range, where all calls look for room that name no other window. */
export const VMALLOC_RANGE: AddressRange = { start: VMALLOC_START, end: VMALLOC_END };

/** The modules' range. */
export const MODULES_RANGE: AddressRange = { start: MODULES_VADDR, end: MODULES_END };
