/** Finding room (`alloc_vmap_area`): from the current CPU's pool if it fits, else from the free tree. */
import type { KernelCode } from "../arch/event-loop.ts";
import { isAligned, isPageAligned, isPowerOfTwo } from "./align.ts";
import { EBUSY, EINVAL, ENOMEM } from "./errno.ts";
import { __GFP_NOWARN } from "./gfp.ts";
import { formatRange } from "./kernel-log.ts";
import { reclaimAndPurgeVmapAreas } from "./purge.ts";
import { VMALLOC_END, VMALLOC_START } from "./vmalloc-config.ts";
import type { Vmalloc } from "./vmalloc-state.ts";
import { encodeNodeId, poolIndexOf, type VmapNode } from "./vmap-node.ts";

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
  if (!(sizeBytes > 0) || !isPageAligned(sizeBytes) || !isPowerOfTwo(align)) return -EINVAL;
  const { areas, loop, costs } = state;
  loop.spend(costs.callCycles);

  let flags = vaFlags;
  let area = 0;
  // Requests over the whole vmalloc range may be served from the pools; windows of their own carry no node.
  if (vstart === VMALLOC_START && vend === VMALLOC_END && state.nodes.length > 1) {
    const node = state.nodes[loop.currentCpu % state.nodes.length];
    flags |= encodeNodeId(node.id);
    const pool = poolIndexOf(sizeBytes);
    if (pool >= 0 && !areas.listIsEmpty(node.poolHeads[pool])) {
      if (!node.poolLock.tryTake()) yield* node.poolLock.take();
      area = takeFromPool(state, node, pool, sizeBytes, align, vstart, vend);
      node.poolLock.release();
    }
  }

  let address = area === 0 ? vend : areas.start[area];
  if (area === 0) {
    if (state.faults.fails("vmapArea")) return -ENOMEM;
    area = areas.make(0, 0);
  }
  let purged = false;
  while (true) {
    if (address === vend) {
      if (!state.freeTreeLock.tryTake()) yield* state.freeTreeLock.take();
      // Taking room out of the middle of a gap needs one more area; the kernel keeps one at hand for each CPU.
      address = state.freeTree.alloc(sizeBytes, align, vstart, vend);
      loop.spend(costs.treeStepCycles * TREE_STEPS);
      state.freeTreeLock.release();
    }
    const failed = address === vend;
    state.events?.alloc(address, sizeBytes, align, vstart, vend, flags, failed);
    if (!failed) break;
    if (!purged) {
      yield* reclaimAndPurgeVmapAreas(state);
      purged = true;
      continue;
    }
    if (callPurgeNotifiers(state) > 0) {
      purged = false;
      continue;
    }
    if ((gfp & __GFP_NOWARN) === 0) {
      state.log.print(
        `vmalloc_node_range for size ${sizeBytes} failed: Address range restricted to ${formatRange(vstart, vend)}`,
      );
    }
    areas.release(area);
    return -EBUSY;
  }

  areas.start[area] = address;
  areas.end[area] = address + sizeBytes;
  areas.flags[area] = flags;
  areas.vm[area] = vm;
  if (vm !== 0) {
    state.vms.addr[vm] = address;
    state.vms.sizeBytes[vm] = sizeBytes;
  }
  const node = state.nodeOf(address);
  if (!node.busyLock.tryTake()) yield* node.busyLock.take();
  node.busy.insert(area);
  loop.spend(costs.treeStepCycles * TREE_STEPS);
  node.busyLock.release();
  return area;
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
  const area = areas.next[head];
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
