/** Finding room (`alloc_vmap_area`): from the current CPU's pool if it fits, else from the free tree. */

import { formatLinearAddress } from "../../arch/isa/linear-address.ts";
import { isPowerOfTwo } from "../../arch/isa/power-of-two.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { finish, type Soon } from "../kernel/soon.ts";
import { isAligned, isPageAligned } from "../lib/align.ts";
import { EBUSY, EINVAL, ENOMEM } from "../lib/errno.ts";
import { __GFP_DIRECT_RECLAIM, __GFP_NOWARN } from "../lib/gfp.ts";
import { formatRange } from "../lib/kernel-log.ts";
import { VMALLOC_END, VMALLOC_START } from "../lib/memory-layout.ts";
import { encodeNodeId, poolIndexOf, type VmapNode } from "./areas/vmap-node.ts";
import { reclaimAndPurgeVmapAreas } from "./purge.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/**
 * Reserves `sizeBytes` bytes in the window [vstart, vend) and puts them into a busy tree with their flags.
 * @param vm the vm_struct to tie the area to, or 0
 * @returns the area, or -EINVAL (size not whole pages, alignment no power of two), -ENOMEM, -EBUSY (no room)
 */
export function* allocVmapArea(
  state: Vmalloc,
  sizeBytes: number,
  align: number,
  vstart: number,
  vend: number,
  gfp: number,
  vaFlags: number,
  vm: number,
): KernelCode<number> {
  const area = allocVmapAreaSoon(state, sizeBytes, align, vstart, vend, gfp, vaFlags, vm);
  return typeof area === "number" ? area : yield* area;
}

/** The same, as a plain function as long as no lock has to be waited for and there is room (`soon.ts`). */
export function allocVmapAreaSoon(
  state: Vmalloc,
  sizeBytes: number,
  align: number,
  vstart: number,
  vend: number,
  gfp: number,
  vaFlags: number,
  vm: number,
): Soon<number> {
  if (!(sizeBytes > 0) || !isPageAligned(sizeBytes) || !isPowerOfTwo(align)) return -EINVAL;
  const { areas, loop, costs, nodes } = state;
  loop.spend(costs.callCycles);
  let flags = vaFlags;
  let area = 0;
  // Requests over the whole vmalloc range may be served from the pools; windows of their own carry no node.
  if (nodes.length > 1 && vstart === VMALLOC_START && vend === VMALLOC_END) {
    const node = nodes[loop.currentCpu % nodes.length];
    flags |= encodeNodeId(node.id);
    const pool = poolIndexOf(sizeBytes);
    if (pool >= 0 && !areas.listIsEmpty(node.poolHeads[pool])) {
      if (!node.poolLock.tryTake()) return waitForPool(state, node, sizeBytes, align, vstart, vend, gfp, flags, vm);
      area = takeFromPool(state, node, pool, sizeBytes, align, vstart, vend);
      node.poolLock.release();
    }
  }
  return takeRoom(state, area, sizeBytes, align, vstart, vend, gfp, flags, vm);
}

/** Goes on with an area from a pool, or, with none (0), with room from the free tree. */
function takeRoom(
  state: Vmalloc,
  pooled: number,
  sizeBytes: number,
  align: number,
  vstart: number,
  vend: number,
  gfp: number,
  flags: number,
  vm: number,
): Soon<number> {
  const { areas } = state;
  if (pooled !== 0) {
    state.events?.alloc(areas.start[pooled], sizeBytes, align, vstart, vend, flags, false);
    areas.setFlags(pooled, flags);
    return addBusy(state, pooled, vm);
  }
  if (state.faults.isArmed && state.faults.fails("vmapArea")) return -ENOMEM;
  if (!state.freeTreeLock.tryTake()) return waitForRoom(state, sizeBytes, align, vstart, vend, gfp, flags, vm);
  const address = takeFromTree(state, sizeBytes, align, vstart, vend, flags);
  if (address === vend) return makeRoom(state, sizeBytes, align, vstart, vend, gfp, flags, vm);
  return addBusy(state, areas.make(address, address + sizeBytes, flags), vm);
}

/** Takes room out of the free tree, whose lock is held, and releases the lock; `vend` when there is none. */
function takeFromTree(
  state: Vmalloc,
  sizeBytes: number,
  align: number,
  vstart: number,
  vend: number,
  flags: number,
): number {
  // Taking room out of the middle of a gap needs one more area; the kernel keeps one at hand for each CPU.
  const address = state.freeTree.alloc(sizeBytes, align, vstart, vend);
  state.loop.spend(state.costs.treeStepCycles * TREE_STEPS);
  state.freeTreeLock.release();
  state.events?.alloc(address, sizeBytes, align, vstart, vend, flags, address === vend);
  return address;
}

/** Ties an area to its vm_struct, if it has one, and puts it into the busy tree of its node. */
function addBusy(state: Vmalloc, area: number, vm: number): Soon<number> {
  const { areas, vms } = state;
  const address = areas.start[area];
  state.newestStart = address;
  areas.setVm(area, vm);
  if (vm !== 0) {
    vms.addr[vm] = address;
    vms.sizeBytes[vm] = areas.end[area] - address;
  }
  const node = state.nodeOf(address);
  if (!node.busyLock.tryTake()) return waitForBusy(state, node, area);
  insertBusy(state, node, area);
  return area;
}

/** Inserts into a busy tree whose lock is held, and releases the lock. */
function insertBusy(state: Vmalloc, node: VmapNode, area: number): void {
  node.busy.insert(area);
  state.loop.spend(state.costs.treeStepCycles * TREE_STEPS);
  node.busyLock.release();
}

function* waitForPool(
  state: Vmalloc,
  node: VmapNode,
  sizeBytes: number,
  align: number,
  vstart: number,
  vend: number,
  gfp: number,
  flags: number,
  vm: number,
): KernelCode<number> {
  yield* node.poolLock.take();
  const area = takeFromPool(state, node, poolIndexOf(sizeBytes), sizeBytes, align, vstart, vend);
  node.poolLock.release();
  return yield* finish(takeRoom(state, area, sizeBytes, align, vstart, vend, gfp, flags, vm));
}

function* waitForRoom(
  state: Vmalloc,
  sizeBytes: number,
  align: number,
  vstart: number,
  vend: number,
  gfp: number,
  flags: number,
  vm: number,
): KernelCode<number> {
  yield* state.freeTreeLock.take();
  const address = takeFromTree(state, sizeBytes, align, vstart, vend, flags);
  if (address === vend) return yield* makeRoom(state, sizeBytes, align, vstart, vend, gfp, flags, vm);
  return yield* finish(addBusy(state, state.areas.make(address, address + sizeBytes, flags), vm));
}

function* waitForBusy(state: Vmalloc, node: VmapNode, area: number): KernelCode<number> {
  yield* node.busyLock.take();
  insertBusy(state, node, area);
  return area;
}

/** No room was found: gives back everything that can be, and tries again until nothing more is gained. */
function* makeRoom(
  state: Vmalloc,
  sizeBytes: number,
  align: number,
  vstart: number,
  vend: number,
  gfp: number,
  flags: number,
  vm: number,
): KernelCode<number> {
  let purged = false;
  while (true) {
    if (!purged) {
      yield* reclaimAndPurgeVmapAreas(state);
      purged = true;
    } else if ((gfp & __GFP_DIRECT_RECLAIM) !== 0 && callPurgeNotifiers(state) > 0) {
      purged = false;
    } else {
      break;
    }
    if (!state.freeTreeLock.tryTake()) yield* state.freeTreeLock.take();
    const address = takeFromTree(state, sizeBytes, align, vstart, vend, flags);
    if (address !== vend)
      return yield* finish(addBusy(state, state.areas.make(address, address + sizeBytes, flags), vm));
  }
  if ((gfp & __GFP_NOWARN) === 0) {
    state.log.print(
      `vmalloc_node_range for size ${sizeBytes} failed: Address range restricted to ${formatLinearAddress(vstart)} - ${formatLinearAddress(vend)}`,
    );
  }
  return -EBUSY;
}

/** Tree steps charged for one search: the depth of a tree of about a thousand nodes. */
const TREE_STEPS = 10;

/** The pool's head if it is aligned as asked; a misaligned head goes to the tail (`node_pool_del_va`). */
function takeFromPool(
  state: Vmalloc,
  node: VmapNode,
  pool: number,
  sizeBytes: number,
  align: number,
  vstart: number,
  vend: number,
): number {
  const { areas } = state;
  const head = node.poolHeads[pool];
  if (areas.listIsEmpty(head)) return 0;
  const area = areas.nextOf(head);
  const start = areas.start[area];
  const end = areas.end[area];
  if (!isAligned(start, align)) {
    areas.listRemove(area);
    areas.listAddBefore(area, head);
    state.events?.poolRot(node.id, start, end, align);
    return 0;
  }
  if (end - start !== sizeBytes || start < vstart || end > vend) {
    state.log.warnOnce("node_pool_del_va", `pool ${pool} of node ${node.id} holds ${formatRange(start, end)}`);
    return 0;
  }
  areas.listRemove(area);
  node.poolLengths[pool]--;
  state.events?.poolDel(node.id, start, end, node.poolLengths[pool]);
  return area;
}

function callPurgeNotifiers(state: Vmalloc): number {
  let freed = 0;
  for (const notify of state.purgeNotifiers) freed += notify();
  return freed;
}
