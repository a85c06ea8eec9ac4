/** Caches of small objects as plain data, for saved states. */
import { checkState, restoreArray } from "../../arch/isa/state-error.ts";
import { captureIrqLocks, restoreIrqLocks } from "../kernel/irq-locks-state.ts";
import type { KmemCache } from "./kmem-cache.ts";
import type { KmemCaches } from "./kmem-caches.ts";
import { SLAB_NODE_PARTIAL } from "./slab-numbers.ts";

/** One cache that has ever had a slab. Slabs are numbered from 1; an object is its slab times the least power of two that there is room for, plus its place. */
export interface SlabCacheState {
  readonly name: string;
  /** By CPU: the first free object of its slab, its slab, the first of its partial slabs, their number. */
  readonly cpuFreelist: Int32Array;
  readonly cpuSlab: Int32Array;
  readonly cpuPartial: Int32Array;
  readonly cpuPartialSlabs: Int32Array;
  /** By node: first and last of its partial slabs, their number. */
  readonly nodeHead: Int32Array;
  readonly nodeTail: Int32Array;
  readonly nrPartial: Int32Array;
  /** By node: the CPU that had its lock last, -1 for none. */
  readonly lockCpu: Int32Array;
  /** By slab, number 0 included: `SLAB_*`, its first free object, objects in use, links, node, the CPU that wrote its line last plus one. */
  readonly where: Int32Array;
  readonly freelist: Int32Array;
  readonly inuse: Int32Array;
  readonly next: Int32Array;
  readonly previous: Int32Array;
  readonly node: Int32Array;
  readonly slabCpu: Uint16Array;
  /** The first slab's number that is not in use. */
  readonly unused: number;
  /** By object: the free one behind it, and the CPU that wrote its line last plus one. */
  readonly nextFree: Int32Array;
  readonly objectCpu: Uint16Array;
}

/** All caches, and the blocks of pages for slabs on the CPUs' lists: by CPU, then by order. */
export interface SlabsState {
  readonly caches: readonly SlabCacheState[];
  readonly pageBlocks: Uint16Array;
}

/** Copies the state of all caches that have ever had a slab. */
export function captureSlabs(slabs: KmemCaches): SlabsState {
  const used = slabs.all.filter((cache) => cache.slabsUsed > 1);
  return { caches: used.map(captureCache), pageBlocks: slabs.slabPages.blocks.slice() };
}

/** Brings the caches of a kernel booted alike into a captured state. @throws StateError when it is that of other caches */
export function restoreSlabs(slabs: KmemCaches, state: SlabsState): void {
  restoreArray("pages for slabs", "lists", slabs.slabPages.blocks, state.pageBlocks);
  const known = state.caches.every(({ name }) => slabs.all.some((cache) => cache.name === name));
  checkState("slab caches", known, "are not those of this kernel");
  for (const cache of slabs.all) {
    const saved = state.caches.find(({ name }) => name === cache.name);
    if (saved !== undefined) restoreCache(cache, saved);
  }
}

function captureCache(cache: KmemCache): SlabCacheState {
  const { slabsUsed } = cache;
  const objects = slabsUsed * cache.slotsPerSlab;
  return {
    name: cache.name,
    cpuFreelist: cache.freelist.slice(),
    cpuSlab: cache.slab.slice(),
    cpuPartial: cache.partial.slice(),
    cpuPartialSlabs: cache.partialSlabs.slice(),
    nodeHead: cache.nodeHead.slice(),
    nodeTail: cache.nodeTail.slice(),
    nrPartial: cache.nrPartial.slice(),
    lockCpu: captureIrqLocks(cache.listLocks),
    where: cache.where.slice(0, slabsUsed),
    freelist: cache.slabFreelist.slice(0, slabsUsed),
    inuse: cache.inuse.slice(0, slabsUsed),
    next: cache.next.slice(0, slabsUsed),
    previous: cache.previous.slice(0, slabsUsed),
    node: cache.node.slice(0, slabsUsed),
    slabCpu: cache.slabCpu.slice(0, slabsUsed),
    unused: cache.unusedSlabs,
    ...captureObjects(cache, objects),
  };
}

function captureObjects(cache: KmemCache, objects: number): Pick<SlabCacheState, "nextFree" | "objectCpu"> {
  const [nextFree, objectCpu] = [new Int32Array(objects), new Uint16Array(objects)];
  for (let object = 0; object < objects; object++) {
    nextFree[object] = cache.objects[2 * object];
    objectCpu[object] = cache.objects[2 * object + 1];
  }
  return { nextFree, objectCpu };
}

function restoreCache(cache: KmemCache, state: SlabCacheState): void {
  const slabs = state.where.length;
  checkCache(cache, state);
  cache.growTo(slabs);
  cache.slabsUsed = slabs;
  cache.unusedSlabs = state.unused;
  const pairs: readonly (readonly [string, Int32Array | Uint16Array, Int32Array | Uint16Array])[] = [
    ["CPUs", cache.freelist, state.cpuFreelist],
    ["CPUs", cache.slab, state.cpuSlab],
    ["CPUs", cache.partial, state.cpuPartial],
    ["CPUs", cache.partialSlabs, state.cpuPartialSlabs],
    ["nodes", cache.nodeHead, state.nodeHead],
    ["nodes", cache.nodeTail, state.nodeTail],
    ["nodes", cache.nrPartial, state.nrPartial],
    ["slabs", cache.where.subarray(0, slabs), state.where],
    ["slabs", cache.slabFreelist.subarray(0, slabs), state.freelist],
    ["slabs", cache.inuse.subarray(0, slabs), state.inuse],
    ["slabs", cache.next.subarray(0, slabs), state.next],
    ["slabs", cache.previous.subarray(0, slabs), state.previous],
    ["slabs", cache.node.subarray(0, slabs), state.node],
    ["slabs", cache.slabCpu.subarray(0, slabs), state.slabCpu],
  ];
  for (const [of, now, saved] of pairs) restoreArray(`slab cache ${cache.name}`, of, now, saved);
  for (let object = 0; object < state.nextFree.length; object++) {
    cache.objects[2 * object] = state.nextFree[object];
    cache.objects[2 * object + 1] = state.objectCpu[object];
  }
  cache.forgetTaken();
  restoreIrqLocks(`slab cache ${cache.name}`, cache.listLocks, cache.slab.length, state.lockCpu);
}

/** Numbers that name something else must name what there is. */
function checkCache(cache: KmemCache, state: SlabCacheState): void {
  const of = `slab cache ${cache.name}`;
  const nodes = cache.listLocks.length;
  const slabs = state.where.length;
  const objects = slabs * cache.slotsPerSlab;
  const isBelow = (end: number) => (number: number) => number >= 0 && number < end;
  const slabNumbers = [state.cpuSlab, state.cpuPartial, state.nodeHead, state.nodeTail, state.next, state.previous];
  const slabsFit = slabs > 0 && isBelow(slabs)(state.unused) && slabNumbers.every((all) => all.every(isBelow(slabs)));
  checkState(of, slabsFit, `has slabs up to ${slabs - 1}`);
  for (const { length } of [state.nextFree, state.objectCpu])
    checkState(of, length === objects, `objects are ${objects}, not ${length}`);
  const objectNumbers = [state.cpuFreelist, state.freelist, state.nextFree];
  checkState(
    of,
    objectNumbers.every((all) => all.every(isBelow(objects))),
    `has objects up to ${objects - 1}`,
  );
  checkState(of, state.where.every(isBelow(SLAB_NODE_PARTIAL + 1)), "has slabs that are nowhere");
  checkState(of, state.node.every(isBelow(nodes)), `has ${nodes} nodes`);
  const cpus = cache.slab.length;
  const writers = [state.slabCpu, state.objectCpu].every((all) => all.every(isBelow(cpus + 1)));
  checkState(of, writers, `has ${cpus} CPUs`);
}
