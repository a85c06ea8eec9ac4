/** The shrinker of the nodes' pools: when memory is short, pooled areas go back to the free tree (`vmap_node_shrinker`). */
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { SHRINK_STOP } from "../frames/reclaim.ts";
import { decayVaPoolNode } from "./purge.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/** Areas in all pools (`vmap_node_shrink_count`). */
export function vmapNodeShrinkCount({ nodes }: Vmalloc): number {
  let count = 0;
  for (const node of nodes) for (let pool = 0; pool < node.poolsUsed; pool++) count += node.poolLength(pool);
  return count;
}

/**
 * Empties the pools of every node (`vmap_node_shrink_scan`), under the purge lock, as only one context at a time may decay a pool
 * (a correction that 6.12 got as an update). Gives no frame back: what is freed are objects of the areas' slab cache.
 */
function* vmapNodeShrinkScan(state: Vmalloc): KernelCode<number> {
  const { purgeLock } = state;
  const isSerialized = !state.mm.bugs.shrinkerWithoutPurgeLock;
  if (isSerialized && !purgeLock.tryTake()) yield* purgeLock.take();
  for (const node of state.nodes) yield* decayVaPoolNode(state, node, true);
  if (isSerialized) purgeLock.release();
  return SHRINK_STOP;
}

/** Registers the shrinker, when vmalloc is brought up. */
export function registerVmapNodeShrinker(state: Vmalloc): void {
  state.mm.reclaim.shrinkerRegister({
    name: "vmap-node",
    countObjects: () => vmapNodeShrinkCount(state),
    scanObjects: () => vmapNodeShrinkScan(state),
  });
}
