/** A vmap node (`struct vmap_node`): its share of the busy and lazily freed areas, and its pools of areas by size. */

import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import type { EventLoop } from "../../../arch/time/event-loop.ts";
import type { LockCosts, SpinLock } from "../../kernel/lock.ts";
import { type Lockdep, LockGuard } from "../../kernel/lockdep.ts";
import { newSpinLock } from "../../kernel/spinlocks.ts";
import type { Work } from "../../kernel/work.ts";
import { BusyAreas, type BusyAreasParts } from "./busy-areas.ts";
import { LazyAreas } from "./lazy-areas.ts";
import { TREE_LINES, TreeLines } from "./tree-lines.ts";
import { LIST_HEAD_STEP, type VmapAreas } from "./vmap-areas.ts";

/** Pools hold areas of up to this many pages, guard page included (`MAX_VA_SIZE_PAGES`). */
export const MAX_VA_SIZE_PAGES = 256;

/** Trees of a node that have lines, and its list heads: of its pools, its trees, what was collected and what a purge has. */
const NODE_TREES = 2;
const NODE_LIST_HEADS = MAX_VA_SIZE_PAGES + NODE_TREES + 3;

/** Names of the locks of the busy and of the lazily freed areas. */
interface AreaLocks {
  readonly busy: string;
  readonly lazy: string;
}

/** What the version of the kernel says of nodes. */
export interface NodeRules {
  /** Lazily freed areas merge with their neighbours as they are freed. */
  readonly mergesLazyAreas: boolean;
  /** The line of both locks where they share one with other variables; -1 where they are a node's. */
  readonly areaLocksLine: number;
}

/** Those of a vmap node. */
const VMAP_NODE_LOCKS: AreaLocks = { busy: "vn->busy.lock", lazy: "vn->lazy.lock" };
/** Those of a kernel without vmap nodes: one of all areas in use, one of all that wait for a purge. */
const ONE_TREE_LOCKS: AreaLocks = { busy: "vmap_area_lock", lazy: "purge_vmap_area_lock" };

/** The nodes of a machine, each with an id. They have so much in arrays of all that room for it is made once. */
export function makeVmapNodes(
  nodes: number,
  parts: BusyAreasParts,
  loop: EventLoop,
  costs: LockCosts,
  rules: NodeRules,
): readonly VmapNode[] {
  loop.lines.reserve(nodes * NODE_TREES * TREE_LINES);
  parts.areas.reserveListHeads(nodes * NODE_LIST_HEADS);
  return Array.from({ length: nodes }, (_, id) => new VmapNode(id, parts, loop, costs, rules));
}

/** One node. With several, each CPU allocates from the pools of its own. */
export class VmapNode {
  readonly id: number;
  /** Areas in use whose address belongs to this node. */
  readonly busy: BusyAreas;
  readonly busyLock: SpinLock;
  /** Lines of the nodes of their tree. */
  readonly busyLines: TreeLines;
  /** Areas freed and not yet purged. */
  readonly lazy: LazyAreas;
  readonly lazyLock: SpinLock;
  /** Lines of the nodes of their tree. */
  readonly lazyLines: TreeLines;
  readonly poolLock: SpinLock;
  /** What says so when the pools are used without their lock; null where locks are not checked. */
  poolGuard: LockGuard | null = null;
  /** One past the highest pool that ever held an area: those from here on need not be looked at. */
  poolsUsed = 0;
  /** Areas that the running purge has taken off the lazy list. */
  readonly purgeList: number;
  /** Areas of the pool that is being decayed. */
  readonly detached: number;
  /** Whether the running purge gives everything back to the tree instead of filling the pools. */
  skipPopulate = false;
  /** Areas that the running purge has dealt with. */
  nrPurged = 0;
  /** The helper that purges this node, if one was started. */
  purgeWork: Work | null = null;
  private readonly areas: VmapAreas;
  private readonly firstPool: number;

  constructor(id: number, parts: BusyAreasParts, loop: EventLoop, costs: LockCosts, rules: NodeRules) {
    const { areas, log } = parts;
    this.id = id;
    this.areas = areas;
    this.busy = new BusyAreas(parts, id);
    this.lazy = new LazyAreas(areas, log, rules.mergesLazyAreas);
    const { areaLocksLine } = rules;
    const locks = areaLocksLine < 0 ? VMAP_NODE_LOCKS : ONE_TREE_LOCKS;
    this.busyLock = newSpinLock(locks.busy, loop, costs, areaLocksLine);
    this.lazyLock = newSpinLock(locks.lazy, loop, costs, areaLocksLine);
    this.poolLock = newSpinLock("vn->pool_lock", loop, costs);
    this.busyLines = new TreeLines(loop.lines);
    this.lazyLines = new TreeLines(loop.lines);
    this.purgeList = areas.makeListHead();
    this.detached = areas.makeListHead();
    this.firstPool = areas.makeListHeads(MAX_VA_SIZE_PAGES);
  }

  /** The list head of pool number `pool`, which holds areas of `pool + 1` pages. */
  poolHead(pool: number): number {
    return this.firstPool + pool * LIST_HEAD_STEP;
  }

  /** The head of pool number `pool`, for code that holds the pools' lock. */
  guardedPool(pool: number): number {
    if (this.poolGuard !== null) this.poolGuard.check();
    return this.poolHead(pool);
  }

  /** How many areas are in pool number `pool`, as counted. */
  poolLength(pool: number): number {
    return this.areas.lengthOf(this.poolHead(pool));
  }

  /** So many areas come to pool number `pool`, or leave it; returns how many are in it then. */
  addToPoolLength(pool: number, areas: number): number {
    if (pool >= this.poolsUsed) this.poolsUsed = pool + 1;
    return this.areas.addToLength(this.poolHead(pool), areas);
  }

  /** Has every use of the node's areas checked for the lock that guards them; returns what is guarded by what. */
  guardBy(lockdep: Lockdep): readonly LockGuard[] {
    this.busy.guard = new LockGuard(lockdep, this.busyLock, "vn->busy");
    this.lazy.guard = new LockGuard(lockdep, this.lazyLock, "vn->lazy");
    this.poolGuard = new LockGuard(lockdep, this.poolLock, "vn->pool");
    return [this.busy.guard, this.lazy.guard, this.poolGuard];
  }
}

/** Index of the pool for areas of `sizeBytes`, or -1 when they are too large for one (`size_to_va_pool`). */
export function sizeToVaPool(sizeBytes: number): number {
  const index = Math.floor((sizeBytes - 1) / PAGE_SIZE);
  return index < MAX_VA_SIZE_PAGES ? index : -1;
}

/** The bits of an area's flags that carry a node's id (`encode_vn_id`). */
export function encodeVnId(id: number): number {
  return (id + 1) << 8;
}

/** The node's id in an area's flags, or -1 when it carries none (`decode_vn_id`). */
export function decodeVnId(flags: number): number {
  return (flags >>> 8) - 1;
}
