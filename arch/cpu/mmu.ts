/**
 * The memory-management unit of one CPU: TLBs, then a walk, then a fault; and the primitive invalidations that instructions
 * are made of. `Cpu` adds registers, instructions and the fast path for pages that the first level is known to hold.
 */

import { FastPath } from "../fast-path/fast-path.ts";
import type { Access } from "../isa/access.ts";
import * as accesses from "../isa/access.ts";
import { PageFault } from "../isa/faults.ts";
import { linearAddressToBigInt, WIDE_PAGES } from "../isa/linear-address.ts";
import { PagingMode, RESERVED_WORDS, RULE_WORDS } from "../isa/paging-mode.ts";
import * as translation from "../isa/translation.ts";
import type { TableEntries, VendorRules } from "../isa/vendor.ts";
import type { VmExit } from "../isa/vm-exits.ts";
import * as counters from "../time/perf-counters.ts";
import type { CpuArrays } from "../tlb/cpu-arrays.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { FlushAttribution } from "../tlb/flush-attribution.ts";
import { PagingStructureCaches } from "../tlb/paging-structure-caches.ts";
import { TlbHierarchy } from "../tlb/tlb-hierarchy.ts";
import { WalkCaches } from "../tlb/walk-caches.ts";
import type { GuestWalker } from "../walk/guest-walk.ts";
import * as guestWalks from "../walk/guest-walk.ts";
import * as walks from "../walk/page-walk.ts";
import { PageWalker } from "../walk/page-walk.ts";
import type { MmuParts } from "./mmu-parts.ts";
import { Pointers } from "./pointers.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { ACCESS_FETCH, TLB_KIND } = accesses;
const { GLOBAL_CONTEXT, GUEST_CONTEXTS, TR_GUEST_SIZE_SHIFT, TR_SIZE_SHIFT } = translation;
const { COUNT_BITS_SET, COUNT_FLUSH_FIRST, COUNT_FLUSH_SECOND, COUNT_PAGE_FAULT, COUNT_SECOND_LEVEL_HIT } = counters;
const { COUNT_SECOND_STAGE_CYCLES, COUNT_SECOND_STAGE_WALK, COUNT_WALK, COUNT_WALK_CYCLES } = counters;
const { COUNT_WALK_FAULT, COUNT_WALK_HIDDEN, COUNTERS } = counters;
const { COUNTERS_CELL, RESERVED_BITS_WORD, RULES_WORD } = layout;
const { WALK_EXIT } = guestWalks;
const { WALK_OK } = walks;

/** What the unit knows of the guest that the CPU runs. */
export interface RunningGuest {
  /** The number that tags its entries (arch/tlb/guest-numbers.ts). */
  readonly number: number;
  /** The numbers that its invalidations reach: those of its VPID or ASID. */
  readonly numbers: readonly number[];
  /** Walks both of its dimensions. */
  readonly walker: GuestWalker;
  /** Leaves the guest because `walker` ended with a VM exit; returns that. */
  readonly leave: (access: Access, la: number) => VmExit;
}

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
  /** Whether the fast path may predict hits: it tells the attribution of them, or there is none; and it is told of all that changes these TLBs. */
  predictsHits = true;
  /** The guest that the CPU runs; null in the host. */
  guest: RunningGuest | null = null;
  /** Numbers of guests for which pieces of pages may be cached that are larger in the guest's tables than in the second stage's. */
  readonly fractured: Set<number>;
  /** The numbers that invalidations reach: in the host 0, and those of guests whose VPID is 0, as the host's is. */
  private numbers: readonly number[] = [0];
  /** Whether entries of guests may be cached. */
  private hasGuests = false;
  /** Answers VM exits of accesses by entering the guest again: a hypervisor below the program. Null, or still in the host after: thrown. */
  onVmExit: ((exit: VmExit) => void) | null = null;

  /** Number of the CPU. */
  readonly cpu: number;
  /** Where the numbers of all these parts lie. */
  readonly arrays: CpuArrays;
  private readonly clockCycles: Float64Array;
  private readonly secondLevelHitCycles: number;
  private readonly walkCycles: number;
  private readonly setBitsCycles: number;
  private readonly pageFaultCycles: number;
  private readonly confirmsPageFaults: boolean;
  private readonly invlpgDropsFractured: boolean;

  /** @param shared the unit of another virtual CPU of the same physical one: both have its TLBs and caches */
  constructor(
    cpu: number,
    clockCycles: Float64Array,
    parts: MmuParts,
    vendor: VendorRules,
    arrays: CpuArrays,
    shared: Mmu | null = null,
  ) {
    const { memory, preset } = parts;
    this.cpu = cpu;
    this.confirmsPageFaults = vendor.confirmsPageFaults;
    this.invlpgDropsFractured = preset.virtualization.invlpgDropsFractured;
    this.clockCycles = clockCycles;
    this.arrays = arrays;
    this.counts = arrays.ownCells.subarray(COUNTERS_CELL, COUNTERS_CELL + COUNTERS);
    const reserved = arrays.ownWords.subarray(RESERVED_BITS_WORD, RESERVED_BITS_WORD + RESERVED_WORDS);
    this.mode = new PagingMode(arrays.ownWords.subarray(RULES_WORD, RULES_WORD + RULE_WORDS), reserved);
    this.tlbs = shared?.tlbs ?? new TlbHierarchy(preset, arrays);
    this.structures = shared?.structures ?? new PagingStructureCaches(preset, arrays, this.tlbs);
    this.walkCaches = shared?.walkCaches ?? new WalkCaches(preset, parts.takeCacheBytes);
    this.fractured = shared?.fractured ?? new Set();
    this.walker = new PageWalker(memory, this.mode, this.structures, this.walkCaches);
    const { tlbs, structures, walkCaches, mode } = this;
    const pathParts = { arrays, clocks: clockCycles, cpu, tlbs, structures, walkCaches, mode, memory, preset };
    this.fastPath = new FastPath(pathParts);
    if (shared !== null) for (const mmu of [this, shared]) mmu.takeGeneralPath();
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
    if (this.attribution !== null) this.attribution.beforeLookup(mode, access, la);
    if (!tlbs.lookup(kind, la, mode.pcid)) {
      this.walk(access, kind, la);
    } else if (!mode.usable(access, tlbs.currentFlags())) {
      // Intel SDM vol. 3A, 4.10.2.3 and 4.10.4.3: what the cached translation refuses is decided by a new walk.
      tlbs.dropRefused(kind, la, mode.pcid);
      this.walk(access, kind, la);
    } else {
      isFill = tlbs.wasSecondLevel;
      if (isFill) {
        this.counts[COUNT_SECOND_LEVEL_HIT + kind]++;
        this.clockCycles[this.cpu] += this.secondLevelHitCycles;
      }
      if (this.attribution !== null) this.attribution.hit(kind, la, mode.pcid);
    }
    if (this.guest === null) this.tellFastPath(access, kind, la, isFill);
  }

  /**
   * {@link translate} for a page that no TLB holds.
   * @throws PageFault when there is no translation, or it does not allow the access
   */
  fill(access: Access, la: number): void {
    const result = this.tryFill(access, la);
    if (result !== WALK_OK) throw new PageFault(result, this.cr2, this.cpu);
  }

  /** {@link fill} that throws nothing: returns `WALK_OK`, or the error code of a page fault, of which all but the delivery has happened. */
  tryFill(access: Access, la: number): number {
    const kind = TLB_KIND[access];
    const result = this.walkQuietly(access, kind, la);
    if (result === WALK_OK && this.guest === null) this.tellFastPath(access, kind, la, true);
    return result;
  }

  /** From now on no access takes the fast path. Of virtual CPUs with the same TLBs none does: its knowledge of these is each CPU's own. */
  takeGeneralPath(): void {
    if (this.predictsHits) this.fastPath.turnOff();
    this.predictsHits = false;
  }

  private tellFastPath(access: Access, kind: number, la: number, isFill: boolean): void {
    const { tlbs, mode, fastPath } = this;
    if (isFill) fastPath.slotFilled(la, tlbs.tlb, tlbs.slot);
    fastPath.pcidUsed(mode.pcid);
    if (access <= ACCESS_FETCH && this.predictsHits && tlbs.isSmall()) {
      fastPath.predict(kind, la, tlbs.tlb, tlbs.slot);
    }
  }

  /** Tells `attribution` of every translation as soon as it has to see them, and calls `onWatch` then. To be called once. */
  watch(attribution: FlushAttribution, onWatch: () => void): void {
    this.attribution = attribution;
    attribution.watchFrom(() => {
      if (!this.fastPath.watch(attribution)) this.predictsHits = false;
      onWatch();
    });
  }

  /** CR2: the address of the last page fault. In 48-bit form; with five levels all 64 bits of it. */
  get cr2(): number | bigint {
    const { faultAddress, faultOffset, pointers } = this;
    return pointers.bits === 57 ? linearAddressToBigInt(faultAddress) + BigInt(faultOffset) : faultAddress;
  }

  /** Makes `pcid` the current PCID; 0 with CR4.PCIDE = 0. */
  choosePcid(pcid: number): void {
    this.mode.pcid = (this.guest?.number ?? 0) * GUEST_CONTEXTS + pcid;
    this.fastPath.contextChanged();
  }

  /** The current PCID. */
  get pcid(): number {
    return this.mode.pcid % GUEST_CONTEXTS;
  }

  /** Begins to translate for a guest; registers and the PCID are those of the host still. */
  enterGuest(guest: RunningGuest): void {
    this.guest = guest;
    this.numbers = guest.numbers;
    this.hasGuests = true;
    this.fastPath.guestChanged(true);
  }

  /** Translates for the host again. @param numbers those that invalidations of the host reach */
  leaveGuest(numbers: readonly number[]): void {
    this.guest = null;
    this.numbers = numbers;
    this.fastPath.guestChanged(false);
  }

  /** Cycles of the clock that went to page walks so far. */
  get walkCycleCount(): number {
    const { counts } = this;
    const active = counts[COUNT_WALK_CYCLES] + counts[COUNT_WALK_CYCLES + 1] + counts[COUNT_WALK_CYCLES + 2];
    return active - counts[COUNT_WALK_HIDDEN];
  }

  /**
   * INVLPG, INVPCID type 0, INVLPGB of a page, INVVPID type 0, INVLPGA: its translations of one PCID, or of all (`EVERY_PCID`), and global
   * ones if asked to.
   * @param numbers of the guests whose entries are meant (0: the host); without it, of the current VPID or ASID. The methods below have it too.
   */
  invalidatePage(la: number, pcid: number, globals: boolean, tables: TableEntries, numbers = this.numbers): void {
    for (const number of numbers) {
      if (this.guest !== null && this.invlpgDropsFractured && this.fractured.has(number)) {
        this.dropGuest(number);
        continue;
      }
      const context = number * GUEST_CONTEXTS + pcid;
      this.tlbs.dropPage(la, context, globals);
      this.structures.dropTables(tables, la, context);
    }
  }

  /** INVLPGB of a PCID and global translations: the latter. */
  invalidateGlobal(numbers = this.numbers): void {
    for (const number of numbers) this.tlbs.dropPcid(number * GUEST_CONTEXTS + GLOBAL_CONTEXT);
  }

  /** INVPCID type 1, MOV to CR3: everything of one PCID but global translations. */
  invalidatePcid(pcid: number, numbers = this.numbers): void {
    this.countFlush();
    for (const number of numbers) {
      this.tlbs.dropPcid(number * GUEST_CONTEXTS + pcid);
      this.structures.dropPcid(number * GUEST_CONTEXTS + pcid);
    }
  }

  /** INVPCID type 3, INVVPID type 3: everything but global translations. */
  invalidateNonGlobal(numbers = this.numbers): void {
    this.countFlush();
    for (const number of numbers) {
      this.tlbs.dropGuest(number, false);
      this.structures.dropGuest(number);
    }
  }

  /** INVPCID type 2, a change of CR4.PGE, INVVPID types 1 and 2, INVEPT: everything. */
  invalidateAll(numbers = this.numbers): void {
    this.countFlush();
    if (!this.hasGuests) {
      this.tlbs.clear();
      this.structures.clear();
      this.fastPath.pcidsForgotten();
    } else for (const number of numbers) this.dropGuest(number);
  }

  /** Removes all entries of all guests, and what was known of them. */
  forgetGuests(): void {
    this.tlbs.clear();
    this.structures.clear();
    this.fractured.clear();
    this.hasGuests = false;
  }

  private dropGuest(number: number): void {
    this.tlbs.dropGuest(number, true);
    this.structures.dropGuest(number);
    this.fractured.delete(number);
  }

  private countFlush(): void {
    this.counts[COUNT_FLUSH_FIRST]++;
    this.counts[COUNT_FLUSH_SECOND]++;
  }

  private walk(access: Access, kind: number, la: number): void {
    const result = this.walkQuietly(access, kind, la);
    if (result !== WALK_OK) throw new PageFault(result, this.cr2, this.cpu);
  }

  /** A walk that fills the TLBs. Returns `WALK_OK`, or the error code of the page fault, which is counted and in CR2. */
  private walkQuietly(access: Access, kind: number, la: number): number {
    if (this.guest !== null) return this.walkInGuest(this.guest, access, kind, la);
    const { walker, counts, tlbs } = this;
    let result = walker.walk(la, access);
    let cycles = this.walkCost(walker);
    if (result !== WALK_OK && this.confirmsPageFaults) {
      this.structures.dropPage(la, this.mode.pcid);
      result = walker.walk(la, access);
      cycles += this.walkCost(walker);
    }
    counts[COUNT_WALK_CYCLES + kind] += cycles;
    this.clockCycles[this.cpu] += cycles;
    if (result !== WALK_OK) return this.noteFault(result, kind, la);
    counts[COUNT_WALK + kind * 3 + ((walker.flags >> TR_SIZE_SHIFT) & 3)]++;
    tlbs.insert(kind, la, this.mode.pcid, walker.frame, walker.flags);
    if (this.attribution !== null) {
      this.attribution.refill(kind, la, this.mode.pcid, walker.frame, walker.flags, cycles);
    }
    return WALK_OK;
  }

  private walkInGuest(guest: RunningGuest, access: Access, kind: number, la: number): number {
    const { walker } = guest;
    const { counts, tlbs } = this;
    let result = walker.walk(la, access);
    let cycles = this.guestWalkCost(walker);
    if (result !== WALK_OK && this.confirmsPageFaults) {
      this.structures.dropPage(la, this.mode.pcid);
      if (result === WALK_EXIT) walker.stage?.forget(walker.exitFrame);
      result = walker.walk(la, access);
      cycles += this.guestWalkCost(walker);
    }
    counts[COUNT_WALK_CYCLES + kind] += cycles;
    this.clockCycles[this.cpu] += cycles;
    if (result === WALK_EXIT) {
      counts[COUNT_WALK_FAULT + kind]++;
      tlbs.dropPage(la, this.mode.pcid, true);
      this.structures.dropPage(la, this.mode.pcid);
      this.leave(guest, access, la);
      return this.walkQuietly(access, kind, la);
    }
    if (result !== WALK_OK) return this.noteFault(result, kind, la);
    const size = (walker.flags >> TR_SIZE_SHIFT) & 3;
    counts[COUNT_WALK + kind * 3 + size]++;
    if (size < ((walker.flags >> TR_GUEST_SIZE_SHIFT) & 3)) this.fractured.add(guest.number);
    tlbs.insert(kind, la, this.mode.pcid, walker.frame, walker.flags);
    if (this.attribution !== null) {
      this.attribution.refill(kind, la, this.mode.pcid, walker.frame, walker.flags, cycles);
    }
    return WALK_OK;
  }

  /** A VM exit. @throws VmExit unless a hypervisor below the program has answered it and the guest goes on */
  private leave(guest: RunningGuest, access: Access, la: number): void {
    const exit = guest.leave(access, la);
    this.onVmExit?.(exit);
    if (this.guest === null) throw exit;
  }

  private guestWalkCost(walker: GuestWalker): number {
    if (walker.stage !== null) {
      this.counts[COUNT_SECOND_STAGE_WALK] += walker.stage.walks;
      this.counts[COUNT_SECOND_STAGE_CYCLES] += walker.stage.fetchCycles;
    }
    return this.walkCost(walker);
  }

  /** Counts the bits that the last walk set; the cycles that it took. */
  private walkCost(walker: { readonly bitsSet: number; readonly fetchCycles: number }): number {
    if (walker.bitsSet === 0) return this.walkCycles + walker.fetchCycles;
    this.counts[COUNT_BITS_SET] += walker.bitsSet;
    return this.walkCycles + walker.fetchCycles + this.setBitsCycles;
  }

  /** Counts a page fault, and notes its address; returns `errorCode`. What was cached for the page goes (Intel SDM vol. 3A, 4.10.4.1, at its end). */
  private noteFault(errorCode: number, kind: number, la: number): number {
    this.counts[COUNT_WALK_FAULT + kind]++;
    this.counts[COUNT_PAGE_FAULT]++;
    this.tlbs.dropPage(la, this.mode.pcid, true);
    this.structures.dropPage(la, this.mode.pcid);
    this.faultAddress = la;
    this.faultOffset = la < WIDE_PAGES ? 0 : this.pointers.offset;
    this.clockCycles[this.cpu] += this.pageFaultCycles;
    return errorCode;
  }
}
