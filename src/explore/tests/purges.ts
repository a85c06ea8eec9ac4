/** Purges that share their work, and what must be so when one has returned. */
import { DEFERRED_POLICY, DONE, vfree, vmalloc, vmUnmapAliases, wait } from "../../../mm/index.ts";
import { expect, tryLoad32, turn } from "../base/accesses.ts";
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

const outOfOrder: ExploreTest<{ readonly addresses: readonly number[] }> = {
  name: "purge-of-nodes-out-of-order",
  summary: "the first node's areas lie above the second one's: the flush of the purge covers both",
  setup(kernel) {
    // An area belongs to the node of the CPU that allocated it; addresses ascend.
    const addresses = [1, 0].map((cpu) => {
      kernel.currentCpu = cpu;
      return kernel.vmalloc(PAGE);
    });
    kernel.currentCpu = 0;
    for (const cpu of kernel.machine.cpus) for (const address of addresses) cpu.load(address, 4);
    return { addresses };
  },
  threads: [
    function* (kernel, { addresses }) {
      for (const address of addresses) yield* wait(vfree(kernel.vm, address));
      yield* vmUnmapAliases(kernel.vm);
    },
    function* (kernel) {
      yield* wait(vmalloc(kernel.vm, PAGE));
    },
  ],
};

const atKernelEntry: ExploreTest<{ readonly address: number; isDone: boolean }> = {
  name: "purge-deferred-at-kernel-entry",
  summary: "a purge under the policy deferred while an isolated CPU comes back from user mode, and reads",
  kernel: { flushPolicy: DEFERRED_POLICY, isolatedCpus: [1] },
  setup(kernel) {
    const address = kernel.vmalloc(PAGE);
    for (const cpu of kernel.machine.cpus) cpu.load(address, 4);
    kernel.run(() => {
      kernel.vm.flushing.userMode.enterUser();
      return DONE;
    }, 1);
    return { address, isDone: false };
  },
  threads: [
    function* (kernel, situation) {
      yield* wait(vfree(kernel.vm, situation.address));
      yield* vmUnmapAliases(kernel.vm);
      situation.isDone = true;
    },
    function* (kernel, situation) {
      yield* turn(kernel, "system call");
      kernel.vm.flushing.userMode.enterKernel();
      yield* turn(kernel, "load");
      const { isDone } = situation;
      const value = yield* tryLoad32(kernel, situation.address);
      expect(value === null || !isDone, "no page can be read once it was purged");
    },
  ],
};

/** Tests of purges. */
export const PURGE_TESTS = [withHelper, afterwards, outOfOrder, atKernelEntry];
