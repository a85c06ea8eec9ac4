/** How far a move in a run goes: one stride, or to a breakpoint. */

/** How far a step goes: a CPU's turn (or a story's step), the next event of vmalloc, call of the kernel or interrupt. */
export const STRIDES = ["step", "event", "call", "ipi"] as const;
export type Stride = (typeof STRIDES)[number];

/**
 * What a run can stop at: a page fault, a use of a translation that the page tables do not have any more, an access to the page of an
 * address, a purge, a flush, a warning of the kernel.
 */
export const BREAKPOINTS = ["fault", "stale use", "touch", "purge", "flush", "warning", "end"] as const;
export type Breakpoint = (typeof BREAKPOINTS)[number];
