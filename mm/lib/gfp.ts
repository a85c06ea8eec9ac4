/** Allocation flags that matter here (`include/linux/gfp_types.h`), with the values of Linux 6.12. */

/** Only from memory below 16 MiB. */
export const GFP_DMA_ZONE = 0x01;
/** From high memory as well; x86-64 has none, but the flag is given. */
export const __GFP_HIGHMEM = 0x02;
/** Only from memory below 4 GiB. */
export const GFP_DMA32_ZONE = 0x04;
/** Fill with zeros. */
export const __GFP_ZERO = 0x100;
/** May reclaim, and so may sleep. */
export const __GFP_DIRECT_RECLAIM = 0x400;
/** Wakes `kswapd` when memory is short. */
export const __GFP_KSWAPD_RECLAIM = 0x800;
/** Must not fail: is tried again for as long as it takes. Ignores fault injection, as in the kernel. */
export const __GFP_NOFAIL = 0x8000;
/** Do not warn on failure. */
export const __GFP_NOWARN = 0x2000;
/** Charged to the memory cgroup of the task, where there is one. */
export const __GFP_ACCOUNT = 0x40_0000;
/** Only from the given node. */
export const __GFP_THISNODE = 0x200000;

/** Ordinary kernel allocation: may sleep. */
export const GFP_KERNEL = 0xcc0;
/** As `GFP_KERNEL`, and charged. Page tables of users are taken so (`GFP_PGTABLE_USER`). */
export const GFP_KERNEL_ACCOUNT = GFP_KERNEL + __GFP_ACCOUNT;
/** Must not sleep. */
export const GFP_NOWAIT = 0x2800;

/** Whether an allocation with these flags may sleep (`gfpflags_allow_blocking`). */
export function gfpflagsAllowBlocking(gfp: number): boolean {
  return (gfp & __GFP_DIRECT_RECLAIM) !== 0;
}

/** No NUMA node is preferred. */
export const NUMA_NO_NODE = -1;
