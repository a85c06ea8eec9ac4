/** vm_map_ram, its blocks and whole areas, against purges and each other. */
import { cachedTranslations, PAGE_SIZE } from "../../../arch/index.ts";
import { vfree, vmMapRam, vmUnmapAliases, vmUnmapRam, vread, wait } from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { expect, load32, store32 } from "../base/accesses.ts";
import type { ExploreTest } from "../base/explore-test.ts";

/** More pages than a block serves. */
const WHOLE_AREA_PAGES = 65;
/** Blocks of the least size, so that they are full soon. */
const SMALL_BLOCKS = { vmalloc: { blockPages: 128 } };

/** Whether any CPU has a translation of a page. */
function isCached({ machine }: Kernel, page: number): boolean {
  return machine.cpus.some((cpu) =>
    cachedTranslations(cpu).some(({ la, sizeBytes }) => page >= la && page < la + sizeBytes),
  );
}

const doubleUnmap: ExploreTest<{ readonly address: number }> = {
  name: "double-vm-unmap-ram",
  summary: "two CPUs vm_unmap_ram the same whole area: one unmaps it, the other is warned",
  setup: (kernel) => ({ address: kernel.vmMapRam(kernel.allocFrames(WHOLE_AREA_PAGES)) }),
  threads: [0, 1].map(
    () =>
      function* (kernel, { address }) {
        yield* wait(vmUnmapRam(kernel.vm, address, WHOLE_AREA_PAGES));
      },
  ),
  expectedWarnings: /vm_unmap_ram of .*: no such area/,
};

const vreadOfWholeArea: ExploreTest<{ readonly address: number; bytes: Uint8Array }> = {
  name: "vread-against-vm-unmap-ram",
  summary: "vread of a whole vm_map_ram area that is unmapped meanwhile: what it held or zeros",
  setup(kernel) {
    const address = kernel.vmMapRam(kernel.allocFrames(WHOLE_AREA_PAGES));
    kernel.machine.cpus[0].store(address, 4, 0x33333333);
    return { address, bytes: new Uint8Array(4) };
  },
  threads: [
    function* (kernel, { address }) {
      yield* wait(vmUnmapRam(kernel.vm, address, WHOLE_AREA_PAGES));
    },
    function* (kernel, situation) {
      yield* vread(kernel.vm, situation.address, situation.bytes);
    },
  ],
  check(_kernel, { bytes }) {
    expect(bytes.every((byte) => byte === 0x33) || bytes.every((byte) => byte === 0), `vread gave ${bytes}`);
  },
};

const fullBlock: ExploreTest<{ readonly addresses: readonly number[] }> = {
  name: "aliases-of-full-block",
  summary: "pages of a block without free room are unmapped; after vm_unmap_aliases no CPU has them cached",
  kernel: SMALL_BLOCKS,
  setup(kernel) {
    const frames = kernel.allocFrames(64);
    const addresses = [kernel.vmMapRam(frames), kernel.vmMapRam(frames)];
    for (const cpu of kernel.machine.cpus) for (const address of addresses) cpu.load(address, 4);
    return { addresses };
  },
  threads: [
    function* (kernel, { addresses }) {
      yield* wait(vmUnmapRam(kernel.vm, addresses[0], 64));
      yield* vmUnmapAliases(kernel.vm);
      expect(!isCached(kernel, addresses[0]), "no CPU has a translation of what was unmapped");
    },
    function* (kernel, { addresses }) {
      yield* load32(kernel, addresses[1]);
    },
  ],
};

const blockAcrossCpus: ExploreTest<{ readonly address: number; readonly frames: Uint32Array }> = {
  name: "vb-free-on-another-cpu",
  summary: "a CPU allocates from its block while the other gives pages of the same block back",
  kernel: SMALL_BLOCKS,
  setup(kernel) {
    const frames = kernel.allocFrames(4);
    return { frames, address: kernel.vmMapRam(frames) };
  },
  threads: [
    function* (kernel, { frames }) {
      const address = yield* wait(vmMapRam(kernel.vm, frames));
      yield* store32(kernel, address, 0x44);
      expect((yield* load32(kernel, address)) === 0x44, "memory holds what was stored in it");
      yield* wait(vmUnmapRam(kernel.vm, address, 4));
    },
    function* (kernel, { address }) {
      yield* wait(vmUnmapRam(kernel.vm, address, 4));
    },
  ],
};

const doubleVbFree: ExploreTest<{ readonly address: number }> = {
  name: "double-vb-free",
  summary: "two CPUs vm_unmap_ram the same pages of a block: one unmaps them, the other is warned",
  kernel: SMALL_BLOCKS,
  setup: (kernel) => ({ address: kernel.vmMapRam(kernel.allocFrames(4)) }),
  threads: [0, 1].map(
    () =>
      function* (kernel, { address }) {
        yield* wait(vmUnmapRam(kernel.vm, address, 4));
      },
  ),
  expectedWarnings: /vm_unmap_ram of .*: not mapped/,
};

const purgeAgainstAlloc: ExploreTest<{ readonly frames: Uint32Array; mapped: number }> = {
  name: "block-purge-against-vb-alloc",
  summary: "a fragmented block is purged while its CPU allocates from it",
  kernel: SMALL_BLOCKS,
  setup(kernel) {
    const frames = kernel.allocFrames(64);
    for (const pages of [64, 32, 16]) kernel.vmUnmapRam(kernel.vmMapRam(frames.subarray(0, pages)), pages);
    return { frames: frames.slice(0, 8), mapped: 0 };
  },
  threads: [
    function* (kernel, situation) {
      situation.mapped = yield* wait(vmMapRam(kernel.vm, situation.frames));
      yield* store32(kernel, situation.mapped, 0x55);
    },
    function* (kernel) {
      yield* vmUnmapAliases(kernel.vm);
    },
  ],
  check: (kernel, { mapped }) =>
    expect(kernel.machine.cpus[0].probe(mapped).outcome === "mapped", "what was mapped is"),
};

const lastPages: ExploreTest<{ readonly addresses: readonly number[] }> = {
  name: "block-freed-by-two",
  summary: "two CPUs give the last pages of a full block back: it is freed once",
  kernel: SMALL_BLOCKS,
  setup(kernel) {
    const frames = kernel.allocFrames(64);
    return { addresses: [kernel.vmMapRam(frames), kernel.vmMapRam(frames)] };
  },
  threads: [0, 1].map(
    (cpu) =>
      function* (kernel, { addresses }) {
        yield* wait(vmUnmapRam(kernel.vm, addresses[cpu], 64));
      },
  ),
};

const aliasesAgainstUnmap: ExploreTest<{ readonly addresses: readonly number[] }> = {
  name: "two-aliases-and-unmap",
  summary: "vm_unmap_aliases on one CPU while the other unmaps pages of a block and asks for it too",
  kernel: SMALL_BLOCKS,
  setup(kernel) {
    const frames = kernel.allocFrames(8);
    const addresses = [kernel.vmMapRam(frames), kernel.vmMapRam(frames)];
    for (const cpu of kernel.machine.cpus) for (const address of addresses) cpu.load(address, 4);
    return { addresses };
  },
  threads: [
    function* (kernel, { addresses }) {
      yield* wait(vmUnmapRam(kernel.vm, addresses[0], 8));
      yield* vmUnmapAliases(kernel.vm);
      expect(!isCached(kernel, addresses[0]), "no CPU has a translation of what was unmapped");
    },
    function* (kernel, { addresses }) {
      yield* wait(vmUnmapRam(kernel.vm, addresses[1], 8));
      yield* vmUnmapAliases(kernel.vm);
      expect(!isCached(kernel, addresses[1]), "no CPU has a translation of what was unmapped");
    },
  ],
};

const blockAndArea: ExploreTest<{ readonly area: number; readonly mapped: number }> = {
  name: "aliases-of-block-and-area",
  summary: "an area is lazily freed and pages of a block are unmapped: the one flush of vm_unmap_aliases covers both",
  kernel: SMALL_BLOCKS,
  setup(kernel) {
    const area = kernel.vmalloc(PAGE_SIZE);
    const mapped = kernel.vmMapRam(kernel.allocFrames(4));
    for (const cpu of kernel.machine.cpus) for (const address of [area, mapped]) cpu.load(address, 4);
    return { area, mapped };
  },
  threads: [
    function* (kernel, { area, mapped }) {
      yield* wait(vfree(kernel.vm, area));
      yield* wait(vmUnmapRam(kernel.vm, mapped, 4));
      yield* vmUnmapAliases(kernel.vm);
      for (const address of [area, mapped]) {
        expect(!isCached(kernel, address), "no CPU has a translation of what was unmapped");
      }
    },
    function* (kernel) {
      yield* vmUnmapAliases(kernel.vm);
    },
  ],
};

/** Tests of vm_map_ram. */
export const VMAP_BLOCK_TESTS = [
  doubleUnmap,
  vreadOfWholeArea,
  fullBlock,
  blockAcrossCpus,
  doubleVbFree,
  purgeAgainstAlloc,
  lastPages,
  aliasesAgainstUnmap,
  blockAndArea,
];
