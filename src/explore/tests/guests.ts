/** Flushes of a guest's kernel, whose vCPUs are not always on a physical CPU: one that is not gets no interrupt, and flushes before it runs again; memory that the host takes away. */
import { cachedGuestTranslations } from "../../../arch/index.ts";
import { HYPERV_POLICY, KVM_POLICY } from "../../../mm/index.ts";
import type { KernelConfig } from "../../machine/kernel.ts";
import { expect, turn } from "../base/accesses.ts";
import type { ExploreTest } from "../base/explore-test.ts";
import { munmapBoth, PAGE, type Processes, processes, readBoth } from "./processes.ts";

/** Three vCPUs on two physical CPUs: vCPUs 0 and 2 take turns on one. */
const GUEST: Partial<KernelConfig> = { guest: { physicalCpus: 2 } };

const kvmMunmap: ExploreTest<Processes> = {
  name: "kvm-munmap",
  summary: "munmap on a vCPU of KVM while others of the process share a physical CPU: once it returns, reads fault",
  cpus: 3,
  kernel: { ...GUEST, flushPolicy: KVM_POLICY },
  setup: (kernel) => processes(kernel, 1),
  userSpaces: ({ mms }) => mms,
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

/** A page of the guest's kernel, and whether its host has taken it away. */
interface TakenPage {
  readonly address: number;
  readonly frames: readonly number[];
  isDone: boolean;
}

const hostUnmap: ExploreTest<TakenPage> = {
  name: "host-unmap",
  summary:
    "a balloon gives a page to the host while another vCPU uses it: once that has returned, nothing cached leads to where it was",
  kernel: { guest: {} },
  setup(kernel) {
    const address = kernel.vmalloc(PAGE);
    for (const cpu of kernel.machine.cpus) cpu.store(address, 4, 1);
    const guestPhysical = kernel.machine.cpus[0].probe(address).guestPhysical ?? 0;
    return { address, frames: [guestPhysical / PAGE], isDone: false };
  },
  threads: [
    function* (kernel, situation) {
      const unmapping = kernel.host?.unmapping;
      yield* turn(kernel, "inflate");
      if (unmapping) yield* unmapping.inflate(situation.frames);
      situation.isDone = true;
    },
    function* (kernel, { address }) {
      const [, cpu] = kernel.machine.cpus;
      for (let count = 0; count < 2; count++) {
        yield* turn(kernel, "load");
        cpu.load(address, 4);
        const { physical } = cpu.probe(address);
        for (const { la, frame } of cachedGuestTranslations(cpu)) {
          expect(la !== address || frame * PAGE === physical, "a vCPU uses what the second stage says");
        }
      }
    },
  ],
};

/** The tests of this file. */
export const GUEST_TESTS: readonly ExploreTest[] = [kvmMunmap, hypervMunmap, hostUnmap];
