/** Finding room (`alloc_vmap_area`): from the current CPU's pool if it fits, else from the free tree. */

import { formatLinearAddress } from "../../arch/isa/linear-address.ts";
import { isPowerOfTwo } from "../../arch/isa/power-of-two.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { afterWaiting, type Blocking, ready, wait } from "../kernel/blocking.ts";
import type { SpinLock } from "../kernel/lock.ts";
import { isAligned, isPageAligned } from "../lib/align.ts";
import { EBUSY, EINVAL, ENOMEM } from "../lib/errno.ts";
import { __GFP_NOFAIL, __GFP_NOWARN, gfpflagsAllowBlocking } from "../lib/gfp.ts";
import { formatRange } from "../lib/kernel-log.ts";
import { type AddressRange, VMALLOC_END, VMALLOC_START } from "../lib/memory-layout.ts";
import { encodeVnId, sizeToVaPool, type VmapNode } from "./areas/vmap-node.ts";
import { reclaimAndPurgeVmapAreas } from "./purge.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/** What is asked of `alloc_vmap_area` beside the size: the same for all calls of a kind, and made once for each kind. */
export interface AreaRequest {
  /** A power of two. */
  readonly align: number;
  /** Where the area is to be. */
  readonly range: AddressRange;
  readonly gfp: number;
}

/**
 * Reserves `sizeBytes` bytes and puts them into a busy tree with their flags.
 * @param vm the vm_struct to tie the area to, or 0
 * @returns the area, or -EINVAL (size not whole pages, alignment no power of two), -ENOMEM, -EBUSY (no room)
 */
export function allocVmapArea(
  state: Vmalloc,
  sizeBytes: number,
  request: AreaRequest,
  vaFlags: number,
  vm: number,
): Blocking<number> {
  if (!(sizeBytes > 0) || !isPageAligned(sizeBytes) || !isPowerOfTwo(request.align)) return ready(-EINVAL);
  const { loop, costs, nodes } = state;
  const { start, end } = request.range;
  loop.spend(costs.callCycles);
  // Requests over the whole vmalloc range may be served from the pools; windows of their own carry no node.
  if (nodes.length === 1 || start !== VMALLOC_START || end !== VMALLOC_END) {
    return allocFromTree(state, sizeBytes, request, vaFlags, vm);
  }
  const node = nodes[loop.currentCpu % nodes.length];
  const flags = vaFlags | encodeVnId(node.id);
  const pool = sizeToVaPool(sizeBytes);
  if (pool < 0 || state.areas.listIsEmpty(node.poolHead(pool))) {
    return allocFromTree(state, sizeBytes, request, flags, vm);
  }
  const { poolLock } = node;
  return poolLock.tryTake()
    ? nodeAlloc(state, node, sizeBytes, request, flags, vm)
    : afterWaiting(poolLock, nodeAlloc, state, node, sizeBytes, request, flags, vm);
}

/**
 * Takes an area from a pool whose lock is held, and releases the lock (`node_alloc`); if none fits, room from the free tree.
 */
function nodeAlloc(
  state: Vmalloc,
  node: VmapNode,
  sizeBytes: number,
  request: AreaRequest,
  flags: number,
  vm: number,
): Blocking<number> {
  const { areas } = state;
  const area = nodePoolDelVa(state, node, sizeBytes, request);
  node.poolLock.release();
  if (area === 0) return allocFromTree(state, sizeBytes, request, flags, vm);
  const { align, range } = request;
  state.events?.alloc(areas.start[area], sizeBytes, align, range.start, range.end, flags, false);
  areas.setFlags(area, flags);
  return insertBusy(state, area, vm);
}

function allocFromTree(
  state: Vmalloc,
  sizeBytes: number,
  request: AreaRequest,
  flags: number,
  vm: number,
): Blocking<number> {
  const { faults } = state;
  if (faults.isArmed && (request.gfp & __GFP_NOFAIL) === 0 && faults.fails("vmapArea")) return ready(-ENOMEM);
  state.readAreaCache();
  if (state.placement !== null) return allocInTurn(state, sizeBytes, request, flags, vm);
  const lock = preloadThisCpuLock(state, request.gfp);
  return lock.tryTake()
    ? allocWithTreeLock(state, sizeBytes, request, flags, vm)
    : afterWaiting(lock, allocWithTreeLock, state, sizeBytes, request, flags, vm);
}

/** Goes on when it is this area's turn. */
function* allocInTurn(
  state: Vmalloc,
  sizeBytes: number,
  request: AreaRequest,
  flags: number,
  vm: number,
): KernelCode<number> {
  if (state.placement !== null) yield* state.placement.turn(sizeBytes);
  const lock = preloadThisCpuLock(state, request.gfp);
  if (!lock.tryTake()) yield* lock.take();
  return yield* wait(allocWithTreeLock(state, sizeBytes, request, flags, vm));
}

/**
 * The lock of the free tree, to be taken at once by the current CPU, which has an area at hand now with which a gap can be split under
 * the lock (`preload_this_cpu_lock`).
 */
function preloadThisCpuLock(state: Vmalloc, gfp: number): SpinLock {
  state.neFitPreload.preload(gfp);
  return state.freeTreeLock;
}

/** Goes on with the lock of the free tree held, and releases it. */
function allocWithTreeLock(
  state: Vmalloc,
  sizeBytes: number,
  request: AreaRequest,
  flags: number,
  vm: number,
): Blocking<number> {
  const area = takeFromTree(state, sizeBytes, request, flags);
  return area === 0 ? makeRoom(state, sizeBytes, request, flags, vm) : insertBusy(state, area, vm);
}

/** Makes an area of room out of the free tree, whose lock is held, and releases the lock; 0 when there is no room. */
function takeFromTree(state: Vmalloc, sizeBytes: number, request: AreaRequest, flags: number): number {
  const { align, range } = request;
  state.readAreaCache();
  const placed = state.placement === null ? -1 : takePlace(state, sizeBytes, request);
  const address = placed < 0 ? state.freeTree.__allocVmapArea(sizeBytes, align, range.start, range.end) : placed;
  state.loop.spend(state.costs.treeStepCycles * state.freeTree.depth + state.costs.pages.slabCycles);
  state.freeTreeLock.release();
  const isFound = address !== range.end;
  state.events?.alloc(address, sizeBytes, align, range.start, range.end, flags & state.version.areaFlagsMask, !isFound);
  if (!isFound) return 0;
  const area = state.areas.make(address, address + sizeBytes, flags);
  state.areas.setObject(area, state.slabs.vmapArea.kmemCacheAlloc());
  return area;
}

/**
 * Takes the place that an area of this size is wanted at out of the free tree. One that is not free is replaced by room at the end of the
 * vmalloc range, so that the area takes no place that another is wanted at. -1 when no place is wanted, or there is none.
 */
function takePlace(state: Vmalloc, sizeBytes: number, { align, range }: AreaRequest): number {
  const { placement, freeTree } = state;
  const wanted = placement?.wantedPlace(sizeBytes) ?? -1;
  if (placement === null || wanted < 0) return -1;
  placement.placed(sizeBytes);
  const end = wanted + sizeBytes;
  if (freeTree.__allocVmapArea(sizeBytes, 1, wanted, end) !== end) return wanted;
  if (range.start !== VMALLOC_START || range.end !== VMALLOC_END) return -1;
  const other = freeTree.__allocVmapArea(sizeBytes, align, placement.spareStart, VMALLOC_END);
  return other === VMALLOC_END ? -1 : other;
}

/** Ties an area and its vm_struct to each other (`setup_vmalloc_vm`). */
export function setupVmallocVm({ areas, vms }: Vmalloc, vm: number, area: number): void {
  areas.setVm(area, vm);
  vms.addr[vm] = areas.start[area];
  vms.sizeBytes[vm] = areas.end[area] - areas.start[area];
}

/** Ties an area to its vm_struct, if it has one and that is the time for it, and puts it into the busy tree of its node; the area. */
function insertBusy(state: Vmalloc, area: number, vm: number): Blocking<number> {
  const address = state.areas.start[area];
  if (vm !== 0 && !state.version.tiesVmUnderLock) setupVmallocVm(state, vm, area);
  const node = state.addrToNode(address);
  const { busyLock } = node;
  return busyLock.tryTake()
    ? insertWithBusyLock(state, node, area)
    : afterWaiting(busyLock, insertWithBusyLock, state, node, area);
}

/** Inserts into a busy tree whose lock is held, and releases the lock; the area. */
function insertWithBusyLock(state: Vmalloc, node: VmapNode, area: number): Blocking<number> {
  const { busy, busyLines } = node;
  const address = state.areas.startOf(area);
  state.loop.spend(state.costs.treeStepCycles * busyLines.search(address, busy.count));
  busyLines.change(address, busy.count);
  busy.insertVmapArea(area);
  node.busyLock.release();
  state.loop.point("alloc_vmap_area: in the busy tree");
  return ready(area);
}

/**
 * No room was found: gives back everything that can be, and tries again until nothing more is gained. Where the version of the
 * kernel heeds the gfp flags (`nowaitSkipsOverflow`), callers that may not sleep get no second try; the others do, whatever the flags are.
 */
function* makeRoom(
  state: Vmalloc,
  sizeBytes: number,
  request: AreaRequest,
  flags: number,
  vm: number,
): KernelCode<number> {
  let purged = false;
  const skipsOverflow = state.version.nowaitSkipsOverflow && !gfpflagsAllowBlocking(request.gfp);
  while (!skipsOverflow) {
    if (!purged) {
      yield* reclaimAndPurgeVmapAreas(state);
      purged = true;
    } else if (callPurgeNotifiers(state) > 0) {
      purged = false;
    } else {
      break;
    }
    const lock = preloadThisCpuLock(state, request.gfp);
    if (!lock.tryTake()) yield* lock.take();
    const area = takeFromTree(state, sizeBytes, request, flags);
    if (area !== 0) return yield* wait(insertBusy(state, area, vm));
  }
  if ((request.gfp & __GFP_NOWARN) === 0) {
    const { start, end } = request.range;
    state.log.print(
      `vmalloc_node_range for size ${sizeBytes} failed: Address range restricted to ${formatLinearAddress(start)} - ${formatLinearAddress(end)}`,
    );
  }
  return -EBUSY;
}

/** The head of a pool if it is aligned as asked; a misaligned head goes to the tail (`node_pool_del_va`). 0 when none fits. */
function nodePoolDelVa(state: Vmalloc, node: VmapNode, sizeBytes: number, request: AreaRequest): number {
  const { areas } = state;
  const { align, range } = request;
  const pool = sizeToVaPool(sizeBytes);
  const head = node.guardedPool(pool);
  if (areas.listIsEmpty(head)) return 0;
  let area = areas.nextOf(head);
  const wanted = state.placement?.wantedPlace(sizeBytes) ?? -1;
  if (wanted >= 0) {
    while (area !== head && areas.start[area] !== wanted) area = areas.nextOf(area);
    if (area === head) return 0;
    state.placement?.placed(sizeBytes);
  }
  const start = areas.start[area];
  const end = areas.end[area];
  if (!isAligned(start, align)) {
    areas.listRemove(area);
    areas.listAddBefore(area, head);
    state.events?.poolRot(node.id, start, end, align);
    return 0;
  }
  if (end - start !== sizeBytes || start < range.start || end > range.end) {
    state.log.warnOnce("node_pool_del_va", `pool ${pool} of node ${node.id} holds ${formatRange(start, end)}`);
    return 0;
  }
  areas.listRemove(area);
  const length = node.addToPoolLength(pool, -1);
  state.writeArea(area);
  state.events?.poolDel(node.id, start, end, length);
  return area;
}

function callPurgeNotifiers(state: Vmalloc): number {
  let freed = 0;
  for (const notify of state.purgeNotifiers) freed += notify();
  return freed;
}
