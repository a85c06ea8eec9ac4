/**
 * Checks what is mapped: every leaf of the kernel's page tables belongs to exactly one busy area (or to the direct map), and
 * every area maps exactly what its kind calls for, guard pages nothing.
 */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { FRAME_FREE, FRAME_PAGE_TABLE } from "../frames/frame-uses.ts";
import { MODULES_VADDR, PAGE_OFFSET } from "../lib/memory-layout.ts";
import { VM_ALLOC, VM_IOREMAP, VM_NO_GUARD, VM_SPARSE, VM_UNINITIALIZED } from "../vmalloc/areas/vm-structs.ts";
import { VMAP_BLOCK } from "../vmalloc/areas/vmap-areas.ts";
import type { Vmalloc } from "../vmalloc/vmalloc-state.ts";
import type { AreaCensus } from "./verify-areas.ts";
import { address, areaRange, type Findings, frameName } from "./verify-findings.ts";
import type { Leaves } from "./verify-page-tables.ts";

/** Checks the leaves of the kernel's page tables against the busy areas, and vmap blocks against their bitmaps. */
export function verifyMappings(
  state: Vmalloc,
  census: AreaCensus,
  blockOf: ReadonlyMap<number, number>,
  leaves: Leaves,
  findings: Findings,
): void {
  const { areas } = state;
  let at = 0;
  for (const area of census.busy) {
    at = verifyUnowned(state, census, leaves, at, areas.startOf(area), findings);
    const check = new AreaMapping(state, area, leaves, at, findings);
    if ((areas.flagsOf(area) & VMAP_BLOCK) !== 0) check.block(blockOf.get(area) ?? 0);
    else check.area();
    at = check.next;
  }
  verifyUnowned(state, census, leaves, at, Number.POSITIVE_INFINITY, findings);
}

/** Leaves from number `from` on that begin below `end` are in no busy area; returns the first leaf behind them. */
function verifyUnowned(
  state: Vmalloc,
  census: AreaCensus,
  leaves: Leaves,
  from: number,
  end: number,
  findings: Findings,
): number {
  let at = from;
  for (; at < leaves.la.length && leaves.la[at] < end; at++) {
    const la = leaves.la[at];
    const last = la + leaves.sizeBytes[at];
    if (la >= PAGE_OFFSET && last <= PAGE_OFFSET + state.machine.memory.frames * PAGE_SIZE) {
      if (leaves.frame[at] * PAGE_SIZE !== la - PAGE_OFFSET) {
        findings.add(`the direct map at ${address(la)} maps ${frameName(leaves.frame[at])}`);
      }
      continue;
    }
    if (state.mm.ownRanges.some(({ start, end: ownEnd }) => la >= start && last <= ownEnd)) continue;
    findings.add(`${address(la)} maps ${frameName(leaves.frame[at])}, but lies in ${holderOf(state, census, la)}`);
  }
  return at;
}

/** Which area that is not busy an address lies in. */
function holderOf({ areas }: Vmalloc, census: AreaCensus, la: number): string {
  const i = census.all.findIndex((area) => areas.startOf(area) <= la && la < areas.endOf(area));
  return i < 0 ? "no area" : `the ${census.places[i]} area ${areaRange(areas, census.all[i])}`;
}

/** The leaves of one busy area, beginning with leaf number `from`. */
class AreaMapping {
  /** The first leaf behind the area. */
  readonly next: number;
  private readonly state: Vmalloc;
  private readonly leaves: Leaves;
  private readonly findings: Findings;
  private readonly start: number;
  private readonly end: number;
  private readonly subject: number;
  private readonly from: number;

  constructor(state: Vmalloc, area: number, leaves: Leaves, from: number, findings: Findings) {
    this.state = state;
    this.leaves = leaves;
    this.findings = findings;
    this.subject = area;
    this.start = state.areas.startOf(area);
    this.end = state.areas.endOf(area);
    this.from = from;
    let next = from;
    while (next < leaves.la.length && leaves.la[next] < this.end) next++;
    this.next = next;
  }

  /** Any busy area but a vmap block. */
  area(): void {
    const { vms, areas } = this.state;
    const vm = areas.vmOf(this.subject);
    if (vm === 0) {
      this.callersFrames(this.end, "all");
      return;
    }
    const flags = vms.flags[2 * vm];
    const usableEnd = (flags & VM_NO_GUARD) !== 0 ? this.end : this.end - PAGE_SIZE;
    if ((flags & VM_UNINITIALIZED) !== 0) this.nothingFrom(this.start, "is not initialized");
    else if (vms.physAddr[vm] !== 0) this.physicalRange(vms.physAddr[vm], usableEnd);
    else if (vms.nrPages[2 * vm] > 0) this.pageArray(vm, usableEnd);
    else if ((flags & VM_ALLOC) !== 0) this.callersFrames(this.end, "some");
    else if ((flags & VM_SPARSE) !== 0) this.callersFrames(usableEnd, "some");
    else if ((flags & VM_IOREMAP) !== 0) this.deviceFrames(usableEnd);
    else this.callersFrames(usableEnd, "all or none");
    // Per-CPU chunks (VM_ALLOC, no pages of its own) have no guard page.
    if ((flags & VM_ALLOC) === 0 || vms.nrPages[2 * vm] > 0)
      this.nothingFrom(usableEnd, "ends there: the guard page is mapped");
  }

  /** A vmap block: exactly the pages that its bitmap says are in use are mapped. */
  block(block: number): void {
    if (block === 0) return;
    const { blocks, config } = this.state;
    const { la, sizeBytes } = this.leaves;
    let at = this.from;
    for (let page = 0; page < config.blockPages; page++) {
      const pageAddress = this.start + page * PAGE_SIZE;
      const isMapped = at < this.next && la[at] === pageAddress;
      if (isMapped !== blocks.isUsed(block, page)) {
        const says = isMapped ? "is mapped, but not in use" : "is in use, but not mapped";
        this.complain(`page ${page} at ${address(pageAddress)} ${says} by the block's bitmap`);
      }
      if (!isMapped) continue;
      if (sizeBytes[at] !== PAGE_SIZE) this.complain(`${address(pageAddress)} is mapped by a large page`);
      this.callersFrame(at);
      at++;
    }
    if (at !== this.next) this.complain(`${address(la[at])} is mapped by an entry that is no page of the block`);
  }

  /** Frames that belong to somebody else: `vmap`, `vm_map_ram`, sparse areas, per-CPU chunks. */
  private callersFrames(end: number, how: "all" | "some" | "all or none"): void {
    let mapped = 0;
    for (let i = this.from; i < this.next && this.leaves.la[i] < end; i++) {
      this.callersFrame(i);
      if (this.leaves.sizeBytes[i] !== PAGE_SIZE) {
        this.complain(`${address(this.leaves.la[i])} is mapped by a page of ${this.leaves.sizeBytes[i]} bytes`);
      }
      mapped++;
    }
    const pages = (end - this.start) / PAGE_SIZE;
    if (how === "some" || mapped === pages || (how === "all or none" && mapped === 0)) return;
    this.complain(`${address(this.firstHole(end))} is not mapped; ${mapped} of ${pages} pages are`);
  }

  private callersFrame(at: number): void {
    const { machine, pages } = this.state;
    const frame = this.leaves.frame[at];
    const where = `${address(this.leaves.la[at])} maps ${frameName(frame)}`;
    if (!machine.memory.has(frame)) this.complain(`${where}, where no memory is`);
    else if (pages.useOf(frame) === FRAME_FREE) this.complain(`${where}, which is free`);
    else if (pages.useOf(frame) === FRAME_PAGE_TABLE) this.complain(`${where}, which is a page table`);
  }

  /** Frames beyond memory (`vmap_pfn`), or nothing. */
  private deviceFrames(end: number): void {
    const { memory } = this.state.machine;
    let mapped = 0;
    for (let i = this.from; i < this.next && this.leaves.la[i] < end; i++) {
      const frame = this.leaves.frame[i];
      if (memory.has(frame)) {
        this.complain(`${address(this.leaves.la[i])} maps ${frameName(frame)}, which is memory and no device`);
      }
      mapped += this.leaves.sizeBytes[i] / PAGE_SIZE;
    }
    const pages = (end - this.start) / PAGE_SIZE;
    if (mapped !== 0 && mapped !== pages) {
      this.complain(`${address(this.firstHole(end))} is not mapped; ${mapped} of ${pages} pages are`);
    }
  }

  /** `ioremap`: consecutive physical addresses, by pages of any size. */
  private physicalRange(phys: number, end: number): void {
    this.expectFrames(end, Number.POSITIVE_INFINITY, (page) => phys / PAGE_SIZE + page);
  }

  /** `vmalloc`, or `vmap` with VM_MAP_PUT_PAGES: the area's own frames, in order. */
  private pageArray(vm: number, end: number): void {
    const { vms, pageArrays } = this.state;
    const array = vms.pages[2 * vm];
    const pages = vms.nrPages[2 * vm];
    const room = (end - this.start) / PAGE_SIZE;
    // Where `vrealloc` gives the tail back when it shrinks, nothing may be mapped behind what is left.
    const wasShrunk = pages < room && pages > 0 && this.state.version.vreallocFreesTail;
    if (wasShrunk) this.nothingFrom(this.start + pages * PAGE_SIZE, "was shrunk");
    else if (pages !== room) this.complain(`it has ${pages} pages, but room for ${room}`);
    // Where `set_memory_rox` puts small pages together it asks their frames alone whether they may be.
    const mayJoin = this.state.version.joinsRoxPages && this.start >= MODULES_VADDR;
    const largest = mayJoin ? Number.POSITIVE_INFINITY : PAGE_SIZE * 2 ** vms.pageOrderOf(vm);
    this.expectFrames(this.start + pages * PAGE_SIZE, largest, (page) => pageArrays.frames[array + page]);
  }

  /** All of [start, end) is mapped, page k to `expected(k)`, by leaves of at most `largestBytes`. */
  private expectFrames(end: number, largestBytes: number, expected: (page: number) => number): void {
    const { la, sizeBytes, frame } = this.leaves;
    let reached = this.start;
    for (let i = this.from; i < this.next && la[i] < end; i++) {
      if (la[i] !== reached) this.complain(`${address(reached)} is not mapped`);
      if (sizeBytes[i] > largestBytes) this.complain(`${address(la[i])} is mapped by a page of ${sizeBytes[i]} bytes`);
      reached = la[i] + sizeBytes[i];
      for (let k = 0; k < sizeBytes[i] / PAGE_SIZE; k++) {
        const wanted = expected((la[i] - this.start) / PAGE_SIZE + k);
        if (frame[i] + k === wanted) continue;
        this.complain(
          `${address(la[i] + k * PAGE_SIZE)} maps ${frameName(frame[i] + k)}, but its page is ${frameName(wanted)}`,
        );
        break;
      }
    }
    if (reached < end) this.complain(`${address(reached)} is not mapped`);
    if (reached > end) this.complain(`a page is mapped across its end to ${address(reached)}`);
  }

  private nothingFrom(start: number, why: string): void {
    for (let i = this.from; i < this.next; i++) {
      if (this.leaves.la[i] < start) continue;
      this.complain(`${address(this.leaves.la[i])} maps ${frameName(this.leaves.frame[i])}, but the area ${why}`);
    }
  }

  private firstHole(end: number): number {
    let reached = this.start;
    for (let i = this.from; i < this.next && this.leaves.la[i] === reached; i++) reached += this.leaves.sizeBytes[i];
    return Math.min(reached, end);
  }

  private complain(line: string): void {
    this.findings.add(`area ${areaRange(this.state.areas, this.subject)}: ${line}`);
  }
}
