/**
 * What is looked at where something is about to be used again: nothing that a CPU has cached may lead to frames or page tables
 * that are given back, unless it is flushed before it is used, nor may anything be cached of an address range that is free again. And
 * what others find who come in between: an area that is shown to them is complete.
 */
import { type Cpu, ENTRIES_PER_TABLE, PAGE_SIZE, PTE_PRESENT } from "../../../arch/index.ts";
import {
  Contexts,
  NO_EVENTS,
  PageTableCursor,
  POINT_FREES_FRAMES,
  POINT_FREES_HOST_PAGES,
  POINT_FREES_TABLES,
  UserSpaces,
  VM_ALLOC,
  VM_UNINITIALIZED,
  type VmallocEvents,
} from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { OracleFailure } from "./failure.ts";
import { flushesBeforeUse, lookAtHostPages, tablesOf, translationsOf } from "./guest-oracles.ts";

/** The oracles of one machine. */
export class PointOracles {
  private readonly kernel: Kernel;
  /** One of its own: the kernel's stands where code under way has left it. */
  private readonly cursor: PageTableCursor;

  constructor(kernel: Kernel) {
    this.kernel = kernel;
    this.cursor = new PageTableCursor(kernel.vm.tables);
  }

  /** Looks at what happens to address ranges from now on; what `also` observes is told as before. */
  watchRanges(also: VmallocEvents = NO_EVENTS): void {
    const { vm } = this.kernel;
    vm.events = {
      ...also,
      merge: (start, end) => {
        also.merge(start, end);
        this.lookAtRange(start, end);
      },
      poolAdd: (node, start, end, length) => {
        also.poolAdd(node, start, end, length);
        this.lookAtRange(start, end);
      },
    };
  }

  /** Looks at what happens at a point. @throws OracleFailure when it must not */
  look(at: string, subject: unknown): void {
    if (at === POINT_FREES_FRAMES) this.lookAtFrames(subject as Iterable<number>);
    else if (at === POINT_FREES_TABLES) this.lookAtTables(subject as readonly { readonly frame: number }[]);
    else if (at === POINT_FREES_HOST_PAGES) lookAtHostPages(this.kernel, subject as readonly number[]);
  }

  /**
   * Looks at what another CPU finds that comes in here: who reads areas (/proc/vmallocinfo, vread) takes one of vmalloc that is in a busy
   * tree, and complete by its flags, for mapped.
   */
  lookAtAreas(): void {
    const { vm } = this.kernel;
    const { areas, vms } = vm;
    for (const { busy } of vm.nodes) {
      const { head } = busy.tree;
      for (let area = areas.nextOf(head); area !== head; area = areas.nextOf(area)) {
        const owner = areas.vmOf(area);
        // Per-CPU chunks have areas too, and map their pages themselves.
        if (owner === 0 || vms.nrPages[2 * owner] === 0) continue;
        if ((vms.flags[2 * owner] & (VM_ALLOC | VM_UNINITIALIZED)) !== VM_ALLOC) continue;
        this.lookAtPage(owner, 0);
        // A tail is unmapped before the area is known to be shorter.
        if (!vm.version.vreallocFreesTail) this.lookAtPage(owner, vms.nrPages[2 * owner] - 1);
      }
    }
  }

  private lookAtPage(owner: number, page: number): void {
    const { vms, pageArrays } = this.kernel.vm;
    const address = vms.addr[owner] + page * PAGE_SIZE;
    if (this.cursor.frameAt(address) === pageArrays.frames[vms.pages[2 * owner] + page]) return;
    throw new OracleFailure(
      "inconsistent state",
      `the area at 0x${vms.addr[owner].toString(16)} is shown as complete, but its page ${page} is not mapped`,
    );
  }

  /**
   * Whether a CPU is on its way from one address space to another, with interrupts off. Linux 6.12 takes it out of mm_cpumask at the
   * beginning, so that it is not told of what is freed from then on until it writes CR3 (docs/explore.md).
   */
  private isSwitching(cpu: number): boolean {
    const { userSpaces } = this.kernel.mm;
    return userSpaces instanceof UserSpaces && userSpaces.tlbStates[cpu].isSwitching;
  }

  /** Whether nothing that a CPU has cached is used before it is flushed, or only by speculation on its way. */
  private isExcused(cpu: Cpu): boolean {
    return this.isSwitching(cpu.id) || flushesBeforeUse(this.kernel, cpu);
  }

  private lookAtFrames(frames: Iterable<number>): void {
    const { mm, machine } = this.kernel;
    const contexts = new Contexts(mm);
    const freed = new Set(frames);
    for (const cpu of machine.cpus) {
      if (this.isExcused(cpu)) continue;
      for (const { pcid, la, frame, tlb } of translationsOf(this.kernel, cpu)) {
        if (!freed.has(frame) || (pcid !== null && contexts.tablesOf(cpu, pcid, la) === null)) continue;
        throw new OracleFailure(
          "stale translation",
          `frame 0x${frame.toString(16)} is given back while CPU ${cpu.id}'s ${tlb} still translates to it, and no flush is owed`,
        );
      }
    }
  }

  private lookAtRange(start: number, end: number): void {
    const { userMode } = this.kernel.vm.flushing;
    const contexts = new Contexts(this.kernel.mm);
    for (const cpu of this.kernel.machine.cpus) {
      // In user mode it uses no kernel addresses, and it flushes before it does again.
      if (userMode.owes(cpu.id) || flushesBeforeUse(this.kernel, cpu)) continue;
      for (const { pcid, la, sizeBytes, tlb } of translationsOf(this.kernel, cpu)) {
        if (la >= end || la + sizeBytes <= start) continue;
        // With page-table isolation, under a PCID that is flushed when it is next loaded.
        if (pcid !== null && contexts.tablesOf(cpu, pcid, la) === null) continue;
        throw new OracleFailure(
          "stale translation",
          `[0x${start.toString(16)}, 0x${end.toString(16)}) is free again while CPU ${cpu.id}'s ${tlb} translates 0x${la.toString(16)}`,
        );
      }
    }
  }

  /** A CPU may walk through what its paging-structure caches hold under the PCID that is loaded at any time, also in lazy mode. */
  private lookAtTables(tables: readonly { readonly frame: number }[]): void {
    const { mm, machine } = this.kernel;
    const contexts = new Contexts(mm);
    const freed = new Set(tables.map(({ frame }) => frame));
    this.lookAtUserRoots();
    for (const cpu of machine.cpus) {
      if (this.isExcused(cpu)) continue;
      const loaded = cpu.mmu.mode.pcid;
      for (const { pcid, la, frame, structure } of tablesOf(this.kernel, cpu)) {
        if (!freed.has(frame) || (pcid !== loaded && contexts.tablesOf(cpu, pcid, la) === null)) continue;
        throw new OracleFailure(
          "stale translation",
          `the page table in frame 0x${frame.toString(16)} is given back while CPU ${cpu.id}'s ${structure} still leads to it, and no flush is owed`,
        );
      }
    }
  }

  /** With page-table isolation: a CPU may be in user mode, and walk from the top table that it has there, at any time. */
  private lookAtUserRoots(): void {
    const { userSpaces, machine } = this.kernel.mm;
    if (!(userSpaces instanceof UserSpaces)) return;
    const isPresent = (root: number, index: number): boolean =>
      (machine.memory.readWord(root, 2 * index) & PTE_PRESENT) !== 0;
    for (const { userRootFrame, tables } of new Set(userSpaces.loaded)) {
      if (userRootFrame === 0) continue;
      for (let index = 0; index < ENTRIES_PER_TABLE / 2; index++) {
        if (!isPresent(userRootFrame, index) || isPresent(tables.rootFrame, index)) continue;
        throw new OracleFailure(
          "stale translation",
          `page tables are given back while entry ${index} of the top table of user mode still names one, as the process's own does no more`,
        );
      }
    }
  }
}
