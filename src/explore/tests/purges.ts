/** Purges that share their work, and what must be so when one has returned. */
import { vfree, vmalloc, vmUnmapAliases, wait } from "../../../mm/index.ts";
import { expect } from "../base/accesses.ts";
import type { ExploreTest } from "../base/explore-test.ts";

const PAGE = 4096;

const withHelper: ExploreTest<{ readonly addresses: readonly number[] }> = {
  name: "purge-with-helper",
  summary: "areas of both nodes are purged, one node by a helper: when the purge returns, its areas are free",
  kernel: { vmalloc: { lazyMaxPages: 1 } },
  setup(kernel) {
    const addresses = [0, 1].map((cpu) => {
      kernel.currentCpu = cpu;
      return kernel.vmalloc(2 * PAGE);
    });
    kernel.currentCpu = 0;
    return { addresses };
  },
  threads: [
    function* (kernel, { addresses }) {
      for (const address of addresses) yield* wait(vfree(kernel.vm, address));
      yield* vmUnmapAliases(kernel.vm);
      expect(kernel.vm.lazyNr === 0, "what was freed before a purge is free once it has returned");
    },
    function* (kernel) {
      yield* wait(vmalloc(kernel.vm, 2 * PAGE));
    },
  ],
};

const afterwards: ExploreTest<{ readonly address: number }> = {
  name: "aliases-after-vfree-elsewhere",
  summary:
    "both CPUs ask for aliases to be gone, one after it has freed: when both have returned no page is lazily freed",
  setup: (kernel) => ({ address: kernel.vmalloc(3 * PAGE) }),
  threads: [
    function* (kernel, { address }) {
      yield* wait(vfree(kernel.vm, address));
      yield* vmUnmapAliases(kernel.vm);
      expect(kernel.vm.lazyNr === 0, "what was freed before vm_unmap_aliases is free once it has returned");
    },
    function* (kernel) {
      yield* vmUnmapAliases(kernel.vm);
    },
  ],
};

/** Tests of purges. */
export const PURGE_TESTS = [withHelper, afterwards];
