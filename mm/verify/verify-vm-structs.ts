/** Checks vm_structs and their arrays of frames: each belongs to exactly one busy area, none leaks, the counts agree. */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { roundUpToPowerOfTwo } from "../../arch/isa/power-of-two.ts";
import { VM_ALLOC, VM_MAP_PUT_PAGES, VM_NO_GUARD } from "../vmalloc/areas/vm-structs.ts";
import type { Vmalloc } from "../vmalloc/vmalloc-state.ts";
import type { AreaCensus } from "./verify-areas.ts";
import { address, areaRange, type Findings } from "./verify-findings.ts";

/** More page pointers than fit a page are in an area of their own (8 bytes each). */
const POINTERS_PER_PAGE = PAGE_SIZE / 8;

/** Checks every busy area's vm_struct. */
export function verifyVmStructs(state: Vmalloc, census: AreaCensus, findings: Findings): void {
  const { areas, vms } = state;
  const areaOf = new Map<number, number>();
  const areaAt = new Map<number, number>();
  for (const area of census.busy) areaAt.set(areas.startOf(area), area);
  const arrayUsers = new Map<number, number>();
  let vmallocPages = 0;
  for (const area of census.busy) {
    const vm = areas.vmOf(area);
    if (vm === 0) continue;
    const range = areaRange(areas, area);
    const other = areaOf.get(vm);
    if (other !== undefined) findings.add(`areas ${areaRange(areas, other)} and ${range} have the same vm_struct`);
    areaOf.set(vm, area);
    if (vms.addr[vm] !== areas.startOf(area) || vms.sizeBytes[vm] !== areas.endOf(area) - areas.startOf(area)) {
      findings.add(`the vm_struct of ${range} says ${address(vms.addr[vm])} and ${vms.sizeBytes[vm]} bytes`);
    }
    if ((vms.flags[2 * vm] & VM_MAP_PUT_PAGES) === 0) vmallocPages += vms.nrPages[2 * vm];
    verifyPages(state, vm, range, findings);
    const pointers = vms.pagesAddrOf(vm);
    if (pointers === 0) continue;
    verifyPointers(state, range, pointers, areaAt.get(pointers), findings);
    const sharer = arrayUsers.get(pointers);
    if (sharer !== undefined) {
      findings.add(`areas ${areaRange(areas, sharer)} and ${range} keep their page pointers at the same address`);
    }
    arrayUsers.set(pointers, area);
  }
  if (vms.liveCount !== areaOf.size) {
    findings.add(`${vms.liveCount} vm_structs are in use, but ${areaOf.size} busy areas have one`);
  }
  if (vmallocPages !== state.nrVmallocPages) {
    findings.add(`nrVmallocPages is ${state.nrVmallocPages}, but areas hold ${vmallocPages} pages`);
  }
  verifyArrayStore(state, census, findings);
}

function verifyPages({ vms }: Vmalloc, vm: number, range: string, findings: Findings): void {
  const pages = vms.nrPages[2 * vm];
  const guardBytes = (vms.flags[2 * vm] & VM_NO_GUARD) !== 0 ? 0 : PAGE_SIZE;
  const room = (vms.sizeBytes[vm] - guardBytes) / PAGE_SIZE;
  if (pages > 0 && vms.pages[2 * vm] === 0) findings.add(`area ${range} has ${pages} pages but no array of them`);
  if (pages > room) findings.add(`area ${range} has ${pages} pages, but room for ${room}`);
  if (pages % 2 ** vms.pageOrderOf(vm) !== 0) {
    findings.add(`area ${range} has ${pages} pages in blocks of 2^${vms.pageOrderOf(vm)}`);
  }
}

function verifyPointers(
  { areas, vms }: Vmalloc,
  range: string,
  pointers: number,
  area: number | undefined,
  findings: Findings,
): void {
  const vm = area === undefined ? 0 : areas.vmOf(area);
  if (vm === 0 || (vms.flags[2 * vm] & VM_ALLOC) === 0) {
    findings.add(`area ${range} keeps its page pointers at ${address(pointers)}, where no vmalloc'ed area is`);
  }
}

/** The pieces of the store of frame numbers: in use by one area, or free, and nothing between. */
function verifyArrayStore(state: Vmalloc, census: AreaCensus, findings: Findings): void {
  const { areas, vms, pageArrays } = state;
  const pieces: [offset: number, length: number, owner: string][] = [];
  for (const area of census.busy) {
    const vm = areas.vmOf(area);
    if (vm === 0 || vms.pages[2 * vm] === 0) continue;
    const range = areaRange(areas, area);
    const length = vms.arrayLength(vm);
    pieces.push([vms.pages[2 * vm], roundUpToPowerOfTwo(Math.max(length, 1)), `the frames of ${range}`]);
    const isAlloc = (vms.flags[2 * vm] & VM_ALLOC) !== 0;
    if (isAlloc && length > POINTERS_PER_PAGE && vms.pagesAddrOf(vm) === 0) {
      findings.add(`area ${range} has ${length} page pointers outside vmalloc space`);
    }
  }
  pageArrays.forEachFree((offset, length) => pieces.push([offset, length, "a free array"]));
  pieces.sort(([a], [b]) => a - b);
  let reached = 1;
  let last = "the beginning";
  for (const [offset, length, owner] of pieces) {
    if (offset > reached) {
      findings.add(`frame numbers ${reached} to ${offset - 1} of the page arrays leaked, between ${last} and ${owner}`);
    }
    if (offset < reached) findings.add(`frame number ${offset} of the page arrays belongs to ${owner} and to ${last}`);
    reached = Math.max(reached, offset + length);
    last = owner;
  }
  if (reached !== pageArrays.usedLength) {
    findings.add(`frame numbers ${reached} to ${pageArrays.usedLength - 1} of the page arrays leaked, behind ${last}`);
  }
}
