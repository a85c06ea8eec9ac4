/**
 * Checks slab caches: each slab is in one place, the one that it says; lists have the length that is counted; each free object is on one
 * list, of the slab that it is of.
 */
import type { KmemCache } from "../slab/kmem-cache.ts";
import type { KmemCaches } from "../slab/kmem-caches.ts";
import { SLAB_CPU_PARTIAL, SLAB_FULL, SLAB_NODE_PARTIAL, SLAB_OF_CPU, SLAB_UNUSED } from "../slab/slab-numbers.ts";
import type { Findings } from "./verify-findings.ts";

const NOWHERE = 255;
const PLACES: Readonly<Record<number, string>> = {
  [SLAB_UNUSED]: "among those not in use",
  [SLAB_FULL]: "full",
  [SLAB_OF_CPU]: "a CPU's",
  [SLAB_CPU_PARTIAL]: "among a CPU's partial ones",
  [SLAB_NODE_PARTIAL]: "among a node's partial ones",
  [NOWHERE]: "on no list",
};

/** Checks all caches that have ever had a slab. */
export function verifySlabs({ all }: KmemCaches, findings: Findings): void {
  for (const cache of all) if (cache.slabsUsed > 1) new SlabCheck(cache, findings).check();
}

/** The check of one cache. */
class SlabCheck {
  private readonly cache: KmemCache;
  private readonly findings: Findings;
  /** By slab: on which kind of list it was found. */
  private readonly found: Uint8Array;
  /** By object: 1 when it was found on a list. */
  private readonly isFree: Uint8Array;

  constructor(cache: KmemCache, findings: Findings) {
    this.cache = cache;
    this.findings = findings;
    this.found = new Uint8Array(cache.slabsUsed).fill(NOWHERE);
    this.isFree = new Uint8Array(cache.slabsUsed * cache.slotsPerSlab);
  }

  check(): void {
    const { cache } = this;
    this.walk(cache.unusedSlabs, SLAB_UNUSED);
    for (let cpu = 0; cpu < cache.slab.length; cpu++) this.checkCpu(cpu);
    for (let node = 0; node < cache.nodeHead.length; node++) this.checkNode(node);
    for (let slab = 1; slab < cache.slabsUsed; slab++) this.checkSlab(slab);
  }

  private add(text: string): void {
    this.findings.add(`slab cache ${this.cache.name}: ${text}`);
  }

  /** Notes a list of slabs; how many are on it. */
  private walk(first: number, place: number): number {
    const { cache, found } = this;
    let count = 0;
    for (let slab = first; slab !== 0; slab = cache.next[slab], count++) {
      if (found[slab] !== NOWHERE) {
        this.add(`slab ${slab} is ${PLACES[place]} and ${PLACES[found[slab]]}`);
        break;
      }
      found[slab] = place;
    }
    return count;
  }

  private checkCpu(cpu: number): void {
    const { cache, found } = this;
    const slab = cache.slab[cpu];
    if (slab !== 0) {
      if (found[slab] !== NOWHERE) this.add(`slab ${slab} is CPU ${cpu}'s and ${PLACES[found[slab]]}`);
      found[slab] = SLAB_OF_CPU;
    }
    const counted = cache.partialSlabs[cpu];
    const count = this.walk(cache.partial[cpu], SLAB_CPU_PARTIAL);
    if (count !== counted) this.add(`CPU ${cpu} counts ${counted} partial slabs, but has ${count}`);
    this.walkObjects(cache.freelist[cpu], slab, `CPU ${cpu}'s list`);
  }

  private checkNode(node: number): void {
    const { cache } = this;
    const count = this.walk(cache.nodeHead[node], SLAB_NODE_PARTIAL);
    if (count !== cache.nrPartial[node]) {
      this.add(`node ${node} counts ${cache.nrPartial[node]} partial slabs, but has ${count}`);
      return;
    }
    let before = 0;
    for (let slab = cache.nodeHead[node]; slab !== 0; before = slab, slab = cache.next[slab]) {
      if (cache.previous[slab] !== before) this.add(`slab ${slab}'s link back is wrong`);
      if (cache.node[slab] !== node)
        this.add(`slab ${slab} is on the list of node ${node}, but of ${cache.node[slab]}`);
    }
    if (cache.nodeTail[node] !== before) this.add(`the list of node ${node} does not end where it says`);
  }

  private checkSlab(slab: number): void {
    const { cache, found } = this;
    const where = cache.where[slab];
    const isAsSaid = found[slab] === where || (where === SLAB_FULL && found[slab] === NOWHERE);
    if (!isAsSaid) this.add(`slab ${slab} says it is ${PLACES[where]}, but is ${PLACES[found[slab]]}`);
    if (where === SLAB_UNUSED) return;
    const free = this.walkObjects(cache.slabFreelist[slab], slab, `slab ${slab}'s list`);
    if (cache.inuse[slab] + free !== cache.objectsPerSlab) {
      this.add(`slab ${slab} counts ${cache.inuse[slab]} objects in use, and has ${free} free ones`);
    }
    if (free === 0 && (where === SLAB_CPU_PARTIAL || where === SLAB_NODE_PARTIAL)) {
      this.add(`slab ${slab} is ${PLACES[where]}, but full`);
    }
  }

  /** Notes the free objects of a list, all of one slab; how many there are. */
  private walkObjects(first: number, slab: number, list: string): number {
    const { cache, isFree } = this;
    const firstOfSlab = slab * cache.slotsPerSlab;
    const end = firstOfSlab + cache.objectsPerSlab;
    let count = 0;
    for (let object = first; object !== 0; object = cache.objects[2 * object], count++) {
      if (object < firstOfSlab || object >= end) {
        this.add(`${list} has object ${object}, which is not of that slab`);
        return count;
      }
      if (isFree[object] !== 0) {
        this.add(`object ${object} is free twice`);
        return count;
      }
      isFree[object] = 1;
    }
    return count;
  }
}
