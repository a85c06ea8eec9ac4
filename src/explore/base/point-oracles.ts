/**
 * What is looked at where something is about to be used again: nothing that a CPU has cached may lead to frames or page tables
 * that are given back, unless it is flushed before it is used, nor may anything be cached of an address range that is free again.
 */
import type { Cpu } from "../../../arch/index.ts";
import {
  Contexts,
  NO_EVENTS,
  POINT_FREES_FRAMES,
  POINT_FREES_HOST_PAGES,
  POINT_FREES_TABLES,
  UserSpaces,
  type VmallocEvents,
} from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { OracleFailure } from "./failure.ts";
import { flushesBeforeUse, lookAtHostPages, tablesOf, translationsOf } from "./guest-oracles.ts";

/** The oracles of one machine. */
export class PointOracles {
  private readonly kernel: Kernel;

  constructor(kernel: Kernel) {
    this.kernel = kernel;
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
    const contexts = new Contexts(mm, []);
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
    const contexts = new Contexts(this.kernel.mm, []);
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
    const contexts = new Contexts(mm, []);
    const freed = new Set(tables.map(({ frame }) => frame));
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
}
