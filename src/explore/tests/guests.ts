/** Flushes of a guest's kernel, whose vCPUs are not always on a physical CPU: one that is not gets no interrupt, and flushes before it runs again. */
import { HYPERV_POLICY, KVM_POLICY } from "../../../mm/index.ts";
import type { KernelConfig } from "../../machine/kernel.ts";
import { turn } from "../base/accesses.ts";
import type { ExploreTest } from "../base/explore-test.ts";
import { munmapBoth, type Processes, processes, readBoth } from "./processes.ts";

/** Three vCPUs on two physical CPUs: vCPUs 0 and 2 take turns on one. */
const GUEST: Partial<KernelConfig> = { guest: { physicalCpus: 2 } };

const kvmMunmap: ExploreTest<Processes> = {
  name: "kvm-munmap",
  summary: "munmap on a vCPU of KVM while others of the process share a physical CPU: once it returns, reads fault",
  cpus: 3,
  kernel: { ...GUEST, flushPolicy: KVM_POLICY },
  setup: (kernel) => processes(kernel, 1),
  threads: [
    function* (kernel) {
      yield* turn(kernel, "computing");
    },
    munmapBoth,
    readBoth,
  ],
};

const hypervMunmap: ExploreTest<Processes> = {
  ...kvmMunmap,
  name: "hyperv-munmap",
  summary: "munmap on a vCPU of Hyper-V, by a hypercall, while others of the process share a physical CPU",
  kernel: { ...GUEST, flushPolicy: HYPERV_POLICY },
};

/** The tests of this file. */
export const GUEST_TESTS: readonly ExploreTest[] = [kvmMunmap, hypervMunmap];
