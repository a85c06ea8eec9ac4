/**
 * A cache of objects of one size (`struct kmem_cache`), as `mm/slub.c` has it in Linux 6.8 to 6.17: each CPU allocates from a slab of its
 * own and keeps partial slabs; a node has partial slabs for all; what is freed to a slab that is not the CPU's goes onto the slab's own
 * list. Objects are numbers; what is in them is the caller's. A number stands for the object's line, of which the cache knows who wrote it last.
 */
import type { EventLoop } from "../../arch/time/event-loop.ts";
import { IrqSpinLock } from "../kernel/irq-spin-lock.ts";
import type { KernelCosts } from "../kernel/kernel-costs.ts";
import { type SlabLayout, slabLayout } from "./slab-layout.ts";
import {
  SLAB_CPU_PARTIAL,
  SLAB_FULL,
  SLAB_NODE_PARTIAL,
  SLAB_OF_CPU,
  SLAB_UNUSED,
  SlabNumbers,
} from "./slab-numbers.ts";
import type { SlabParts } from "./slab-pages.ts";

const UNKNOWN = -1;

/** One cache. Slabs are numbered from 1, an object by its slab and its place there; 0 is none. */
export class KmemCache extends SlabNumbers implements SlabLayout {
  readonly name: string;
  readonly objectBytes: number;
  readonly order: number;
  readonly minPartial: number;
  readonly cpuPartialSlabs: number;

  /** By CPU (`struct kmem_cache_cpu`): the first free object of its slab, its slab, its partial slabs, the latest first, and their number. */
  readonly freelist: Int32Array;
  readonly slab: Int32Array;
  readonly partial: Int32Array;
  readonly partialSlabs: Int32Array;
  /**
   * By CPU, for the host's sake: what is behind the first object of its list, if the CPU wrote that one last, else -1; and the object that it took last,
   * which is of its slab, if nobody else has written it since, else 0. An object that goes and comes on one CPU need not be looked at then: on 1024
   * CPUs it is in none of the host's caches.
   */
  private readonly behind: Int32Array;
  private readonly taken: Int32Array;
  /** By node (`struct kmem_cache_node`): its partial slabs, and their number. */
  readonly nodeHead: Int32Array;
  readonly nodeTail: Int32Array;
  readonly nrPartial: Int32Array;
  /** `n->list_lock` of each node. */
  readonly listLocks: readonly IrqSpinLock[];
  private readonly loop: EventLoop;
  private readonly costs: KernelCosts;
  private readonly parts: SlabParts;
  private readonly isAlone: boolean;

  /** @param objectBytes size of an object, a multiple of 8 */
  constructor(name: string, objectBytes: number, parts: SlabParts) {
    const { loop, costs, numaNodes } = parts;
    const layout = slabLayout(objectBytes, loop.cpus);
    super(layout.objectsPerSlab);
    this.name = name;
    this.objectBytes = objectBytes;
    this.order = layout.order;
    this.minPartial = layout.minPartial;
    this.cpuPartialSlabs = layout.cpuPartialSlabs;
    this.loop = loop;
    this.costs = costs;
    this.parts = parts;
    this.isAlone = loop.cpus === 1;
    this.listLocks = Array.from({ length: numaNodes }, () => new IrqSpinLock("&n->list_lock", loop, costs.lock));
    this.freelist = new Int32Array(loop.cpus);
    this.slab = new Int32Array(loop.cpus);
    this.partial = new Int32Array(loop.cpus);
    this.partialSlabs = new Int32Array(loop.cpus);
    this.behind = new Int32Array(loop.cpus).fill(UNKNOWN);
    this.taken = new Int32Array(loop.cpus);
    this.nodeHead = new Int32Array(numaNodes);
    this.nodeTail = new Int32Array(numaNodes);
    this.nrPartial = new Int32Array(numaNodes);
  }

  /**
   * Takes an object for the current CPU (`kmem_cache_alloc`): from its slab's list by a compare-and-exchange of its own, if there is
   * one. What that takes (`pages.slabCycles`) the caller charges with the rest of its work, as a charge of its own takes the host longer
   * than all else here; what comes to it is charged here.
   */
  kmemCacheAlloc(): number {
    const cpu = this.loop.currentCpu;
    const object = this.freelist[cpu];
    const behind = this.behind[cpu];
    if (behind === UNKNOWN) return object === 0 ? this.___slabAlloc(cpu) : this.takeFrom(cpu, object);
    this.freelist[cpu] = behind;
    this.behind[cpu] = UNKNOWN;
    this.taken[cpu] = object;
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
    if (object !== this.taken[cpu] && !this.isAlone) this.write(object);
    const first = this.freelist[cpu];
    this.objects[2 * object] = first;
    this.behind[cpu] = first;
    this.freelist[cpu] = object;
  }

  /** The current CPU writes an object; 0 is none. */
  write(object: number): void {
    const [writer, self] = [2 * object + 1, this.loop.currentCpu + 1];
    const was = this.objects[writer];
    if (was === self) return;
    if (was !== 0) this.loop.lines.takeOver(was - 1, 1);
    this.objects[writer] = self;
    this.isOthersNow(object, was);
  }

  /** The current CPU has got an object's line in another way; 0 is none. */
  hasTakenOver(object: number): void {
    if (object === 0) return;
    this.isOthersNow(object, this.objects[2 * object + 1]);
    this.objects[2 * object + 1] = this.loop.currentCpu + 1;
  }

  /** Who wrote it last, a CPU's number plus one or 0, no longer did. */
  private isOthersNow(object: number, writer: number): void {
    if (writer !== 0 && this.taken[writer - 1] === object) this.taken[writer - 1] = 0;
  }

  /** Nothing is known of CPUs' objects but what is in the arrays above, after these have been filled from a saved state. */
  forgetTaken(): void {
    this.behind.fill(UNKNOWN);
    this.taken.fill(0);
  }

  /** Objects that somebody has. */
  get objectsInUse(): number {
    let objects = 0;
    for (let slab = 1; slab < this.slabsUsed; slab++) objects += this.inuse[slab];
    for (let cpu = 0; cpu < this.slab.length; cpu++) objects -= this.lengthOf(this.freelist[cpu]);
    return objects;
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
    return this.takeFrom(cpu, freelist);
  }

  /** Takes the first object of a list that is the CPU's. */
  private takeFrom(cpu: number, freelist: number): number {
    this.freelist[cpu] = this.objects[2 * freelist];
    if (!this.isAlone) this.write(freelist);
    this.taken[cpu] = freelist;
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
