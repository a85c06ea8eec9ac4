/** The frames of an area (`vm_area_alloc_pages`), and what is done when there are not enough (`__alloc_pages_slowpath`). */
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { FRAME_VMALLOC } from "../frames/frame-uses.ts";
import { MAX_PAGE_ORDER } from "../frames/zone.ts";
import { type Blocking, ready } from "../kernel/blocking.ts";
import { __GFP_DIRECT_RECLAIM, __GFP_NOFAIL } from "../lib/gfp.ts";
import { NofailTries } from "./nofail.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/** Reclaims without a frame in between, after which an allocation gives up (`MAX_RECLAIM_RETRIES`). */
const MAX_RECLAIM_RETRIES = 16;

/**
 * Takes up to `pages` frames for an area, in blocks of 2^order. Single frames are waited for: what caches hold is reclaimed, and
 * with `__GFP_NOFAIL` it is tried again for as long as it takes.
 * @returns how many there were; they are the area's
 */
export function vmAreaAllocPages(
  state: Vmalloc,
  vm: number,
  pages: number,
  order: number,
  gfp: number,
  node: number,
): Blocking<number> {
  const { faults } = state;
  const failedBefore = faults.failures;
  // Blocks are an attempt, after which single frames are taken.
  const got =
    order > 0 ? takeBlocks(state, vm, pages, order, gfp & ~__GFP_NOFAIL, node) : take(state, vm, 0, pages, gfp, node);
  // What was made to fail fails at once, as `should_fail_alloc_page` does it.
  const gaveUp = order > 0 || (gfp & __GFP_DIRECT_RECLAIM) === 0 || faults.failures !== failedBefore;
  if (got < pages && !gaveUp) return allocPagesSlowpath(state, vm, got, pages, gfp, node);
  return ready(account(state, vm, got));
}

/** Single frames for the rest of an area that has `got` of its `pages` frames; how many it has in the end. */
function* allocPagesSlowpath(
  state: Vmalloc,
  vm: number,
  got: number,
  pages: number,
  gfp: number,
  node: number,
): KernelCode<number> {
  const { reclaim } = state.mm;
  const isNofail = (gfp & __GFP_NOFAIL) !== 0;
  const tries = new NofailTries(state.mm, `${pages - got} frames`);
  let done = got;
  let reclaims = 0;
  while (done < pages) {
    const freed = yield* reclaim.tryToFreePages();
    const more = take(state, vm, done, pages, gfp, node);
    done += more;
    if (more > 0) reclaims = 0;
    else if (freed === 0 || ++reclaims > MAX_RECLAIM_RETRIES) {
      if (!isNofail) break;
      yield* tries.next();
    }
  }
  return account(state, vm, done);
}

/** Takes single frames for the pages from `done` on; how many there were. */
function take(state: Vmalloc, vm: number, done: number, pages: number, gfp: number, node: number): number {
  const { pages: allocator, pageArrays, vms } = state;
  const cpu = state.loop.currentCpu;
  const wanted = pages - done;
  allocator.aboutToTake(cpu, wanted, node);
  const { frames } = pageArrays;
  const offset = vms.pages[2 * vm] + done;
  const large = state.version.asksLargeOrdersFirst ? takeLargeOrders(state, offset, wanted, gfp, node) : 0;
  if (large === wanted) return wanted;
  const got = allocator.allocBulk(cpu, wanted - large, FRAME_VMALLOC, gfp, node, frames, offset + large);
  if (done + large === 0 && allocator.lastBulkIsOfOneZone) vms.setOfOneZone(vm);
  return large + got;
}

/**
 * Takes frames in the largest blocks that fit and are there, each split into single frames: up to all but one of `pages`; returns how
 * many. Nothing is reclaimed for their sake.
 */
function takeLargeOrders(state: Vmalloc, offset: number, pages: number, gfp: number, node: number): number {
  const { pages: allocator, pageArrays } = state;
  const cpu = state.loop.currentCpu;
  const largeGfp = gfp & ~__GFP_DIRECT_RECLAIM;
  let orderMax = MAX_PAGE_ORDER;
  let done = 0;
  while (done < pages) {
    const order = Math.min(orderMax, 31 - Math.clz32(pages - done));
    if (order === 0) break;
    const first = allocator.allocPages(cpu, order, FRAME_VMALLOC, largeGfp, node);
    if (first === 0) {
      orderMax = order - 1;
      continue;
    }
    for (let i = 0; i < 1 << order; i++) pageArrays.frames[offset + done + i] = first + i;
    done += 1 << order;
  }
  return done;
}

/** Takes blocks of 2^order frames; how many frames there were. */
function takeBlocks(state: Vmalloc, vm: number, pages: number, order: number, gfp: number, node: number): number {
  const { pages: allocator, pageArrays, vms } = state;
  const cpu = state.loop.currentCpu;
  const offset = vms.pages[2 * vm];
  for (let done = 0; done < pages; done += 1 << order) {
    const first = allocator.allocPages(cpu, order, FRAME_VMALLOC, gfp, node);
    if (first === 0) return done;
    for (let i = 0; i < 1 << order; i++) pageArrays.frames[offset + done + i] = first + i;
  }
  return pages;
}

/** The area has so many frames; returns their number. */
function account(state: Vmalloc, vm: number, got: number): number {
  state.vms.nrPages[2 * vm] = got;
  state.addNrVmallocPages(got);
  state.mm.spendOnPages(got);
  return got;
}
