/** vmalloc and vfree against purges, readers and each other. */
import {
  DEFERRED_POLICY,
  EAGER_POLICY,
  INVLPGB_POLICY,
  ioremap,
  vfree,
  vfreeAtomic,
  vmalloc,
  vmallocHuge,
  vmallocinfo,
  vmUnmapAliases,
  vmUnmapRam,
  vread,
  wait,
} from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { expect, load32, store32, tryLoad32, turn } from "../base/accesses.ts";
import type { ExploreTest } from "../base/explore-test.ts";
import { smallPreset } from "../base/explored-kernel.ts";

const PAGE = 4096;
/** Where there is no memory. */
const DEVICE = 0x1_0000_0000;

/** Memory of CPU `owner` that all CPUs have used. */
function usedByAll(kernel: Kernel, sizeBytes: number, owner = 0): number {
  kernel.currentCpu = owner;
  const address = kernel.vmalloc(sizeBytes);
  kernel.currentCpu = 0;
  for (const cpu of kernel.machine.cpus) for (let at = 0; at < sizeBytes; at += PAGE) cpu.store(address + at, 4, 1);
  return address;
}

const reuse: ExploreTest<{ readonly freed: number }> = {
  name: "vmalloc-reuse",
  summary:
    "vfree and a purge on one CPU, vmalloc and accesses on the other: no address is used again before it was flushed",
  setup: (kernel) => ({ freed: usedByAll(kernel, PAGE) }),
  threads: [
    function* (kernel, { freed }) {
      yield* wait(vfree(kernel.vm, freed));
      yield* vmUnmapAliases(kernel.vm);
    },
    function* (kernel) {
      const address = yield* wait(vmalloc(kernel.vm, PAGE));
      yield* store32(kernel, address, 0x1234);
      expect((yield* load32(kernel, address)) === 0x1234, "memory holds what was stored in it");
      yield* wait(vfree(kernel.vm, address));
    },
  ],
};

const doubleFree: ExploreTest<{ readonly address: number; readonly pages: number }> = {
  name: "double-vfree",
  summary: "two CPUs vfree the same address: one frees it, the other is warned",
  setup: (kernel) => ({ pages: kernel.vm.nrVmallocPages, address: kernel.vmalloc(2 * PAGE) }),
  threads: [
    function* (kernel, { address }) {
      yield* wait(vfree(kernel.vm, address));
    },
    function* (kernel, { address }) {
      yield* wait(vfree(kernel.vm, address));
    },
  ],
  check: (kernel, { pages }) => expect(kernel.vm.nrVmallocPages === pages, "pages are counted once"),
  expectedWarnings: /Trying to vfree\(\) nonexistent vm area/,
};

const readers: ExploreTest<{ lines: string[] }> = {
  name: "vmallocinfo-during-vmalloc",
  summary: "/proc/vmallocinfo is read while an area is made: an area that is shown is complete",
  setup: () => ({ lines: [] }),
  threads: [
    function* (kernel) {
      yield* wait(vmalloc(kernel.vm, 3 * PAGE, "reader_test"));
    },
    function* (kernel, situation) {
      yield* turn(kernel, "vmallocinfo");
      situation.lines = vmallocinfo(kernel.vm);
    },
  ],
  check(_kernel, { lines }) {
    const line = lines.find((each) => each.includes("reader_test"));
    if (line !== undefined) expect(line.includes("pages=3"), `an area is shown with its pages: ${line}`);
  },
};

const vreadAgainstVfree: ExploreTest<{ readonly address: number; bytes: Uint8Array }> = {
  name: "vread-against-vfree",
  summary: "vread of an area that is freed meanwhile: what it held or zeros, never what others store there",
  setup(kernel) {
    const address = kernel.vmalloc(PAGE);
    kernel.machine.cpus[0].store(address, 4, 0x11111111);
    return { address, bytes: new Uint8Array(4) };
  },
  threads: [
    function* (kernel, { address }) {
      yield* wait(vfree(kernel.vm, address));
      const other = yield* wait(vmalloc(kernel.vm, PAGE));
      yield* store32(kernel, other, 0x22222222);
    },
    function* (kernel, situation) {
      yield* vread(kernel.vm, situation.address, situation.bytes);
    },
  ],
  check(_kernel, { bytes }) {
    expect(bytes.every((byte) => byte === 0x11) || bytes.every((byte) => byte === 0), `vread gave ${bytes}`);
  },
};

const freeAgainstReuse: ExploreTest<{ readonly address: number; other: number }> = {
  name: "vfree-against-purge",
  summary:
    "an area is freed while the other CPU purges, allocates and uses memory: nobody's entries are cleared by another",
  // Without pools the lowest free address is used again at once.
  kernel: { vmalloc: { vmapNodes: 1 } },
  setup: (kernel) => ({ address: usedByAll(kernel, PAGE), other: 0 }),
  threads: [
    function* (kernel, { address }) {
      yield* wait(vfree(kernel.vm, address));
    },
    function* (kernel, situation) {
      yield* vmUnmapAliases(kernel.vm);
      situation.other = yield* wait(vmalloc(kernel.vm, PAGE));
      yield* store32(kernel, situation.other, 0x77);
    },
  ],
  check(kernel, { other }) {
    expect(kernel.machine.cpus[1].probe(other).outcome === "mapped", "memory that is in use is mapped");
  },
};

const twoPurges: ExploreTest<{ readonly addresses: readonly number[] }> = {
  name: "two-purges",
  summary: "both CPUs free and purge: no area is given back twice or lost",
  setup: (kernel) => ({ addresses: [usedByAll(kernel, PAGE), usedByAll(kernel, 2 * PAGE)] }),
  threads: [0, 1].map(
    (cpu) =>
      function* (kernel, { addresses }) {
        yield* wait(vfree(kernel.vm, addresses[cpu]));
        yield* vmUnmapAliases(kernel.vm);
      },
  ),
  check: (kernel) =>
    expect(kernel.vm.lazyNr === 0, `nothing is lazily freed any more, but ${kernel.vm.lazyNr} pages are`),
};

const pools: ExploreTest<{ readonly addresses: readonly number[] }> = {
  name: "pools-against-decay",
  summary: "one CPU takes areas from its pool while the other purges, which decays the pools",
  setup(kernel) {
    const addresses = Array.from({ length: 4 }, () => kernel.vmalloc(PAGE));
    for (const address of addresses.slice(0, 3)) kernel.vfree(address);
    kernel.vmUnmapAliases();
    return { addresses };
  },
  threads: [
    function* (kernel) {
      const first = yield* wait(vmalloc(kernel.vm, PAGE));
      yield* store32(kernel, first, 1);
      const second = yield* wait(vmalloc(kernel.vm, PAGE));
      yield* store32(kernel, second, 2);
      expect((yield* load32(kernel, first)) === 1, "two areas share no memory");
    },
    function* (kernel, { addresses }) {
      yield* wait(vfree(kernel.vm, addresses[3]));
      yield* vmUnmapAliases(kernel.vm);
    },
  ],
};

const shrinker: ExploreTest<{ readonly address: number }> = {
  name: "shrinker-against-purge",
  summary: "memory is short, and the pools' shrinker runs while the other CPU purges, which decays the pools too",
  setup(kernel) {
    // Pools of two sizes: of five areas a purge takes one, of one it takes all.
    const addresses = [1, 1, 1, 1, 1, 2, 1].map((pages) => kernel.vmalloc(pages * PAGE));
    for (const address of addresses.slice(0, 6)) kernel.vfree(address);
    kernel.vmUnmapAliases();
    return { address: addresses[6] };
  },
  threads: [
    function* (kernel) {
      yield* kernel.mm.reclaim.tryToFreePages();
    },
    function* (kernel, { address }) {
      yield* wait(vfree(kernel.vm, address));
      yield* vmUnmapAliases(kernel.vm);
      yield* wait(vmalloc(kernel.vm, PAGE));
    },
  ],
};

const largeLeaf: ExploreTest<{ readonly small: number }> = {
  name: "large-leaf-over-emptied-table",
  summary:
    "ioremap puts a 2 MiB leaf where small pages were, and frees their page table while CPUs may still walk through it",
  kernel: { vmalloc: { vmapNodes: 1 } },
  setup(kernel) {
    const small = usedByAll(kernel, PAGE);
    kernel.vfree(small);
    kernel.vmUnmapAliases();
    // Walks for an address that is not mapped fill the paging-structure caches.
    return { small };
  },
  watched: ({ small }) => [small],
  threads: [
    function* (kernel) {
      const address = yield* ioremap(kernel.vm, DEVICE, 2 ** 21);
      expect(kernel.machine.cpus[0].probe(address).pageSize === "2M", "the device is mapped by one entry");
    },
    function* (kernel, { small }) {
      yield* tryLoad32(kernel, small);
      yield* wait(vmalloc(kernel.vm, PAGE));
    },
  ],
};

const atomicFree: ExploreTest<{ readonly address: number }> = {
  name: "vfree-atomic-against-purge",
  summary: "vfree_atomic leaves the work to a worker while the other CPU purges",
  setup: (kernel) => ({ address: usedByAll(kernel, PAGE) }),
  threads: [
    function* (kernel, { address }) {
      yield* turn(kernel, "vfree_atomic");
      vfreeAtomic(kernel.vm, address);
    },
    function* (kernel) {
      yield* vmUnmapAliases(kernel.vm);
    },
  ],
  check: (kernel) => expect(kernel.vm.nrVmallocPages === 0, "the pages have been given back"),
};

const drain: ExploreTest<{ readonly addresses: readonly number[] }> = {
  name: "drain-work",
  summary: "both CPUs free more than lazy_max_pages, and the drain work runs beside them",
  kernel: { vmalloc: { lazyMaxPages: 1 } },
  setup: (kernel) => ({ addresses: [usedByAll(kernel, PAGE), usedByAll(kernel, PAGE)] }),
  threads: [0, 1].map(
    (cpu) =>
      function* (kernel, { addresses }) {
        yield* wait(vfree(kernel.vm, addresses[cpu]));
      },
  ),
  check: (kernel) => expect(kernel.vm.lazyNr === 0, "the drain work has purged what was freed last"),
};

const huge: ExploreTest<{ readonly address: number }> = {
  name: "vmalloc-huge-against-purge",
  summary: "2 MiB are mapped by one entry while the other CPU frees small pages and purges",
  kernel: { memoryBytes: 32 * 2 ** 20 },
  setup: (kernel) => ({ address: usedByAll(kernel, 2 * PAGE) }),
  threads: [
    function* (kernel) {
      const address = yield* wait(vmallocHuge(kernel.vm, 2 ** 21));
      yield* store32(kernel, address + 5 * PAGE, 5);
      expect((yield* load32(kernel, address + 5 * PAGE)) === 5, "memory holds what was stored in it");
    },
    function* (kernel, { address }) {
      yield* wait(vfree(kernel.vm, address));
      yield* vmUnmapAliases(kernel.vm);
    },
  ],
};

const twoNodes: ExploreTest<{ readonly addresses: readonly number[] }> = {
  name: "purge-of-two-nodes",
  summary: "areas of both nodes are purged, one of them by a helper, while the other CPU allocates from its pool",
  kernel: { vmalloc: { lazyMaxPages: 1 } },
  setup(kernel) {
    const addresses = [0, 1].flatMap((cpu) => [usedByAll(kernel, 2 * PAGE, cpu), usedByAll(kernel, PAGE, cpu)]);
    return { addresses };
  },
  threads: [
    function* (kernel, { addresses }) {
      for (const address of [addresses[0], addresses[2]]) yield* wait(vfree(kernel.vm, address));
      yield* vmUnmapAliases(kernel.vm);
    },
    function* (kernel, { addresses }) {
      yield* wait(vfree(kernel.vm, addresses[3]));
      const address = yield* wait(vmalloc(kernel.vm, PAGE));
      yield* store32(kernel, address, 9);
      expect((yield* load32(kernel, address)) === 9, "memory holds what was stored in it");
    },
  ],
};

const vfreeOfMapRam: ExploreTest<{ readonly address: number }> = {
  name: "vfree-against-vm-unmap-ram",
  summary: "vfree of what vm_map_ram returned is warned of, whether or not the other CPU has unmapped it",
  setup: (kernel) => ({ address: kernel.vmMapRam(kernel.allocFrames(65)) }),
  threads: [
    function* (kernel, { address }) {
      yield* wait(vfree(kernel.vm, address));
    },
    function* (kernel, { address }) {
      yield* wait(vmUnmapRam(kernel.vm, address, 65));
    },
  ],
  expectedWarnings: /Trying to vfree\(\) nonexistent vm area/,
};

const byBroadcast: ExploreTest<{ readonly freed: number }> = {
  ...reuse,
  name: "vmalloc-reuse-by-broadcast",
  summary: "vfree and a purge under the policy invlpgb, vmalloc and accesses on the other CPU",
  kernel: { preset: smallPreset("zen4"), flushPolicy: INVLPGB_POLICY },
};

const eager: ExploreTest<{ readonly address: number; isDone: boolean }> = {
  name: "vfree-eager",
  summary: "vfree under the policy eager while the other CPU reads and frees: once it returns, reads fault",
  kernel: { flushPolicy: EAGER_POLICY, vmalloc: { vmapNodes: 1 } },
  setup: (kernel) => ({ address: usedByAll(kernel, PAGE), isDone: false }),
  threads: [
    function* (kernel, situation) {
      yield* wait(vfree(kernel.vm, situation.address));
      situation.isDone = true;
    },
    function* (kernel, situation) {
      const other = yield* wait(vmalloc(kernel.vm, PAGE));
      yield* wait(vfree(kernel.vm, other));
      const { isDone } = situation;
      const value = yield* tryLoad32(kernel, situation.address);
      expect(value === null || !isDone, "no page can be read once vfree has returned");
    },
  ],
};

const deferred: ExploreTest<{ readonly address: number; isDone: boolean }> = {
  name: "purge-deferred",
  summary: "a purge under the policy deferred while an isolated CPU goes to user mode and back, and reads",
  kernel: { flushPolicy: DEFERRED_POLICY, isolatedCpus: [1] },
  setup: (kernel) => ({ address: usedByAll(kernel, PAGE), isDone: false }),
  threads: [
    function* (kernel, situation) {
      yield* wait(vfree(kernel.vm, situation.address));
      yield* vmUnmapAliases(kernel.vm);
      situation.isDone = true;
    },
    function* (kernel, situation) {
      const { userMode } = kernel.vm.flushing;
      for (const where of ["user mode", "kernel"]) {
        yield* turn(kernel, where);
        if (where === "user mode") userMode.enterUser();
        else userMode.enterKernel();
        if (where === "user mode") continue;
        const { isDone } = situation;
        const value = yield* tryLoad32(kernel, situation.address);
        expect(value === null || !isDone, "no page can be read once it was purged");
      }
      const { isDone } = situation;
      const value = yield* tryLoad32(kernel, situation.address);
      expect(value === null || !isDone, "no page can be read once it was purged");
    },
  ],
};

/** Tests of vmalloc and vfree. */
export const VMALLOC_TESTS = [
  reuse,
  doubleFree,
  readers,
  vreadAgainstVfree,
  freeAgainstReuse,
  twoPurges,
  pools,
  shrinker,
  largeLeaf,
  atomicFree,
  drain,
  huge,
  twoNodes,
  vfreeOfMapRam,
  byBroadcast,
  eager,
  deferred,
];
