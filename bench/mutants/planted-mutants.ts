/**
 * Mutants that tests once did not notice, and those of each invalidation of guests: each is what it makes of a file, and the test that
 * must fail with it.
 */

import { PLANTED_BY_SAMPLES } from "./planted-by-samples.ts";

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
  {
    name: "guests: INVEPT 1 leaves guest-physical mappings",
    file: "arch/cpu/virtualization.ts",
    search: "if (ofRoot.length > 0) this.physicalCaches?.dropGuest(ofRoot[0]);",
    replacement: "",
    test: "test/arch/tlb/guest-translations.test.ts",
  },
  {
    name: "guests: INVEPT 1 leaves combined mappings",
    file: "arch/cpu/virtualization.ts",
    search: "mmu.invalidateAll(ofRoot);",
    replacement: "",
    test: "test/arch/tlb/guest-translations.test.ts",
  },
  {
    name: "guests: INVEPT 2 leaves combined mappings",
    file: "arch/cpu/virtualization.ts",
    search: "mmu.invalidateAll(numbers.ofRoots());",
    replacement: "",
    test: "test/arch/tlb/guest-invalidations.test.ts",
  },
  {
    name: "guests: INVEPT 2 leaves guest-physical mappings",
    file: "arch/cpu/virtualization.ts",
    search: "this.physicalCaches?.clear();\n      return;",
    replacement: "return;",
    test: "test/arch/tlb/guest-invalidations.test.ts",
  },
  {
    name: "guests: INVVPID 0 does nothing",
    file: "arch/cpu/virtualization.ts",
    search: '"of the page", numbers.ofId(vpid));',
    replacement: '"of the page", []);',
    test: "test/arch/tlb/guest-translations.test.ts",
  },
  {
    name: "guests: INVVPID 1 leaves global translations",
    file: "arch/cpu/virtualization.ts",
    search: "else if (type === 1) mmu.invalidateAll(numbers.ofId(vpid));",
    replacement: "else if (type === 1) mmu.invalidateNonGlobal(numbers.ofId(vpid));",
    test: "test/arch/tlb/guest-translations.test.ts",
  },
  {
    name: "guests: INVVPID 2 leaves global translations",
    file: "arch/cpu/virtualization.ts",
    search: "mmu.invalidateAll(numbers.ofOtherIds());",
    replacement: "mmu.invalidateNonGlobal(numbers.ofOtherIds());",
    test: "test/arch/tlb/guest-translations.test.ts",
  },
  {
    name: "guests: INVVPID 3 does nothing",
    file: "arch/cpu/virtualization.ts",
    search: "else mmu.invalidateNonGlobal(numbers.ofId(vpid));",
    replacement: "else mmu.invalidateNonGlobal([]);",
    test: "test/arch/tlb/guest-invalidations.test.ts",
  },
  {
    name: "guests: TLB_CONTROL 3 leaves global translations",
    file: "arch/cpu/virtualization.ts",
    search: "mmu.invalidateAll([number]);",
    replacement: "mmu.invalidateNonGlobal([number]);",
    test: "test/arch/tlb/guest-translations.test.ts",
  },
  {
    name: "guests: TLB_CONTROL 7 removes global translations",
    file: "arch/cpu/virtualization.ts",
    search: "mmu.invalidateNonGlobal([number]);",
    replacement: "mmu.invalidateAll([number]);",
    test: "test/arch/tlb/guest-translations.test.ts",
  },
  {
    name: "guests: INVLPGA removes the host's translations",
    file: "arch/cpu/virtualization.ts",
    search: "registers.invlpgTableEntries, this.numbersOf(asid));",
    replacement: "registers.invlpgTableEntries, [0]);",
    test: "test/arch/tlb/guest-translations.test.ts",
  },
  {
    name: "guests: without a VPID a guest's translations stay",
    file: "arch/cpu/virtualization.ts",
    search: "this.mmu.invalidateAll([0, ...this.numbers.ofId(0)]);",
    replacement: "this.mmu.invalidateAll([0]);",
    test: "test/arch/tlb/guest-translations.test.ts",
  },
  {
    name: "guests: an EPT violation leaves guest-physical mappings",
    file: "arch/cpu/virtualization.ts",
    search: "walker.stage?.forget(walker.exitFrame);",
    replacement: "",
    test: "test/arch/tlb/guest-translations.test.ts",
  },
  {
    name: "guests: a guest's invalidations do not reach other roots",
    file: "arch/cpu/virtualization.ts",
    search: "const numbers = id === 0 ? [0, ...this.numbers.ofId(0)] : this.numbers.ofId(id);",
    replacement: "const numbers = [number];",
    test: "test/arch/tlb/guest-translations.test.ts",
  },
  {
    name: "guests: INVLPGB by a guest reaches the ASID that it gives",
    file: "arch/cpu/invalidations.ts",
    search: "{ ...decoded, asid: vcpu.id }",
    replacement: "decoded",
    test: "test/arch/tlb/guest-translations.test.ts",
  },
  {
    name: "guests: INVLPGB of an ASID is one of the host",
    file: "arch/cpu/invlpgb-operands.ts",
    search: "? null : edx & 0xffff",
    replacement: "? null : 0",
    test: "test/arch/tlb/guest-translations.test.ts",
  },
  {
    name: "guests: INVLPG leaves all but its page while pages are fractured",
    file: "arch/cpu/mmu.ts",
    search: "this.fractured.add(guest.number);",
    replacement: ";",
    test: "test/arch/tlb/guest-translations.test.ts",
  },
  {
    name: "guests: a combined entry is as large as the guest's page",
    file: "arch/walk/guest-walk.ts",
    search: "Math.min(guestSize, stage.size)",
    replacement: "guestSize",
    test: "test/arch/tlb/guest-translations.test.ts",
  },
  {
    name: "guests: a write through a cached entry sets no dirty flag of EPT",
    file: "arch/walk/guest-walk.ts",
    search: "(rights & second.SECOND_WRITE) !== 0 && stage.isDirty ?",
    replacement: "(rights & second.SECOND_WRITE) !== 0 ?",
    test: "test/arch/walk/guest-walk.test.ts",
  },
  {
    name: "guests: the second stage's refusal of reads is not cached",
    file: "arch/walk/guest-walk.ts",
    search: "((rights & second.SECOND_READ) !== 0 ? 0 : TR_NO_READ)",
    replacement: "0",
    test: "test/arch/walk/guest-walk.test.ts",
  },
  ...PLANTED_BY_SAMPLES,
];
