/** Areas for per-CPU chunks: the highest place that has room for all of them, down to the very start of the vmalloc range. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { pcpuFreeVmAreas, pcpuGetVmAreas, VMALLOC_END, VMALLOC_START } from "../../../mm/index.ts";
import { VM_MAP, VM_NO_GUARD } from "../../../mm/vmalloc/areas/vm-structs.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

const ATOM = 2 ** 21;
/** Atoms at the start of the vmalloc range that are not taken from the beginning. */
const ATOMS = 24;
const FLAGS = VM_MAP | VM_NO_GUARD;

/** A kernel in which only the first atoms of the vmalloc range are free, and of these not the ones in `taken`. */
function crowded(taken: readonly number[]): Kernel {
  const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 26 });
  const reserve = (start: number, end: number): void => {
    expect(kernel.getVmAreaRange(end - start, FLAGS, start, end)).toBe(start);
  };
  for (const atom of taken) reserve(VMALLOC_START + atom * ATOM, VMALLOC_START + (atom + 1) * ATOM);
  reserve(VMALLOC_START + ATOMS * ATOM, VMALLOC_END - (VMALLOC_END % 4096));
  return kernel;
}

/** Where the areas are, in atoms from the start of the vmalloc range; null when there is no room. */
function placed(kernel: Kernel, offsets: readonly number[], sizes: readonly number[]): number[] | null {
  const bytes = (atoms: readonly number[]): number[] => atoms.map((each) => each * ATOM);
  const vms = kernel.run(() => pcpuGetVmAreas(kernel.vm, bytes(offsets), bytes(sizes), ATOM));
  return vms?.map((vm) => (kernel.vm.vms.addr[vm] - VMALLOC_START) / ATOM) ?? null;
}

describe("pcpu_get_vm_areas", () => {
  it("takes the highest base at which every area is free", () => {
    const atoms = fc.uniqueArray(fc.integer({ min: 0, max: ATOMS - 1 }), { maxLength: ATOMS });
    const pieces = fc.array(fc.record({ gap: fc.integer({ min: 0, max: 3 }), size: fc.integer({ min: 1, max: 3 }) }), {
      minLength: 1,
      maxLength: 3,
    });
    fc.assert(
      fc.property(atoms, pieces, fc.boolean(), (taken, layout, isReversed) => {
        const offsets: number[] = [];
        let reached = 0;
        for (const { gap, size } of layout) {
          offsets.push(reached + (offsets.length === 0 ? 0 : gap));
          reached = offsets[offsets.length - 1] + size;
        }
        const sizes = layout.map(({ size }) => size);
        if (isReversed) {
          offsets.reverse();
          sizes.reverse();
        }
        const fits = (base: number): boolean =>
          offsets.every((offset, i) =>
            Array.from({ length: sizes[i] }, (_, k) => base + offset + k).every(
              (atom) => atom < ATOMS && !taken.includes(atom),
            ),
          );
        let base = ATOMS - 1;
        while (base >= 0 && !fits(base)) base--;
        const kernel = crowded(taken);
        expect(placed(kernel, offsets, sizes)).toEqual(base < 0 ? null : offsets.map((offset) => base + offset));
        expect(kernel.verify()).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it("takes the first byte of the vmalloc range when nothing else is left", () => {
    const kernel = crowded(Array.from({ length: ATOMS - 1 }, (_, i) => i + 1));
    expect(placed(kernel, [0], [1])).toEqual([0]);
    expect(placed(kernel, [0], [1])).toBeNull();
    expect(kernel.vm.purges).toBeGreaterThan(0);
  });

  it("gives areas back one by one, for a purge to make them usable again", () => {
    const kernel = crowded([]);
    const vms = kernel.run(() => pcpuGetVmAreas(kernel.vm, [0, 4 * ATOM], [ATOM, 2 * ATOM], ATOM)) ?? [];
    expect(vms).toHaveLength(2);
    expect(kernel.vm.vms.callerOf(vms[0])).toBe("pcpu_get_vm_areas+0x0/0x0");
    kernel.run(() => pcpuFreeVmAreas(kernel.vm, vms));
    kernel.vmUnmapAliases();
    expect(placed(kernel, [0], [ATOMS])).toEqual([0]);
  });

  it("leaves nothing behind where an object cannot be made", () => {
    const kernel = crowded([]);
    const { areas, vms } = kernel.vm;
    const before = [areas.liveCount, vms.liveCount];
    for (const kind of ["vmapArea", "vmStruct"] as const) {
      for (const index of [0, 1]) {
        kernel.faults.failAt(index, kind);
        expect(placed(kernel, [0, 2], [1, 1])).toBeNull();
        kernel.faults.disarm();
        expect([areas.liveCount, vms.liveCount]).toEqual(before);
      }
    }
    expect(placed(kernel, [0, 2], [1, 1])).not.toBeNull();
    expect(kernel.verify()).toEqual([]);
  });

  it.each([
    ["an alignment below a page", [0], [ATOM], 2048, "alignment of per-CPU areas: 2048"],
    ["an alignment that is no power of two", [0], [ATOM], 3 * 4096, "alignment of per-CPU areas: 12288"],
    ["more offsets than sizes", [0, ATOM], [ATOM], ATOM, "as many as sizes (1), at least one"],
    ["no areas", [], [], ATOM, "as many as sizes (0), at least one"],
    ["an offset that is not aligned", [4096], [ATOM], ATOM, "size of the per-CPU area at 4096"],
    ["a size that is not aligned", [0], [4096], ATOM, "size of the per-CPU area at 0: 4096"],
    ["an area without bytes", [0], [0], ATOM, "size of the per-CPU area at 0: 0"],
    ["areas that overlap", [0, ATOM], [2 * ATOM, ATOM], ATOM, `no overlap with the one at 0`],
  ])("refuses %s", (_, offsets, sizes, align, message) => {
    const kernel = bootKernel({ cpus: 1 });
    const call = () => kernel.run(() => pcpuGetVmAreas(kernel.vm, offsets, sizes, align));
    expect(call).toThrow(message);
  });
});
