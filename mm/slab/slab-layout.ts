/** How objects of a size are laid out in slabs (`calculate_order`, `set_cpu_partial`, `kmem_cache_open` in `mm/slub.c`). */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";

/** No slab is larger than this while a smaller one holds enough objects (`slub_max_order`, `PAGE_ALLOC_COSTLY_ORDER`). */
const SLUB_MAX_ORDER = 3;
/** At most one part in so many of a slab may be left over, tried in this order. */
const FRACTIONS_LEFT_OVER = [16, 8, 4, 2];
/** Empty slabs that a node keeps: at least and at most (`MIN_PARTIAL`, `MAX_PARTIAL`). */
const MIN_PARTIAL = 5;
const MAX_PARTIAL = 10;
/** Free objects that a CPU may have in partial slabs, by the size from which on: `set_cpu_partial`. */
const CPU_PARTIAL_OBJECTS = [
  { fromBytes: PAGE_SIZE, objects: 6 },
  { fromBytes: 1024, objects: 24 },
  { fromBytes: 256, objects: 52 },
  { fromBytes: 0, objects: 120 },
];

/** What follows from the size of a cache's objects and the number of CPUs. */
export interface SlabLayout {
  /** Pages of a slab: 2^order. */
  readonly order: number;
  readonly objectsPerSlab: number;
  /** Partial slabs of a node from which on an empty one is given back (`min_partial`). */
  readonly minPartial: number;
  /** Partial slabs that a CPU keeps for itself (`cpu_partial_slabs`). */
  readonly cpuPartialSlabs: number;
}

/** The layout of objects of `objectBytes`, a multiple of 8 and at most 8 pages, on a machine with so many CPUs. */
export function slabLayout(objectBytes: number, cpus: number): SlabLayout {
  const order = calculateOrder(objectBytes, cpus);
  const objectsPerSlab = Math.floor((PAGE_SIZE << order) / objectBytes);
  const { objects } = CPU_PARTIAL_OBJECTS.find(({ fromBytes }) => objectBytes >= fromBytes) as { objects: number };
  return {
    order,
    objectsPerSlab,
    minPartial: Math.max(MIN_PARTIAL, Math.min(MAX_PARTIAL, Math.floor(Math.log2(objectBytes) / 2))),
    // Slabs are taken to be half full.
    cpuPartialSlabs: Math.ceil((2 * objects) / objectsPerSlab),
  };
}

function calculateOrder(objectBytes: number, cpus: number): number {
  const objectsMax = Math.max(1, Math.floor((PAGE_SIZE << SLUB_MAX_ORDER) / objectBytes));
  const objectsMin = Math.min(4 * (32 - Math.clz32(cpus) + 1), objectsMax);
  const orderMin = orderOf(objectsMin * objectBytes);
  for (const fraction of FRACTIONS_LEFT_OVER) {
    for (let order = orderMin; order <= SLUB_MAX_ORDER; order++) {
      const slabBytes = PAGE_SIZE << order;
      if (slabBytes % objectBytes <= slabBytes / fraction) return order;
    }
  }
  return orderOf(objectBytes);
}

/** log2 of the pages, rounded up to a power of two, that so many bytes take (`get_order`). */
function orderOf(bytes: number): number {
  return Math.ceil(Math.log2(Math.max(1, Math.ceil(bytes / PAGE_SIZE))));
}
