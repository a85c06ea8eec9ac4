/**
 * The kernel's line about an allocation that failed (`warn_alloc`): who asked, what was asked for, with which flags, and which
 * NUMA nodes were allowed. Not its rate limit of one line in ten seconds, and not the stack and memory dumps that follow it.
 */
import type { EventLoop } from "../../arch/time/event-loop.ts";
import { currentComm } from "../kernel/current-comm.ts";
import { __GFP_NOWARN } from "../lib/gfp.ts";
import type { KernelLog } from "../lib/kernel-log.ts";
import type { PageAllocator } from "./page-allocator.ts";

/**
 * Names of allocation flags with their values in Linux 6.12, those of several flags first
 * (`include/trace/events/mmflags.h`, `include/linux/gfp_types.h`).
 */
const GFP_NAMES: readonly (readonly [name: string, mask: number])[] = [
  ["GFP_TRANSHUGE", 0x1c_24ca],
  ["GFP_TRANSHUGE_LIGHT", 0x1c_20ca],
  ["GFP_HIGHUSER_MOVABLE", 0x10_0cca],
  ["GFP_HIGHUSER", 0x10_0cc2],
  ["GFP_USER", 0x10_0cc0],
  ["GFP_KERNEL_ACCOUNT", 0x40_0cc0],
  ["GFP_KERNEL", 0xcc0],
  ["GFP_NOFS", 0xc40],
  ["GFP_ATOMIC", 0x820],
  ["GFP_NOIO", 0xc00],
  ["GFP_NOWAIT", 0x2800],
  ["GFP_DMA", 0x1],
  ["__GFP_HIGHMEM", 0x2],
  ["GFP_DMA32", 0x4],
  ["__GFP_HIGH", 0x20],
  ["__GFP_IO", 0x40],
  ["__GFP_FS", 0x80],
  ["__GFP_NOWARN", 0x2000],
  ["__GFP_RETRY_MAYFAIL", 0x4000],
  ["__GFP_NOFAIL", 0x8000],
  ["__GFP_NORETRY", 0x1_0000],
  ["__GFP_COMP", 0x4_0000],
  ["__GFP_ZERO", 0x100],
  ["__GFP_NOMEMALLOC", 0x8_0000],
  ["__GFP_MEMALLOC", 0x2_0000],
  ["__GFP_HARDWALL", 0x10_0000],
  ["__GFP_THISNODE", 0x20_0000],
  ["__GFP_RECLAIMABLE", 0x10],
  ["__GFP_MOVABLE", 0x8],
  ["__GFP_ACCOUNT", 0x40_0000],
  ["__GFP_WRITE", 0x1000],
  ["__GFP_RECLAIM", 0xc00],
  ["__GFP_DIRECT_RECLAIM", 0x400],
  ["__GFP_KSWAPD_RECLAIM", 0x800],
  ["__GFP_ZEROTAGS", 0x80_0000],
];

/** What the line is made from, and where it goes: a `KernelMm` has it. */
export interface WarnAllocContext {
  readonly loop: EventLoop;
  readonly pages: PageAllocator;
  readonly log: KernelLog;
}

/** Prints that `what` failed, unless `gfp` says not to. */
export function warnAlloc({ loop, pages, log }: WarnAllocContext, gfp: number, what: string): void {
  if ((gfp & __GFP_NOWARN) !== 0) return;
  const { numaNodes } = pages;
  const mems = numaNodes === 1 ? "0" : `0-${numaNodes - 1}`;
  const mode = `mode:${hex(gfp)}(${formatGfp(gfp)})`;
  log.print(`${currentComm(loop)}: ${what}, ${mode}, nodemask=(null),cpuset=/,mems_allowed=${mems}`);
}

/** Allocation flags by name (`%pGg`): `GFP_KERNEL|__GFP_ZERO`; what has no name follows as a number. */
export function formatGfp(gfp: number): string {
  const words: string[] = [];
  let left = gfp;
  for (const [name, mask] of GFP_NAMES) {
    if (left === 0) break;
    if ((left & mask) !== mask) continue;
    words.push(name);
    left &= ~mask;
  }
  if (left !== 0) words.push(hex(left));
  return words.join("|");
}

/** `%#x` */
function hex(value: number): string {
  return value === 0 ? "0" : `0x${(value >>> 0).toString(16)}`;
}
