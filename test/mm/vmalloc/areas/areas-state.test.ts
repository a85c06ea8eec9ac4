/** Captured areas are restored only where all that they name is there: a number one past the last is refused. */
import { describe, expect, it } from "vitest";
import { StateError } from "../../../../arch/isa/state-error.ts";
import { captureVmalloc, restoreVmallocState, type VmallocState } from "../../../../mm/index.ts";
import { captureSlabs, restoreSlabs, type SlabsState } from "../../../../mm/slab/slab-state.ts";
import { MAX_VA_SIZE_PAGES } from "../../../../mm/vmalloc/areas/vmap-node.ts";
import { bootKernel, type Kernel } from "../../../../src/machine/kernel.ts";

const CPUS = 2;
const PAGE = 4096;

function boot(): Kernel {
  return bootKernel({ cpus: CPUS });
}

/** A state with areas in use, lazily freed ones, and pooled ones. */
function capturedState(): { vmalloc: VmallocState; slabs: SlabsState } {
  const kernel = boot();
  const pairs = Array.from({ length: 20 }, (_, i) => kernel.vmalloc(PAGE * (1 + (i % 3))));
  for (const address of pairs.slice(5)) kernel.vfree(address);
  kernel.vmUnmapAliases();
  const lazy = kernel.vmalloc(PAGE * 5);
  kernel.vfree(lazy);
  return { vmalloc: captureVmalloc(kernel.vm), slabs: captureSlabs(kernel.mm.slabs) };
}

const { vmalloc: captured, slabs } = capturedState();

function restoring(areas: Partial<VmallocState["areas"]>): () => void {
  return () => {
    const { vm, mm } = boot();
    restoreSlabs(mm.slabs, slabs);
    restoreVmallocState(vm, { ...captured, areas: { ...captured.areas, ...areas } });
  };
}

/** A copy of a column with another value in its last row. */
function withLast<T extends Uint16Array | Uint32Array>(column: T, value: number): T {
  const copy = column.slice() as T;
  copy[copy.length - 1] = value;
  return copy;
}

describe("captured areas", () => {
  const { busy, pooled } = captured.areas;

  it("are restored as they are, the last number included", () => {
    expect(busy.start.length).toBeGreaterThan(0);
    expect(pooled.pool.length).toBeGreaterThan(0);
    expect(captured.areas.lazy.start.length).toBeGreaterThan(0);
    expect(restoring({})).not.toThrow();
    expect(restoring({ pooled: { ...pooled, pool: withLast(pooled.pool, MAX_VA_SIZE_PAGES - 1) } })).not.toThrow();
    expect(restoring({ preloaded: new Uint8Array(CPUS) })).not.toThrow();
  });

  it("are refused with a pool, a vm_struct, a CPU or a node too many, and with a row more or less than the nodes have", () => {
    const vms = Math.max(...busy.vm);
    const counts = busy.counts;
    const refused: readonly (readonly [RegExp, Partial<VmallocState["areas"]>])[] = [
      [/there is no pool/, { pooled: { ...pooled, pool: withLast(pooled.pool, MAX_VA_SIZE_PAGES) } }],
      [/vm_struct/, { busy: { ...busy, vm: withLast(busy.vm, vms + 1) } }],
      [/the object 7$/, { lazy: { ...captured.areas.lazy, object: new Int32Array([7]) } }],
      [/CPUs/, { preloaded: new Uint8Array(CPUS + 1) }],
      [/vmap nodes/, { busy: { ...busy, counts: Uint32Array.of(...counts, 0) } }],
      [/vmap nodes/, { busy: { ...busy, counts: withLast(counts, counts[counts.length - 1] + 1) } }],
    ];
    for (const [message, areas] of refused) {
      expect(restoring(areas)).toThrow(StateError);
      expect(restoring(areas)).toThrow(message);
    }
  });
});
