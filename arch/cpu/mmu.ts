/**
 * The memory-management unit of one CPU: TLBs, then a walk, then a fault; and the primitive invalidations that instructions
 * are made of. `Cpu` adds registers, instructions and the fast path for pages that the first level is known to hold.
 */

import { FastPath } from "../fast-path/fast-path.ts";
import { ACCESS_FETCH, type Access, TLB_KIND } from "../isa/access.ts";
import { PageFault } from "../isa/faults.ts";
import { linearAddressToBigInt, WIDE_PAGES } from "../isa/linear-address.ts";
import { PagingMode, RULE_WORDS } from "../isa/paging-mode.ts";
import { GLOBAL_CONTEXT, TR_SIZE_SHIFT } from "../isa/translation.ts";
import type { TableEntries, VendorRules } from "../isa/vendor.ts";
import type { PhysicalMemory } from "../memory/physical-memory.ts";
import type { Preset } from "../presets/preset.ts";
import {
  COUNT_BITS_SET,
  COUNT_FLUSH_FIRST,
  COUNT_FLUSH_SECOND,
  COUNT_PAGE_FAULT,
  COUNT_SECOND_LEVEL_HIT,
  COUNT_WALK,
  COUNT_WALK_CYCLES,
  COUNT_WALK_FAULT,
  COUNTERS,
} from "../time/perf-counters.ts";
import { COUNTERS_CELL, type CpuArrays, RULES_WORD } from "../tlb/cpu-arrays.ts";
import type { FlushAttribution } from "../tlb/flush-attribution.ts";
import { PagingStructureCaches } from "../tlb/paging-structure-caches.ts";
import { TlbHierarchy } from "../tlb/tlb-hierarchy.ts";
import { WalkCaches } from "../tlb/walk-caches.ts";
import { PageWalker, WALK_OK } from "../walk/page-walk.ts";
import { Pointers } from "./pointers.ts";

/** One CPU's unit. */
export class Mmu {
  /** Both levels of TLBs. */
  readonly tlbs: TlbHierarchy;
  /** The paging-structure caches. */
  readonly structures: PagingStructureCaches;
  /** The data caches as the page walker sees them. */
  readonly walkCaches: WalkCaches;
  /** The page walker. */
  readonly walker: PageWalker;
  /** What the control registers mean for paging. */
  readonly mode: PagingMode;
  /** The host's fast path for frequent accesses, which `translate` and changes of context tell of what it must know. */
  readonly fastPath: FastPath;
  /** Raw counts, indexed by `COUNT_*`. */
  readonly counts: Float64Array;
  /** The address of the last page fault (CR2), or its wide page, in which `faultOffset` has the offset. */
  faultAddress = 0;
  /** Offset of the last page fault in its wide page; 0 for an address of 48 bits. */
  faultOffset = 0;
  /** Which addresses the CPU accepts. */
  readonly pointers = new Pointers();
  /** Attributes refills to flushes; null while this is off. */
  attribution: FlushAttribution | null = null;

  private readonly cpu: number;
  /** Where the numbers of all these parts lie. */
  readonly arrays: CpuArrays;
  private readonly clockCycles: Float64Array;
  private readonly secondLevelHitCycles: number;
  private readonly walkCycles: number;
  private readonly setBitsCycles: number;
  private readonly pageFaultCycles: number;
  private readonly confirmsPageFaults: boolean;

  constructor(
    cpu: number,
    clockCycles: Float64Array,
    memory: PhysicalMemory,
    preset: Preset,
    vendor: VendorRules,
    arrays: CpuArrays,
  ) {
    this.cpu = cpu;
    this.confirmsPageFaults = vendor.confirmsPageFaults;
    this.clockCycles = clockCycles;
    this.arrays = arrays;
    this.counts = arrays.cells.subarray(COUNTERS_CELL, COUNTERS_CELL + COUNTERS);
    this.mode = new PagingMode(arrays.words.subarray(RULES_WORD, RULES_WORD + RULE_WORDS));
    this.tlbs = new TlbHierarchy(preset, arrays);
    this.structures = new PagingStructureCaches(preset, arrays, this.tlbs);
    this.walkCaches = new WalkCaches(preset);
    this.walker = new PageWalker(memory, this.mode, this.structures, this.walkCaches);
    this.fastPath = new FastPath({
      arrays,
      clock: clockCycles.subarray(cpu, cpu + 1),
      tlbs: this.tlbs,
      structures: this.structures,
      walkCaches: this.walkCaches,
      mode: this.mode,
      memory,
      preset,
    });
    this.secondLevelHitCycles = preset.costs.secondLevelHit.value;
    this.walkCycles = preset.costs.walk.value;
    this.setBitsCycles = preset.costs.setAccessedDirty.value;
    this.pageFaultCycles = preset.costs.pageFault.value;
  }

  /**
   * Finds the translation of `la` for an access; `tlbs` then says where it is in the first level.
   * @throws PageFault when there is no translation, or it does not allow the access
   */
  translate(access: Access, la: number): void {
    const { tlbs, mode } = this;
    const kind = TLB_KIND[access];
    let isFill = true;
    if (!tlbs.lookup(kind, la, mode.pcid)) {
      this.walk(access, kind, la);
    } else if (!mode.usable(access, tlbs.currentFlags())) {
      // Intel SDM vol. 3A, 4.10.2.3 and 4.10.4.3: what the cached translation refuses is decided by a new walk.
      tlbs.dropPage(la, mode.pcid, true);
      this.walk(access, kind, la);
    } else {
      isFill = tlbs.wasSecondLevel;
      if (isFill) {
        this.counts[COUNT_SECOND_LEVEL_HIT + kind]++;
        this.clockCycles[this.cpu] += this.secondLevelHitCycles;
      }
      if (this.attribution !== null) this.attribution.hit(kind, la, mode.pcid);
    }
    this.tellFastPath(access, kind, la, isFill);
  }

  /**
   * {@link translate} for a page that no TLB holds.
   * @throws PageFault when there is no translation, or it does not allow the access
   */
  fill(access: Access, la: number): void {
    const kind = TLB_KIND[access];
    this.walk(access, kind, la);
    this.tellFastPath(access, kind, la, true);
  }

  private tellFastPath(access: Access, kind: number, la: number, isFill: boolean): void {
    const { tlbs, mode, fastPath } = this;
    if (isFill) fastPath.slotFilled(la, tlbs.tlb, tlbs.slot);
    fastPath.pcidUsed(mode.pcid);
    if (access <= ACCESS_FETCH && this.attribution === null && tlbs.isSmall()) {
      fastPath.predict(kind, la, tlbs.tlb, tlbs.slot);
    }
  }

  /** Tells `attribution` of every translation from now on. To be called once. */
  watch(attribution: FlushAttribution): void {
    this.attribution = attribution;
    this.fastPath.turnOff();
  }

  /** CR2: the address of the last page fault. In 48-bit form; with five levels all 64 bits of it. */
  get cr2(): number | bigint {
    const { faultAddress, faultOffset, pointers } = this;
    return pointers.bits === 57 ? linearAddressToBigInt(faultAddress) + BigInt(faultOffset) : faultAddress;
  }

  /** Makes `pcid` the current PCID; 0 with CR4.PCIDE = 0. */
  choosePcid(pcid: number): void {
    this.mode.pcid = pcid;
    this.fastPath.contextChanged();
  }

  /** Cycles of all page walks so far. */
  get walkCycleCount(): number {
    const { counts } = this;
    return counts[COUNT_WALK_CYCLES] + counts[COUNT_WALK_CYCLES + 1] + counts[COUNT_WALK_CYCLES + 2];
  }

  /** INVLPG, INVPCID type 0, INVLPGB of a page: its translations of one PCID, or of all (-1), and global ones if asked to. */
  invalidatePage(la: number, pcid: number, globals: boolean, tables: TableEntries): void {
    this.tlbs.dropPage(la, pcid, globals);
    this.structures.dropTables(tables, la, pcid);
  }

  /** INVLPGB of a PCID and global translations: the latter. */
  invalidateGlobal(): void {
    this.tlbs.dropPcid(GLOBAL_CONTEXT);
  }

  /** INVPCID type 1, MOV to CR3: everything of one PCID but global translations. */
  invalidatePcid(pcid: number): void {
    this.countFlush();
    this.tlbs.dropPcid(pcid);
    this.structures.dropPcid(pcid);
  }

  /** INVPCID type 3: everything but global translations. */
  invalidateNonGlobal(): void {
    this.countFlush();
    this.tlbs.dropNonGlobal();
    this.structures.clear();
  }

  /** INVPCID type 2, a change of CR4.PGE: everything. */
  invalidateAll(): void {
    this.countFlush();
    this.tlbs.clear();
    this.structures.clear();
  }

  private countFlush(): void {
    this.counts[COUNT_FLUSH_FIRST]++;
    this.counts[COUNT_FLUSH_SECOND]++;
  }

  private walk(access: Access, kind: number, la: number): void {
    const { walker, counts, tlbs } = this;
    let result = walker.walk(la, access);
    let cycles = this.walkCost();
    if (result !== WALK_OK && this.confirmsPageFaults) {
      this.structures.dropPage(la, this.mode.pcid);
      result = walker.walk(la, access);
      cycles += this.walkCost();
    }
    counts[COUNT_WALK_CYCLES + kind] += cycles;
    this.clockCycles[this.cpu] += cycles;
    if (result !== WALK_OK) throw this.fault(result, kind, la);
    counts[COUNT_WALK + kind * 3 + ((walker.flags >> TR_SIZE_SHIFT) & 3)]++;
    tlbs.insert(kind, la, this.mode.pcid, walker.frame, walker.flags);
    if (this.attribution !== null) {
      this.attribution.refill(kind, la, this.mode.pcid, walker.frame, walker.flags, cycles);
    }
  }

  /** Counts the bits that the last walk set; the cycles that it took. */
  private walkCost(): number {
    const { walker } = this;
    if (walker.bitsSet === 0) return this.walkCycles + walker.fetchCycles;
    this.counts[COUNT_BITS_SET] += walker.bitsSet;
    return this.walkCycles + walker.fetchCycles + this.setBitsCycles;
  }

  /**
   * The #PF to raise; what was cached for the page goes (Intel SDM vol. 3A, 4.10.4.1, at its end). It does not throw itself:
   * V8 leaves a function that never returns in its interpreter (`npm run access-matrix` took 1.2 to 1.5 times as long).
   */
  private fault(errorCode: number, kind: number, la: number): PageFault {
    this.counts[COUNT_WALK_FAULT + kind]++;
    this.counts[COUNT_PAGE_FAULT]++;
    this.tlbs.dropPage(la, this.mode.pcid, true);
    this.structures.dropPage(la, this.mode.pcid);
    this.faultAddress = la;
    this.faultOffset = la < WIDE_PAGES ? 0 : this.pointers.offset;
    this.clockCycles[this.cpu] += this.pageFaultCycles;
    return new PageFault(errorCode, this.cr2, this.cpu);
  }
}
