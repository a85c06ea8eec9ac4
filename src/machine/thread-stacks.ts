/**
 * Kernel stacks in vmalloc space (`CONFIG_VMAP_STACK`; `alloc_thread_stack_node` of `kernel/fork.c`): most of the areas that a booted kernel has when
 * something else begins to allocate. A stack of 16 KiB with its guard page, aligned to 16 KiB, leaves 12 KiB free behind it, so that the tree of
 * gaps has about as many entries as there are threads, until smaller areas fill them.
 */
import { __GFP_ZERO, __vmallocNode, GFP_KERNEL, NUMA_NO_NODE, type Vmalloc } from "../../mm/index.ts";
import type { Kernel } from "./kernel.ts";

/** `THREAD_SIZE` and `THREAD_ALIGN` of x86-64, in bytes. */
export const THREAD_SIZE_BYTES = 16384;

/**
 * Allocates a kernel stack (`alloc_thread_stack_node`).
 * @returns a call whose value is its address, or 0 where there is no room
 */
export function allocThreadStackNode(vm: Vmalloc): ReturnType<typeof __vmallocNode> {
  const gfp = GFP_KERNEL | __GFP_ZERO;
  return __vmallocNode(vm, THREAD_SIZE_BYTES, THREAD_SIZE_BYTES, gfp, NUMA_NO_NODE, "copy_process+0x0/0x0");
}

/** Allocates the stacks of so many threads, one after the other on the CPU that the kernel's calls run on. */
export function allocThreadStacks(kernel: Kernel, threads: number): void {
  for (let i = 0; i < threads; i++) kernel.run(() => allocThreadStackNode(kernel.vm));
}
