/** Mutants that tests once did not notice: each is what it makes of a file, and the test that must fail with it. */

/** One changed place of a file. */
export interface PlantedMutant {
  /** What the mutated code gets wrong. */
  readonly name: string;
  readonly file: string;
  /** A text that the file has once. */
  readonly search: string;
  readonly replacement: string;
  /** The file of tests that must notice it. */
  readonly test: string;
}

/** All of them. */
export const PLANTED_MUTANTS: readonly PlantedMutant[] = [
  {
    name: "a leaf of 1 GiB on a CPU without such pages",
    file: "arch/isa/paging-mode.ts",
    search: "reservedLow[11] = registers.page1g ? 0x3fff_e000 : PTE_PAGE_SIZE;",
    replacement: "reservedLow[11] = 0x3fff_e000;",
    test: "test/arch/isa/page-faults.test.ts",
  },
  {
    name: "the walk makes G count while CR4.PGE = 0",
    file: "arch/walk/page-walk.ts",
    search: "const global = globalPages && (low",
    replacement: "const global = (low",
    test: "test/arch/tlb/global-pages.test.ts",
  },
  {
    name: "INVLPGB with a stride of 2 MiB goes on by 4 KiB",
    file: "arch/cpu/invalidations.ts",
    search: ": (la + i * strideBytes) % LINEAR_SPACE_BYTES;",
    replacement: ": (la + i * 4096) % LINEAR_SPACE_BYTES;",
    test: "test/arch/cpu/invalidation.test.ts",
  },
  {
    name: "INVLPGB's bit for 2 MiB is not read",
    file: "arch/cpu/invlpgb-operands.ts",
    search: "strideBytes: ecx >= INVLPGB_2M ? PMD_SIZE : PAGE_SIZE,",
    replacement: "strideBytes: PAGE_SIZE,",
    test: "test/arch/cpu/invalidation.test.ts",
  },
  {
    name: "TLBSYNC waits for nothing",
    file: "arch/cpu/invalidations.ts",
    search: "    this.pending.push(issued);\n",
    replacement: "",
    test: "test/arch/cpu/invalidation.test.ts",
  },
  {
    name: "TLBSYNC waits again for what was done",
    file: "arch/cpu/invalidations.ts",
    search: "    this.pending = [];\n  }",
    replacement: "  }",
    test: "test/arch/cpu/invalidation.test.ts",
  },
  {
    name: "TLBSYNC waits for the last INVLPGB only",
    file: "arch/cpu/invalidations.ts",
    search: "for (const issued of this.pending) carryOut",
    replacement: "for (const issued of this.pending.slice(-1)) carryOut",
    test: "test/arch/cpu/invalidation.test.ts",
  },
  {
    name: "vread reads what is mapped in a sparse area",
    file: "mm/vmalloc/vread.ts",
    search: "(vms.flags[vm] & (VM_IOREMAP | VM_SPARSE)) !== 0",
    replacement: "(vms.flags[vm] & VM_IOREMAP) !== 0",
    test: "test/mm/vmalloc/vread.test.ts",
  },
  {
    name: "vread goes on after the receiver took less",
    file: "mm/vmalloc/vread.ts",
    search: "this.leftBytes = took < wanted ? 0 : this.leftBytes - took;",
    replacement: "this.leftBytes -= took;",
    test: "test/mm/vmalloc/vread.test.ts",
  },
  {
    name: "the policy deferred puts the initiator's own flush off",
    file: "mm/flush/flush-policy.ts",
    search: "if (cpu === loop.currentCpu || !userMode.canDefer(cpu)) {",
    replacement: "if (!userMode.canDefer(cpu)) {",
    test: "test/mm/flush/flush-policy.test.ts",
  },
  {
    name: "a vmap block that serves another CPU by now is used after waiting for its lock",
    file: "mm/vmalloc/vmap-block.ts",
    search: "if (blocks.cpu[block] !== cpu || !blocks.isQueued(block) ||",
    replacement: "if (!blocks.isQueued(block) ||",
    test: "test/mm/vmalloc/vmap-block.test.ts",
  },
  {
    name: "a vmap block that was purged is used after waiting for its lock",
    file: "mm/vmalloc/vmap-block.ts",
    search: "if (blocks.cpu[block] !== cpu || !blocks.isQueued(block) || blocks.free[block] < 1 << order) {",
    replacement: "if (blocks.free[block] < 1 << order) {",
    test: "test/mm/vmalloc/vmap-block.test.ts",
  },
  {
    name: "a vmap block that is full by now is used after waiting for its lock",
    file: "mm/vmalloc/vmap-block.ts",
    search: "|| !blocks.isQueued(block) || blocks.free[block] < 1 << order) {",
    replacement: "|| !blocks.isQueued(block)) {",
    test: "test/mm/vmalloc/vmap-block.test.ts",
  },
  {
    name: "an unmap's size rounds into pages that are in use",
    file: "mm/vmalloc/vmap-block.ts",
    search:
      "blocks.countUsed(block, first, pages) === pages &&\n    blocks.countUsed(block, first + pages, count - pages) === 0;",
    replacement: "blocks.countUsed(block, first, pages) === pages;",
    test: "test/mm/vmalloc/vmap-block.test.ts",
  },
  {
    name: "an exact window with an alignment is searched as any other",
    file: "mm/vmalloc/areas/free-tree.ts",
    search: "align > PAGE_SIZE && vend - vstart !== sizeBytes;",
    replacement: "align > PAGE_SIZE;",
    test: "test/mm/vmalloc/areas/free-tree.test.ts",
  },
  {
    name: "subtree_max_size stays after the end of a gap was clipped",
    file: "mm/vmalloc/areas/free-tree.ts",
    search: "areas.end[gap] = address;\n        this.lines?.write(gap);\n        this.augmentTreePropagateFrom(gap);",
    replacement: "areas.end[gap] = address;\n        this.lines?.write(gap);",
    test: "test/mm/vmalloc/areas/free-tree.test.ts",
  },
  {
    name: "subtree_max_size stays after the start of a gap was clipped",
    file: "mm/vmalloc/areas/free-tree.ts",
    search: "areas.start[gap] = end;\n        this.lines?.write(gap);\n        this.augmentTreePropagateFrom(gap);",
    replacement: "areas.start[gap] = end;\n        this.lines?.write(gap);",
    test: "test/mm/vmalloc/areas/free-tree.test.ts",
  },
  {
    name: "acknowledgements are seen all at once",
    file: "mm/kernel/smp.ts",
    search: "seen = Math.max(seen, ackAtCycles[i]) + loop.lines.transferCycles[distance];",
    replacement: "seen = Math.max(seen, ackAtCycles[i] + loop.lines.transferCycles[distance]);",
    test: "test/mm/kernel/smp.test.ts",
  },
  {
    name: "the shorthand mode is none",
    file: "mm/kernel/smp.ts",
    search: 'const toAll = destinationMode === "shorthand" && targets.length === loop.cpus - 1;',
    replacement: "const toAll = false;",
    test: "test/mm/kernel/smp.test.ts",
  },
  {
    name: "the shorthand reaches some of the CPUs",
    file: "mm/kernel/smp.ts",
    search: 'destinationMode === "shorthand" && targets.length === loop.cpus - 1;',
    replacement: 'destinationMode === "shorthand";',
    test: "test/mm/kernel/smp.test.ts",
  },
  {
    name: "time of a flush that was put off is booked to the interrupt that ends it",
    file: "mm/kernel/smp.ts",
    search: "began += this.onKernelEntry(cpu);",
    replacement: "this.onKernelEntry(cpu);",
    test: "test/mm/kernel/smp.test.ts",
  },
  {
    name: "time of a flush at the end of an interrupt is booked to the interrupt",
    file: "mm/kernel/smp.ts",
    search: "began += this.onKernelExit?.(cpu) ?? 0;",
    replacement: "this.onKernelExit?.(cpu);",
    test: "test/mm/user/user-flush.test.ts",
  },
  {
    name: "tryTake takes a lock that another CPU could take before",
    file: "mm/kernel/lock.ts",
    search: "if (this.held || this.loop.mustYield(this)) return false;",
    replacement: "if (this.held) return false;",
    test: "test/mm/kernel/lock.test.ts",
  },
  {
    name: "a lock is handed over without the transfer of its cache line",
    file: "mm/kernel/lock.ts",
    search: "this.loop.wake(heir, nowCycles + cycles);",
    replacement: "this.loop.wake(heir, nowCycles);",
    test: "test/mm/kernel/lock.test.ts",
  },
];
