/** Where every vmap area is, for saved states: gaps with the shape of their tree, busy, lazily freed and pooled areas by node. */
import { checkState } from "../../../arch/isa/state-error.ts";
import type { FreeTree } from "./free-tree.ts";
import type { NeFitPreload } from "./ne-fit-preload.ts";
import type { VmapAreas } from "./vmap-areas.ts";
import { MAX_VA_SIZE_PAGES, type VmapNode } from "./vmap-node.ts";

const BLACK = 1;
const HAS_LEFT = 2;
const HAS_RIGHT = 4;

/** All areas. Addresses are 48-bit linear addresses; an area is [start, end). */
export interface AreasState {
  /**
   * Gaps in the order of a walk that visits a node before its left and then its right subtree. `shape`: 1 for a black node, plus 2
   * when it has a left child, plus 4 when it has a right one.
   */
  readonly free: {
    readonly start: Float64Array;
    readonly end: Float64Array;
    readonly shape: Uint8Array;
    readonly object?: Int32Array | undefined;
  };
  /** Areas in use, node by node; `vm` is the row of its vm_struct plus one, 0 for none. */
  readonly busy: AreaRows & { readonly vm: Uint32Array };
  /**
   * Areas freed and not yet purged, node by node; `freed` is the row of its free in the accounts plus one, 0 for none, `freedBy` the CPU
   * that freed it, -1 when that is not known (older files do not have it).
   */
  readonly lazy: AreaRows & { readonly freed: Uint32Array; readonly freedBy?: Int32Array | undefined };
  /** Pooled areas, node by node and pool by pool, each in the order in which they are taken; `pool` is a size in pages less one. */
  readonly pooled: AreaRows & { readonly pool: Uint16Array };
  /** By CPU: 1 where it keeps an area at hand for a split; absent when none does. */
  readonly preloaded?: Uint8Array | undefined;
  /** By CPU: that area's object of its slab cache; absent in older files. */
  readonly preloadedObject?: Int32Array | undefined;
  /** Areas that are in use although nobody can find them any more. */
  readonly lost: number;
}

/** Columns of areas, and how many of the rows are each node's. */
export interface AreaRows {
  readonly counts: Uint32Array;
  readonly start: Float64Array;
  readonly end: Float64Array;
  /** `VMAP_RAM`, `VMAP_BLOCK`, and from bit 8 on the id of the node that it was allocated on, plus one. */
  readonly flags: Int32Array;
  /** The area's object of its slab cache, 0 for none; absent in older files. */
  readonly object?: Int32Array | undefined;
}

/** What of an area's state the areas themselves do not know. */
export interface AreaLinks {
  /** The row of a vm_struct plus one. */
  vmRow(vm: number): number;
  /** The row of the free of a lazily freed area plus one, 0 for none. */
  freedRow(area: number): number;
}

/** The numbers that areas of a captured state have in this program. */
export interface AreaNumbers {
  /** By row of the busy areas, and of the lazily freed ones. */
  readonly busy: Int32Array;
  readonly lazy: Int32Array;
}

/** Areas of each node. */
type ByNode = readonly (readonly number[])[];

/** Copies where all areas are; the numbers of those in its rows are returned beside it. */
export function captureAreas(
  areas: VmapAreas,
  freeTree: FreeTree,
  preload: NeFitPreload,
  nodes: readonly VmapNode[],
  nodeOf: (address: number) => VmapNode,
  links: AreaLinks,
): { state: AreasState; numbers: AreaNumbers } {
  const free = captureFree(areas, freeTree);
  const busyOf = busyAreas(areas, nodes, nodeOf);
  const lazyOf = nodes.map(({ lazy }) => listed(areas, lazy.tree.head));
  const pooledOf = nodes.map((node) =>
    Array.from({ length: MAX_VA_SIZE_PAGES }, (_, pool) => listed(areas, node.poolHead(pool))),
  );
  const busy = Int32Array.from(busyOf.flat());
  const lazy = Int32Array.from(lazyOf.flat());
  const freedBy = Int32Array.from(lazy, (area) => areas.freedByOf(area));
  const pools = pooledOf.flatMap((ofNode) => ofNode.flatMap((inPool, pool) => inPool.map(() => pool)));
  const state: AreasState = {
    free,
    busy: { ...rowsOf(areas, busyOf), vm: Uint32Array.from(busy, (area) => links.vmRow(areas.vmOf(area))) },
    lazy: {
      ...rowsOf(areas, lazyOf),
      freed: Uint32Array.from(lazy, (area) => links.freedRow(area)),
      ...(freedBy.every((cpu) => cpu < 0) ? {} : { freedBy }),
    },
    pooled: {
      ...rowsOf(
        areas,
        pooledOf.map((ofNode) => ofNode.flat()),
      ),
      pool: Uint16Array.from(pools),
    },
    ...(preload.count === 0
      ? {}
      : {
          preloaded: Uint8Array.from(preload.objects, (area) => (area === 0 ? 0 : 1)),
        }),
    ...preloadedObjects(areas, preload),
    lost: areas.liveCount - free.start.length - busy.length - lazy.length - pools.length - preload.count,
  };
  return { state, numbers: { busy, lazy } };
}

/**
 * Puts all areas where they were captured, into trees and lists that are empty but for what `freeTree` has of booting.
 * @param vmNumbers numbers of the vm_structs, by row
 * @returns the numbers that the areas have now
 * @throws StateError for a tree that is not complete, or a node or vm_struct that there is not
 */
export function restoreAreas(
  areas: VmapAreas,
  freeTree: FreeTree,
  preload: NeFitPreload,
  nodes: readonly VmapNode[],
  state: AreasState,
  vmNumbers: Uint32Array,
): AreaNumbers {
  restoreFree(areas, freeTree, state.free);
  const busy = new Int32Array(state.busy.start.length);
  forEachRow(nodes, state.busy, (node, row) => {
    const area = areas.make(state.busy.start[row], state.busy.end[row], state.busy.flags[row]);
    const vm = state.busy.vm[row];
    checkState("busy areas", vm <= vmNumbers.length, `name vm_struct ${vm}`);
    areas.setVm(area, vm === 0 ? 0 : vmNumbers[vm - 1]);
    areas.setObject(area, objectIn(areas, state.busy.object, row));
    node.busy.insertVmapArea(area);
    busy[row] = area;
  });
  const lazy = new Int32Array(state.lazy.start.length);
  forEachRow(nodes, state.lazy, (node, row) => {
    lazy[row] = areas.make(state.lazy.start[row], state.lazy.end[row], state.lazy.flags[row]);
    areas.setObject(lazy[row], objectIn(areas, state.lazy.object, row));
    areas.setFreedBy(lazy[row], state.lazy.freedBy?.[row] ?? -1);
    node.lazy.insertVmapArea(lazy[row]);
  });
  for (const node of nodes) node.lazy.mergeAll();
  forEachRow(nodes, state.pooled, (node, row) => {
    const pool = state.pooled.pool[row];
    checkState("pools", pool < MAX_VA_SIZE_PAGES, `there is no pool ${pool}`);
    const area = areas.make(state.pooled.start[row], state.pooled.end[row], state.pooled.flags[row]);
    areas.setObject(area, objectIn(areas, state.pooled.object, row));
    areas.listAddBefore(area, node.poolHead(pool));
    node.addToPoolLength(pool, 1);
  });
  const cpus = preload.objects.length;
  const isOfCpus = [state.preloaded, state.preloadedObject].every((column) => (column?.length ?? cpus) === cpus);
  checkState("vmap areas", isOfCpus, `are not at hand for splits of ${cpus} CPUs`);
  state.preloaded?.forEach((has, cpu) => {
    checkState("CPUs", cpu < preload.objects.length, `are ${preload.objects.length}, not ${cpu + 1} or more`);
    if (has === 0) return;
    preload.objects[cpu] = areas.makeGap(0, 0);
    areas.setObject(preload.objects[cpu], objectIn(areas, state.preloadedObject, cpu));
  });
  for (let i = 0; i < state.lost; i++) areas.make(0, 0);
  return { busy, lazy };
}

function preloadedObjects(areas: VmapAreas, preload: NeFitPreload): { readonly preloadedObject?: Int32Array } {
  const { object } = objectColumn(Array.from(preload.objects, (area) => (area === 0 ? 0 : areas.objectOf(area))));
  return object === undefined ? {} : { preloadedObject: object };
}

/** Objects of areas; none where there are none, as in older files. */
function objectColumn(objects: readonly number[]): { readonly object?: Int32Array } {
  return objects.every((object) => object === 0) ? {} : { object: Int32Array.from(objects) };
}

/** The object that a row names. @throws StateError when there is no such object */
function objectIn({ cache }: VmapAreas, column: Int32Array | undefined, row: number): number {
  const object = column?.[row] ?? 0;
  checkState("vmap areas", object === 0 || cache?.hasObject(object) === true, `name the object ${object}`);
  return object;
}

/** The areas in use, in order of addresses but for those that begin beyond the table of starts. */
function busyAreas(areas: VmapAreas, nodes: readonly VmapNode[], nodeOf: (address: number) => VmapNode): ByNode {
  const found = nodes.map((): number[] => []);
  nodes[0].busy.forEachInTable((area) => {
    found[nodeOf(areas.startOf(area)).id].push(area);
  });
  nodes.forEach((node, id) => {
    node.busy.forEachElsewhere((area) => {
      found[id].push(area);
    });
  });
  return found;
}

function listed(areas: VmapAreas, head: number): number[] {
  const found: number[] = [];
  for (let area = areas.nextOf(head); area !== head; area = areas.nextOf(area)) found.push(area);
  return found;
}

function rowsOf(areas: VmapAreas, byNode: ByNode): AreaRows {
  const all = byNode.flat();
  return {
    counts: Uint32Array.from(byNode, (ofNode) => ofNode.length),
    start: Float64Array.from(all, (area) => areas.startOf(area)),
    end: Float64Array.from(all, (area) => areas.endOf(area)),
    flags: Int32Array.from(all, (area) => areas.flagsOf(area)),
    ...objectColumn(all.map((area) => areas.objectOf(area))),
  };
}

function forEachRow(nodes: readonly VmapNode[], rows: AreaRows, visit: (node: VmapNode, row: number) => void): void {
  const { counts, start } = rows;
  const total = counts.reduce((sum, count) => sum + count, 0);
  const fits = counts.length === nodes.length && total === start.length;
  checkState("vmap nodes", fits, `are ${nodes.length}, not ${counts.length}, or have another number of areas`);
  let row = 0;
  counts.forEach((count, node) => {
    for (const end = row + count; row < end; row++) visit(nodes[node], row);
  });
}

function captureFree(areas: VmapAreas, freeTree: FreeTree): AreasState["free"] {
  const start: number[] = [];
  const end: number[] = [];
  const shape: number[] = [];
  const object: number[] = [];
  const visit = (node: number): void => {
    const [left, right] = [areas.leftOf(node), areas.rightOf(node)];
    start.push(areas.startOf(node));
    end.push(areas.endOf(node));
    object.push(areas.objectOf(node));
    const children = (left !== 0 ? HAS_LEFT : 0) | (right !== 0 ? HAS_RIGHT : 0);
    shape.push((areas.blackOf(node) !== 0 ? BLACK : 0) | children);
    if (left !== 0) visit(left);
    if (right !== 0) visit(right);
  };
  if (freeTree.root !== 0) visit(freeTree.root);
  return {
    start: Float64Array.from(start),
    end: Float64Array.from(end),
    shape: Uint8Array.from(shape),
    ...objectColumn(object),
  };
}

function restoreFree(areas: VmapAreas, freeTree: FreeTree, { start, end, shape, object }: AreasState["free"]): void {
  while (!areas.listIsEmpty(freeTree.head)) {
    const area = areas.nextOf(freeTree.head);
    areas.listRemove(area);
    // The caches of the saved state do not know it.
    areas.setObject(area, 0);
    areas.release(area);
  }
  freeTree.root = 0;
  let row = 0;
  const build = (above: number): number => {
    checkState("free tree", row < shape.length, "has fewer gaps than its shape says");
    const bits = shape[row];
    const node = areas.makeGap(start[row], end[row]);
    areas.setObject(node, objectIn(areas, object, row));
    row++;
    const left = (bits & HAS_LEFT) !== 0 ? build(node) : 0;
    areas.listAddBefore(node, freeTree.head);
    const right = (bits & HAS_RIGHT) !== 0 ? build(node) : 0;
    freeTree.adopt(node, above, left, right, (bits & BLACK) !== 0);
    return node;
  };
  if (shape.length > 0) freeTree.root = build(0);
  checkState("free tree", row === shape.length, "has more gaps than its shape says");
}
