/** Slab caches of small objects: two CPUs at the list of partial slabs of their node, under `n->list_lock`. */
import type { KernelCode } from "../../../arch/index.ts";
import { DONE } from "../../../mm/index.ts";
import type { KmemCache } from "../../../mm/slab/kmem-cache.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { expect, turn } from "../base/accesses.ts";
import type { ExploreTest, ThreadOf } from "../base/explore-test.ts";

/** Objects so large that a slab has four: kmalloc-8k. */
const OBJECT_BYTES = 8192;

/** A cache whose slabs CPU 0 has made, and the objects of each that are in use. */
interface Slabs {
  readonly cache: KmemCache;
  readonly bySlab: number[][];
  /** What the threads have taken and not given back. */
  readonly taken: number[];
}

/** CPU 0 fills so many slabs; nobody has a free object of any. */
function fullSlabs(kernel: Kernel, slabs: number): Slabs {
  const cache = kernel.mm.slabs.kmallocSlab(OBJECT_BYTES);
  if (cache === null) throw new Error(`kmalloc has no cache of ${OBJECT_BYTES} bytes`);
  const bySlab = Array.from({ length: slabs }, () =>
    Array.from({ length: cache.objectsPerSlab }, () => cache.kmemCacheAlloc()),
  );
  return { cache, bySlab, taken: [] };
}

/** CPU 2, which does nothing later, frees all objects but `left` of each of some slabs. */
function freeBut(kernel: Kernel, { cache, bySlab }: Slabs, left: number, slabs: readonly number[]): void {
  kernel.run(() => {
    for (const slab of slabs) for (const object of bySlab[slab].splice(left)) cache.kmemCacheFree(object);
    return DONE;
  }, 2);
}

/** The node gets `count` partial slabs, of which `left` objects each are in use: a multiple of what a CPU keeps, as many as go there at once. */
function partialSlabs(kernel: Kernel, count: number, left: number): Slabs {
  // The node gets them when CPU 2 gets one more. The last slab is CPU 0's own.
  const situation = fullSlabs(kernel, count + 2);
  freeBut(kernel, situation, left, [...situation.bySlab.keys()].slice(0, -1));
  return situation;
}

/** Takes so many objects, one after the other. */
function take(count: number): ThreadOf<Slabs> {
  return function* (kernel, { cache, taken }): KernelCode<void> {
    for (let i = 0; i < count; i++) {
      yield* turn(kernel, "kmem_cache_alloc");
      taken.push(cache.kmemCacheAlloc());
    }
  };
}

function checkTaken(_kernel: Kernel, { taken, bySlab }: Slabs): void {
  const all = [...taken, ...bySlab.flat()];
  expect(!all.includes(0), "there is an object for who asks");
  expect(new Set(all).size === all.length, "no object is given out twice");
}

const takenByTwo: ExploreTest<Slabs> = {
  name: "partial-slabs-taken-by-two",
  summary: "two CPUs have no free object left and take the partial slabs of their node",
  cpus: 3,
  setup(kernel) {
    const situation = partialSlabs(kernel, 6, 1);
    // One goes back to the pages: a CPU that wants three leaves two.
    freeBut(kernel, situation, 0, [0]);
    return situation;
  },
  threads: [take(3), take(3)],
  check: checkTaken,
};

const lastTakenByTwo: ExploreTest<Slabs> = {
  ...takenByTwo,
  name: "last-partial-slabs-taken-by-two",
  summary: "as many partial slabs as one CPU takes are left: the other finds none once it has the lock",
  setup: (kernel) => partialSlabs(kernel, 3, 1),
};

/** Gives back the objects of the slabs that have but one in use. */
function* empty(kernel: Kernel, { cache, bySlab }: Slabs, slabs: readonly number[]): KernelCode<void> {
  for (const slab of slabs) {
    yield* turn(kernel, "kmem_cache_free");
    const [object] = bySlab[slab].splice(0);
    cache.kmemCacheFree(object);
  }
}

const emptied: ExploreTest<Slabs> = {
  name: "slab-emptied-against-alloc",
  summary: "the last object of partial slabs is freed while another CPU takes those slabs, and a third frees too",
  cpus: 3,
  setup: (kernel) => partialSlabs(kernel, 9, 1),
  threads: [(kernel, situation) => empty(kernel, situation, [0, 1]), take(1)],
  check: checkTaken,
};

const emptiedByTwo: ExploreTest<Slabs> = {
  ...emptied,
  name: "slabs-emptied-by-two",
  summary: "two CPUs free the last objects of partial slabs: their node keeps as many empty ones as it is to",
  setup: (kernel) => partialSlabs(kernel, 6, 1),
  threads: [
    (kernel, situation) => empty(kernel, situation, [0, 1]),
    (kernel, situation) => empty(kernel, situation, [2, 3]),
  ],
  check(kernel, situation) {
    checkTaken(kernel, situation);
    const { nrPartial, minPartial } = situation.cache;
    expect(nrPartial[0] >= minPartial - 1, "an empty slab goes back only where there are min_partial of them");
  },
};

const drained: ExploreTest<Slabs> = {
  name: "partial-slabs-drained-against-alloc",
  summary: "a CPU gets more partial slabs than it keeps, which go to their node while another CPU takes some there",
  cpus: 3,
  setup(kernel) {
    const situation = fullSlabs(kernel, 9);
    freeBut(kernel, situation, 3, [0, 1, 2, 3]);
    return situation;
  },
  threads: [
    function* (kernel, { cache, bySlab }) {
      for (const objects of bySlab.slice(4, 8)) {
        yield* turn(kernel, "kmem_cache_free");
        cache.kmemCacheFree(objects.splice(0, 1)[0]);
      }
    },
    take(2),
  ],
  check: checkTaken,
};

const freedByOther: ExploreTest<Slabs> = {
  name: "slab-of-cpu-freed-by-other",
  summary: "objects of the slab that a CPU allocates from are freed by another CPU while it looks for one",
  setup: (kernel) => fullSlabs(kernel, 2),
  threads: [
    take(3),
    function* (kernel, { cache, bySlab }) {
      for (const object of bySlab[1].splice(0, 2)) {
        yield* turn(kernel, "kmem_cache_free");
        cache.kmemCacheFree(object);
      }
    },
  ],
  check: checkTaken,
};

/** Tests of slab caches. */
export const SLAB_TESTS = [takenByTwo, lastTakenByTwo, emptied, emptiedByTwo, drained, freedByOther];
