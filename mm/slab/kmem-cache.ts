/**
 * A cache of objects of one size (`struct kmem_cache`), as `mm/slub.c` has it in Linux 6.8 to 6.17: each CPU allocates from a slab of its
 * own and keeps partial slabs; a node has partial slabs for all; what is freed to a slab that is not the CPU's goes onto the slab's own
 * list. Objects are numbers; what is in them is the caller's. A number stands for the object's line, of which the cache knows who wrote it last.
 */
import type { EventLoop } from "../../arch/time/event-loop.ts";
import { IrqSpinLock } from "../kernel/irq-spin-lock.ts";
import type { KernelCosts } from "../kernel/kernel-costs.ts";
import { growInt32, growUint16 } from "../lib/grow.ts";
import { type SlabLayout, slabLayout } from "./slab-layout.ts";
import type { SlabParts } from "./slab-pages.ts";

/** Where a slab is. Its number is not in use. */
export const SLAB_UNUSED = 0;
/** Nowhere: all its objects are in use. */
export const SLAB_FULL = 1;
/** It is the slab that a CPU allocates from. */
export const SLAB_OF_CPU = 2;
/** Among the partial slabs of a CPU. */
export const SLAB_CPU_PARTIAL = 3;
/** Among the partial slabs of its node (`slab_test_node_partial`). */
export const SLAB_NODE_PARTIAL = 4;

const FIRST_SLABS = 8;

/** One cache. Slabs are numbered from 1, an object by its slab and its place there; 0 is none. */
export class KmemCache implements SlabLayout {
  readonly name: string;
  readonly objectBytes: number;
  readonly order: number;
  readonly objectsPerSlab: number;
  readonly minPartial: number;
  readonly cpuPartialSlabs: number;

  /** By CPU (`struct kmem_cache_cpu`): the first free object of its slab, its slab, its partial slabs, the latest first, and their number. */
  readonly freelist: Int32Array;
  readonly slab: Int32Array;
  readonly partial: Int32Array;
  readonly partialSlabs: Int32Array;
  /** By node (`struct kmem_cache_node`): its partial slabs, and their number. */
  readonly nodeHead: Int32Array;
  readonly nodeTail: Int32Array;
  readonly nrPartial: Int32Array;
  /** By slab: where it is, the first object of its own list, objects in use, its links, its node. */
  where = new Int32Array(FIRST_SLABS);
  slabFreelist = new Int32Array(FIRST_SLABS);
  inuse = new Int32Array(FIRST_SLABS);
  next = new Int32Array(FIRST_SLABS);
  previous = new Int32Array(FIRST_SLABS);
  node = new Int32Array(FIRST_SLABS);
  /** By slab: the CPU that wrote its line last, plus one; 0 for none. On one CPU nobody asks. */
  slabCpu = new Uint16Array(FIRST_SLABS);
  /** By object two numbers, in one cache line of the host: the free one behind it on its list, and who wrote its line last, as in `slabCpu`. */
  objects: Int32Array<ArrayBuffer> = new Int32Array(0);
  /** One past the highest number that a slab has had; numbers that are not in use are linked by `next`. */
  slabsUsed = 1;
  unusedSlabs = 0;

  /** `n->list_lock` of each node. */
  readonly listLocks: readonly IrqSpinLock[];
  private readonly loop: EventLoop;
  private readonly costs: KernelCosts;
  private readonly parts: SlabParts;
  private readonly isAlone: boolean;
  private readonly shift: number;

  /** @param objectBytes size of an object, a multiple of 8 */
  constructor(name: string, objectBytes: number, parts: SlabParts) {
    const { loop, costs, numaNodes } = parts;
    const layout = slabLayout(objectBytes, loop.cpus);
    this.name = name;
    this.objectBytes = objectBytes;
    this.order = layout.order;
    this.objectsPerSlab = layout.objectsPerSlab;
    this.minPartial = layout.minPartial;
    this.cpuPartialSlabs = layout.cpuPartialSlabs;
    this.loop = loop;
    this.costs = costs;
    this.parts = parts;
    this.isAlone = loop.cpus === 1;
    this.shift = 32 - Math.clz32(layout.objectsPerSlab - 1);
    this.listLocks = Array.from({ length: numaNodes }, () => new IrqSpinLock("&n->list_lock", loop, costs.lock));
    this.freelist = new Int32Array(loop.cpus);
    this.slab = new Int32Array(loop.cpus);
    this.partial = new Int32Array(loop.cpus);
    this.partialSlabs = new Int32Array(loop.cpus);
    this.nodeHead = new Int32Array(numaNodes);
    this.nodeTail = new Int32Array(numaNodes);
    this.nrPartial = new Int32Array(numaNodes);
    this.growObjects();
  }

  /**
   * Takes an object for the current CPU (`kmem_cache_alloc`): from its slab's list by a compare-and-exchange of its own, if there is
   * one. What that takes (`pages.slabCycles`) the caller charges with the rest of its work, as a charge of its own takes the host longer
   * than all else here; what comes to it is charged here.
   */
  kmemCacheAlloc(): number {
    const cpu = this.loop.currentCpu;
    const object = this.freelist[cpu];
    if (object === 0) return this.___slabAlloc(cpu);
    this.freelist[cpu] = this.objects[2 * object];
    if (!this.isAlone) this.write(object);
    return object;
  }

  /** The current CPU gives an object back, whichever CPU took it (`kmem_cache_free`), charged as taking one is; 0 is none. */
  kmemCacheFree(object: number): void {
    const cpu = this.loop.currentCpu;
    const slab = object >> this.shift;
    if (slab !== this.slab[cpu]) {
      this.__slabFree(cpu, slab, object);
      return;
    }
    if (object === 0) return;
    if (!this.isAlone) this.write(object);
    this.objects[2 * object] = this.freelist[cpu];
    this.freelist[cpu] = object;
  }

  /** The current CPU writes an object; 0 is none. */
  write(object: number): void {
    const [writer, self] = [2 * object + 1, this.loop.currentCpu + 1];
    const was = this.objects[writer];
    if (was === self) return;
    if (was !== 0) this.loop.lines.takeOver(was - 1, 1);
    this.objects[writer] = self;
  }

  /** The current CPU has got an object's line in another way; 0 is none. */
  hasTakenOver(object: number): void {
    if (object !== 0) this.objects[2 * object + 1] = this.loop.currentCpu + 1;
  }

  /** Numbers of objects that a slab takes up. */
  get slotsPerSlab(): number {
    return 1 << this.shift;
  }

  /** Whether there is an object of this number, used or not. */
  hasObject(object: number): boolean {
    const slab = object >> this.shift;
    const isInSlab = (object & (this.slotsPerSlab - 1)) < this.objectsPerSlab;
    return slab > 0 && slab < this.slabsUsed && isInSlab && this.where[slab] !== SLAB_UNUSED;
  }

  /** Objects that somebody has. */
  get objectsInUse(): number {
    let objects = 0;
    for (let slab = 1; slab < this.slabsUsed; slab++) objects += this.inuse[slab];
    for (let cpu = 0; cpu < this.slab.length; cpu++) objects -= this.lengthOf(this.freelist[cpu]);
    return objects;
  }

  /** Slabs that it has. */
  get slabs(): number {
    return this.where.subarray(1, this.slabsUsed).reduce((sum, where) => sum + (where === SLAB_UNUSED ? 0 : 1), 0);
  }

  /** Objects from `object` on that list each other. */
  lengthOf(object: number): number {
    let length = 0;
    for (let at = object; at !== 0; at = this.objects[2 * at]) length++;
    return length;
  }

  /** Makes room for slabs up to the number `slabs`, that one not included. */
  growTo(slabs: number): void {
    if (slabs <= this.where.length) return;
    const capacity = Math.max(2 * this.where.length, slabs);
    this.where = growInt32(this.where, capacity);
    this.slabFreelist = growInt32(this.slabFreelist, capacity);
    this.inuse = growInt32(this.inuse, capacity);
    this.next = growInt32(this.next, capacity);
    this.previous = growInt32(this.previous, capacity);
    this.node = growInt32(this.node, capacity);
    this.slabCpu = growUint16(this.slabCpu, capacity);
    this.growObjects();
  }

  private growObjects(): void {
    this.objects = growInt32(this.objects, 2 * (this.where.length << this.shift));
  }

  /** The CPU's list is empty (`___slab_alloc`): what others have freed to its slab, a partial slab, or a new one. */
  private ___slabAlloc(cpu: number): number {
    this.loop.spend(this.costs.slab.slowCycles);
    let slab = this.slab[cpu];
    let freelist = slab === 0 ? 0 : this.getFreelist(cpu, slab);
    if (freelist === 0) {
      slab = this.takeCpuPartial(cpu) || this.getPartial(cpu);
      if (slab === 0) slab = this.allocateSlab();
      freelist = this.freezeSlab(slab);
      this.slab[cpu] = slab;
    }
    this.freelist[cpu] = this.objects[2 * freelist];
    if (!this.isAlone) this.write(freelist);
    return freelist;
  }

  /** Takes what was freed to the CPU's slab by others; if that is nothing, the slab is full and the CPU lets go of it (`get_freelist`). */
  private getFreelist(cpu: number, slab: number): number {
    this.exchange(slab);
    const freelist = this.slabFreelist[slab];
    this.slabFreelist[slab] = 0;
    if (freelist !== 0) {
      this.inuse[slab] = this.objectsPerSlab;
    } else {
      this.where[slab] = SLAB_FULL;
      this.slab[cpu] = 0;
    }
    return freelist;
  }

  /** Takes all free objects of a slab that becomes a CPU's (`freeze_slab`). */
  private freezeSlab(slab: number): number {
    this.exchange(slab);
    const freelist = this.slabFreelist[slab];
    this.slabFreelist[slab] = 0;
    this.inuse[slab] = this.objectsPerSlab;
    this.where[slab] = SLAB_OF_CPU;
    return freelist;
  }

  private takeCpuPartial(cpu: number): number {
    const slab = this.partial[cpu];
    if (slab !== 0) {
      this.partial[cpu] = this.next[slab];
      this.partialSlabs[cpu]--;
    }
    return slab;
  }

  /** A partial slab of the CPU's node, or of another that has more than it keeps (`get_partial`, `get_any_partial`); 0 when there is none. */
  private getPartial(cpu: number): number {
    const own = this.parts.nodeOfCpu(cpu);
    const slab = this.getPartialNode(cpu, own);
    for (let node = 0; slab === 0 && node < this.nrPartial.length; node++) {
      if (node !== own && this.nrPartial[node] > this.minPartial) return this.getPartialNode(cpu, node);
    }
    return slab;
  }

  /** A partial slab of a node, and some more for the CPU's own list, half as many as it may have there (`get_partial_node`). */
  private getPartialNode(cpu: number, node: number): number {
    if (this.nrPartial[node] === 0) return 0;
    this.listLocks[node].aboutToTake();
    const taken = Math.min(this.nrPartial[node], 2 + (this.cpuPartialSlabs >> 1));
    this.holdListLock(node, taken);
    const first = this.nodeHead[node];
    // Others have taken what was there before the lock was.
    if (first === 0) return 0;
    this.removePartial(first);
    for (let more = 1; more < taken; more++) {
      const slab = this.nodeHead[node];
      this.removePartial(slab);
      this.putCpuPartial(cpu, slab, false);
    }
    return first;
  }

  /**
   * Frees an object to a slab that is not the CPU's (`__slab_free`): onto the slab's own list. A slab that was full becomes one of the
   * partial slabs of this CPU; one that gets empty is given back if its node has enough of them.
   */
  private __slabFree(cpu: number, slab: number, object: number): void {
    if (object === 0) return;
    this.loop.spend(this.costs.slab.slowCycles);
    if (!this.isAlone) this.write(object);
    const takesLock = this.becomesEmpty(slab);
    if (takesLock) this.listLocks[this.node[slab]].aboutToTake();
    // Others may have changed the slab meanwhile: then the exchange fails and is tried again.
    const isOfNode = this.where[slab] === SLAB_NODE_PARTIAL;
    const goesBack = this.becomesEmpty(slab) && isOfNode && this.nrPartial[this.node[slab]] >= this.minPartial;
    if (takesLock) this.holdListLock(this.node[slab], goesBack ? 1 : 0);
    this.exchange(slab);
    this.objects[2 * object] = this.slabFreelist[slab];
    this.slabFreelist[slab] = object;
    this.inuse[slab]--;
    if (goesBack) {
      this.removePartial(slab);
      this.discardSlab(slab);
    } else if (this.where[slab] === SLAB_FULL) {
      this.putCpuPartial(cpu, slab, true);
    }
  }

  /** Whether an object that is freed to the slab is the last that somebody had of it, and no CPU allocates from it. */
  private becomesEmpty(slab: number): boolean {
    return this.inuse[slab] === 1 && this.slabFreelist[slab] !== 0 && this.where[slab] !== SLAB_OF_CPU;
  }

  /** Puts a slab among the CPU's partial ones; if there were too many, all of them go to their nodes (`put_cpu_partial`). */
  private putCpuPartial(cpu: number, slab: number, drain: boolean): void {
    const [first, drains] = [this.partial[cpu], drain && this.partialSlabs[cpu] >= this.cpuPartialSlabs];
    this.where[slab] = SLAB_CPU_PARTIAL;
    this.next[slab] = drains ? 0 : first;
    this.partial[cpu] = slab;
    this.partialSlabs[cpu] = drains ? 1 : this.partialSlabs[cpu] + 1;
    if (drains) this.__putPartials(first);
  }

  /** Gives slabs to their nodes, the lock held for those of one node that follow each other; empty ones that are too many go back (`__put_partials`). */
  private __putPartials(first: number): void {
    let empty = 0;
    for (let slab = first; slab !== 0; ) {
      const node = this.node[slab];
      this.listLocks[node].aboutToTake();
      let moved = 0;
      for (; slab !== 0 && this.node[slab] === node; moved++) {
        const following = this.next[slab];
        if (this.inuse[slab] === 0 && this.nrPartial[node] >= this.minPartial) {
          this.next[slab] = empty;
          empty = slab;
        } else {
          this.addPartial(slab);
        }
        slab = following;
      }
      this.holdListLock(node, moved);
    }
    for (let slab = empty; slab !== 0; ) {
      const following = this.next[slab];
      this.discardSlab(slab);
      slab = following;
    }
  }

  /** A new slab of the current CPU's node, all of its objects on its list (`allocate_slab`). */
  private allocateSlab(): number {
    const { loop, costs, parts, objectsPerSlab } = this;
    parts.slabPages.allocSlabPages(this.order);
    loop.spend(objectsPerSlab * costs.slab.objectCycles);
    let slab = this.unusedSlabs;
    if (slab !== 0) {
      this.unusedSlabs = this.next[slab];
    } else {
      slab = this.slabsUsed++;
      this.growTo(this.slabsUsed);
    }
    const first = slab << this.shift;
    const holder = this.isAlone ? 0 : loop.currentCpu + 1;
    for (let i = 0; i < objectsPerSlab; i++) {
      this.objects[2 * (first + i)] = i + 1 < objectsPerSlab ? first + i + 1 : 0;
      this.objects[2 * (first + i) + 1] = holder;
    }
    this.slabCpu[slab] = holder;
    this.slabFreelist[slab] = first;
    this.inuse[slab] = 0;
    this.node[slab] = parts.nodeOfCpu(loop.currentCpu);
    return slab;
  }

  /** Gives a slab's pages back (`discard_slab`). */
  private discardSlab(slab: number): void {
    this.parts.slabPages.freeSlabPages(this.order);
    this.where[slab] = SLAB_UNUSED;
    this.next[slab] = this.unusedSlabs;
    this.unusedSlabs = slab;
  }

  /** The current CPU changes a slab's list and counters by a locked compare-and-exchange (`slab_update_freelist`), for which its line comes. */
  private exchange(slab: number): void {
    if (this.isAlone) return;
    const holder = this.loop.currentCpu + 1;
    if (this.slabCpu[slab] === holder) return;
    this.loop.lines.takeOver(this.slabCpu[slab] - 1, 1);
    this.slabCpu[slab] = holder;
  }

  /** The current CPU holds the lock of a node's list while it moves so many slabs; the links are in the slabs' own lines. */
  private holdListLock(node: number, slabs: number): void {
    const { irqCycles, partialCycles } = this.costs.slab;
    this.loop.spend(irqCycles);
    this.listLocks[node].hold(slabs * partialCycles);
  }

  /** Puts a slab at the end of its node's list. */
  private addPartial(slab: number): void {
    const node = this.node[slab];
    const tail = this.nodeTail[node];
    this.where[slab] = SLAB_NODE_PARTIAL;
    this.next[slab] = 0;
    this.previous[slab] = tail;
    if (tail === 0) this.nodeHead[node] = slab;
    else this.next[tail] = slab;
    this.nodeTail[node] = slab;
    this.nrPartial[node]++;
  }

  private removePartial(slab: number): void {
    const node = this.node[slab];
    const [next, previous] = [this.next[slab], this.previous[slab]];
    if (previous === 0) this.nodeHead[node] = next;
    else this.next[previous] = next;
    if (next === 0) this.nodeTail[node] = previous;
    else this.previous[next] = previous;
    this.nrPartial[node]--;
  }
}
