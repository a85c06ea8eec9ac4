/**
 * The kernel's line about an allocation that failed (`warn_alloc`): who asked, what was asked for, with which flags, and which
 * NUMA nodes were allowed. Not its rate limit of one line in ten seconds, and not the stack and memory dumps that follow it.
 */
import { __GFP_HIGHMEM, __GFP_NOWARN, GFP_DMA_ZONE, GFP_DMA32_ZONE } from "../lib/gfp.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/** Characters of a thread's name that the kernel keeps (`TASK_COMM_LEN` less its end). */
const COMM_CHARACTERS = 15;

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

/** Prints that `what` failed, unless `gfp` says not to. */
export function warnAlloc(state: Vmalloc, gfp: number, what: string): void {
  if ((gfp & __GFP_NOWARN) !== 0) return;
  const { numaNodes } = state.pages;
  const mems = numaNodes === 1 ? "0" : `0-${numaNodes - 1}`;
  const mode = `mode:${hex(gfp)}(${formatGfp(gfp)})`;
  state.log.print(`${currentComm(state)}: ${what}, ${mode}, nodemask=(null),cpuset=/,mems_allowed=${mems}`);
}

/** The flags with which the pages of an area are allocated: from any zone unless a low one was asked for. */
export function areaPagesGfp(gfp: number): number {
  return (gfp & (GFP_DMA_ZONE | GFP_DMA32_ZONE)) === 0 ? gfp | __GFP_HIGHMEM : gfp;
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

/** The name of the current thread (`current->comm`); where there is none, the idle thread's. */
export function currentComm({ loop }: Vmalloc): string {
  return (loop.currentThread?.name ?? `swapper/${loop.currentCpu}`).slice(0, COMM_CHARACTERS);
}

/** `%#x` */
function hex(value: number): string {
  return value === 0 ? "0" : `0x${(value >>> 0).toString(16)}`;
}
