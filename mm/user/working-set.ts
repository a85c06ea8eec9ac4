/**
 * The kernel's own memory that a system call uses: text, stack, per-CPU data, structures of the process. Its translations are in the TLBs like
 * others, and flushes take them away: INVLPG all of what the paging-structure caches hold, in a guest with fractured pages everything (Intel
 * SDM vol. 3A, 4.10.4.1). Whoever flushes page by page pays for that in the loop itself, and again on the way back to user mode.
 *
 * Without a working set (the normal case) the kernel's costs stand for memory that is always translated. With one, the paths below touch
 * what the sources of Linux 6.12 touch there: a piece of text for each source file that the path runs through, a page for each structure.
 */
import { PAGE_SIZE, PMD_SIZE } from "../../arch/isa/linear-address.ts";
import { PTE_GLOBAL, PTE_PAGE_SIZE } from "../../arch/isa/pte.ts";
import { FRAME_CALLER } from "../frames/frame-uses.ts";
import type { KernelPath } from "../kernel/kernel-paths.ts";
import type { KernelMm } from "../kernel-mm.ts";
import { GFP_KERNEL } from "../lib/gfp.ts";
import { CPU_ENTRY_AREA, KERNEL_TEXT } from "../lib/memory-layout.ts";
import { NotEnoughMemory } from "../lib/not-enough-memory.ts";
import { directMapAddress } from "../page-tables/direct-map.ts";
import { PAGE_KERNEL, PAGE_KERNEL_EXEC } from "../page-tables/protection.ts";

/** Source files by folder, as the kernel is linked: a folder's text is in a page of 2 MiB of its own. */
const TEXT_FOLDERS = [
  ["entry_64.S", "common.c", "syscall_64.c"],
  ["tlb.c", "fault.c"],
  ["rwsem.c"],
  [
    "mprotect.c",
    "madvise.c",
    "vma.c",
    "memory.c",
    "mmu_gather.c",
    "mmap.c",
    "pgtable-generic.c",
    "swap.c",
    "rmap.c",
    "mempolicy.c",
    "page_alloc.c",
    "page_alloc.c, freeing",
    "vmstat.c",
    "memcontrol.c",
  ],
  ["maple_tree.c"],
  ["kernel/entry/common.c"],
] as const;
/** How far apart the pieces of text of a folder's files lie. */
const FILE_BYTES = 16 * PAGE_SIZE;

/** Structures in the direct map, a page each. */
const DATA = [
  "per-CPU data",
  "cpu_tss_rw",
  "entry stack",
  "task_struct",
  "mm_struct",
  "maple_node",
  "vm_area_struct",
  "PGD page",
  "PUD page",
  "PMD page",
  "PTE page",
  "struct page of the PTE page",
  "struct page",
  "zonelist",
  "zone",
  "pageblock flags",
  "gather's batch",
  "lruvec",
  "mem_cgroup",
  "read-mostly data",
] as const;

type Touched = (typeof TEXT_FOLDERS)[number][number] | (typeof DATA)[number] | "stack";

/** What each path touches, in this order. */
const PATHS: Readonly<Record<KernelPath, readonly Touched[]>> = {
  // The user's stack pointer is put into the TSS on the way in; the way out leads over the entry stack.
  entry: ["entry_64.S", "cpu_tss_rw", "per-CPU data", "stack", "common.c", "syscall_64.c", "task_struct"],
  exit: [
    "common.c",
    "kernel/entry/common.c",
    "task_struct",
    "entry_64.S",
    "stack",
    "cpu_tss_rw",
    "entry stack",
    "per-CPU data",
  ],
  fault: [
    "fault.c",
    "mm_struct",
    "maple_tree.c",
    "maple_node",
    "vm_area_struct",
    "memory.c",
    "mempolicy.c",
    "page_alloc.c",
    "zonelist",
    "zone",
    "per-CPU data",
    "struct page",
    "rmap.c",
    "swap.c",
  ],
  // PageAnonExclusive is asked before an entry is made writable.
  mprotect: [
    "mprotect.c",
    "rwsem.c",
    "mm_struct",
    "maple_tree.c",
    "maple_node",
    "vm_area_struct",
    "vma.c",
    "struct page",
  ],
  "mprotect end": ["mprotect.c", "vm_area_struct", "rwsem.c", "mm_struct"],
  madvise: [
    "madvise.c",
    "rwsem.c",
    "mm_struct",
    "mmap.c",
    "maple_tree.c",
    "maple_node",
    "vm_area_struct",
    "mmu_gather.c",
  ],
  munmap: ["vma.c", "rwsem.c", "mm_struct", "maple_tree.c", "maple_node", "vm_area_struct", "mmu_gather.c"],
  // By software, from the top: the PTE page's lock and counts are in its struct page (__pte_offset_map_lock).
  "page walk": ["PGD page", "PUD page", "PMD page", "pgtable-generic.c", "struct page of the PTE page", "PTE page"],
  unmap: ["memory.c"],
  zap: ["rmap.c", "struct page"],
  "batch taken": ["mempolicy.c", "page_alloc.c", "zonelist", "zone", "per-CPU data", "struct page", "gather's batch"],
  "batch freed": ["page_alloc.c, freeing", "struct page", "pageblock flags", "zone", "per-CPU data"],
  "zap end": ["mmu_gather.c", "swap.c", "struct page"],
  "lru add": ["swap.c", "per-CPU data", "lruvec", "struct page", "vmstat.c"],
  "pages freed": [
    "lruvec",
    "struct page",
    "vmstat.c",
    "page_alloc.c, freeing",
    "pageblock flags",
    "zone",
    "per-CPU data",
  ],
  memcg: ["memcontrol.c", "mem_cgroup"],
  "unmap end": ["mmu_gather.c", "rwsem.c", "mm_struct"],
  // tlb_single_page_flush_ceiling is read, the mask and generation of the address space are written.
  flush: ["tlb.c", "read-mostly data", "mm_struct", "per-CPU data", "stack"],
  // The loop of flush_tlb_func: its text, the call's return address, flush_tlb_info.
  "flush page": ["tlb.c", "stack", "per-CPU data"],
};

/** The working set of every CPU: text is shared, the rest is each CPU's own. */
export class WorkingSet {
  private readonly kernel: KernelMm;
  private readonly text = new Map<Touched, number>();
  /** By CPU. */
  private readonly data: Map<Touched, number>[];

  /** Maps it and has all paths use it from now on. @throws NotEnoughMemory */
  constructor(kernel: KernelMm) {
    this.kernel = kernel;
    const { length: cpus } = kernel.machine.cpus;
    kernel.ownRanges.push({ start: KERNEL_TEXT, end: KERNEL_TEXT + TEXT_FOLDERS.length * PMD_SIZE });
    kernel.ownRanges.push({ start: CPU_ENTRY_AREA, end: CPU_ENTRY_AREA + cpus * PMD_SIZE });
    TEXT_FOLDERS.forEach((files, folder) => {
      const la = KERNEL_TEXT + folder * PMD_SIZE;
      this.mapText(la);
      files.forEach((file, i) => {
        this.text.set(file, la + i * FILE_BYTES);
      });
    });
    this.data = kernel.machine.cpus.map(({ id }) => this.dataOf(id));
    kernel.usePath = (path) => this.use(path);
    kernel.flushing.userMode.usePath = kernel.usePath;
  }

  private use(path: KernelPath): void {
    const { cpus, loop } = this.kernel.machine;
    const { [loop.currentCpu]: cpu } = cpus;
    const data = this.data[loop.currentCpu];
    for (const what of PATHS[path]) {
      const text = this.text.get(what);
      if (text === undefined) cpu.touch(data.get(what) as number);
      else cpu.fetch(text, 1);
    }
  }

  private mapText(la: number): void {
    const { pages, tables, loop } = this.kernel;
    const frame = pages.allocPages(loop.currentCpu, 9, FRAME_CALLER, GFP_KERNEL);
    if (frame === 0 || !tables.cursor.make(la, 2)) throw new NotEnoughMemory("no memory for the kernel's text");
    tables.cursor.writeLeaf(frame, this.masked(PAGE_KERNEL_EXEC.low) | PTE_PAGE_SIZE, PAGE_KERNEL_EXEC.high);
  }

  /** Stacks are mapped by pages of 4 KiB (CONFIG_VMAP_STACK), all else is in the direct map. */
  private dataOf(cpu: number): Map<Touched, number> {
    const { tables } = this.kernel;
    const data = new Map<Touched, number>(DATA.map((what) => [what, directMapAddress(this.frame() * PAGE_SIZE)]));
    const la = CPU_ENTRY_AREA + cpu * PMD_SIZE;
    if (!tables.cursor.make(la, 1)) throw new NotEnoughMemory("no memory for the kernel's stacks");
    tables.cursor.writeLeaf(this.frame(), this.masked(PAGE_KERNEL.low), PAGE_KERNEL.high);
    return data.set("stack", la);
  }

  private masked(low: number): number {
    return (this.kernel.kernelPteMask & PTE_GLOBAL) === 0 ? low & ~PTE_GLOBAL : low;
  }

  private frame(): number {
    const { pages, loop } = this.kernel;
    const frame = pages.allocPages(loop.currentCpu, 0, FRAME_CALLER, GFP_KERNEL);
    if (frame === 0) throw new NotEnoughMemory("no memory for the kernel's own data");
    return frame;
  }
}
