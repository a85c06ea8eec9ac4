/** Memory that a host takes from its guest while vCPUs use it, run, are preempted and are entered. */
import { cachedGuestTranslations, type KernelCode, PAGE_SIZE, PAUSE_TURN } from "../../../arch/index.ts";
import { vmallocToPfn } from "../../../mm/index.ts";
import type { Kernel, KernelConfig } from "../../machine/kernel.ts";
import { expect, turn } from "../base/accesses.ts";
import type { ExploreTest } from "../base/explore-test.ts";
import { smallPreset } from "../base/explored-kernel.ts";

/** Pages of the guest's kernel, one for each vCPU that gives one away. */
interface TakenPages {
  readonly addresses: readonly number[];
  /** Guest-physical frames. */
  readonly frames: readonly number[];
}

/** So many pages that all vCPUs have used. */
function pagesUsedByAll(kernel: Kernel, count: number): TakenPages {
  const { cpus } = kernel.machine;
  const addresses = Array.from({ length: count }, () => kernel.vmalloc(PAGE_SIZE));
  for (const cpu of cpus) for (const address of addresses) cpu.store(address, 4, 1);
  return { addresses, frames: addresses.map((address) => (cpus[0].probe(address).guestPhysical ?? 0) / PAGE_SIZE) };
}

/** A balloon gives page number `index` to the host. */
function* inflate(kernel: Kernel, { frames }: TakenPages, index = 0): KernelCode<void> {
  yield* turn(kernel, "inflate");
  if (kernel.host?.unmapping) yield* kernel.host.unmapping.inflate([frames[index]]);
}

/** Reads a page on the current vCPU, by memory of the host that the guest still has. */
function* readGuestPage(kernel: Kernel, address: number): KernelCode<number> {
  yield* turn(kernel, "load");
  const { cpus, loop, hostMemory } = kernel.machine;
  const cpu = cpus[loop.currentCpu];
  const value = cpu.load(address, 4);
  for (const { la, frame, id } of cachedGuestTranslations(cpu)) {
    if (la !== address || id !== cpu.vcpu?.id) continue;
    const isGuests = hostMemory?.guestFrameOf(frame) === vmallocToPfn(kernel.vm, address);
    expect(isGuests, "a vCPU uses no memory that was given back");
  }
  return value;
}

function* readStored(kernel: Kernel, { addresses }: TakenPages): KernelCode<void> {
  expect((yield* readGuestPage(kernel, addresses[0])) === 1, "memory holds what was stored in it");
}

function* readTwice(kernel: Kernel, { addresses }: TakenPages): KernelCode<void> {
  for (let count = 0; count < 2; count++) yield* readGuestPage(kernel, addresses[0]);
}

const hostUnmap: ExploreTest<TakenPages> = {
  name: "host-unmap",
  summary:
    "a balloon gives a page to the host while another vCPU uses it: once that has returned, nothing cached leads to where it was",
  kernel: { guest: {} },
  setup: (kernel) => pagesUsedByAll(kernel, 1),
  threads: [inflate, readTwice],
};

/** As an AMD processor has it: TLB_CONTROL at VMRUN in place of INVEPT, and caches by ASID. */
const ON_AMD: Partial<KernelConfig> = { preset: smallPreset("zen4") };

const hostUnmapOnAmd: ExploreTest<TakenPages> = {
  ...hostUnmap,
  name: "host-unmap-on-amd",
  summary: "a balloon gives a page to the host while another vCPU uses it, which TLB_CONTROL invalidates at VMRUN",
  kernel: { guest: {}, ...ON_AMD },
};

const ofPreempted: ExploreTest<TakenPages> = {
  ...hostUnmap,
  name: "host-unmap-of-preempted",
  summary:
    "a balloon gives a page to the host while one vCPU that has used it runs and another waits for a physical CPU: it invalidates when it is entered",
  cpus: 3,
  kernel: { guest: { physicalCpus: 2 }, ...ON_AMD },
  threads: [inflate, readTwice, readTwice],
};

const twoBalloons: ExploreTest<TakenPages> = {
  ...hostUnmap,
  name: "two-host-unmaps",
  summary: "two vCPUs give a page each to the host and use the other's: each kicks the other, which may be in the host",
  setup: (kernel) => pagesUsedByAll(kernel, 2),
  threads: [0, 1].map(
    (cpu) =>
      function* (kernel, situation) {
        yield* inflate(kernel, situation, cpu);
        yield* readGuestPage(kernel, situation.addresses[1 - cpu]);
      },
  ),
};

const numaBalancing: ExploreTest<TakenPages> = {
  name: "numa-balancing",
  summary:
    "the host takes all pages of the guest, its page tables among them, while vCPUs read: memory holds what was stored",
  // Only the scan that the test begins.
  kernel: { guest: { numaBalancing: { pages: 1000, periodUsec: Number.POSITIVE_INFINITY } } },
  setup: (kernel) => pagesUsedByAll(kernel, 1),
  threads: [
    function* (kernel, situation) {
      yield* turn(kernel, "task_numa_work");
      kernel.host?.unmapping?.scan(kernel.machine.loop.currentCpu);
      // Until all vCPUs have left the guest, this one stays in the host.
      yield PAUSE_TURN;
      yield* readStored(kernel, situation);
    },
    function* (kernel, situation) {
      for (let count = 0; count < 2; count++) yield* readStored(kernel, situation);
    },
  ],
};

const atEntry: ExploreTest<TakenPages> = {
  name: "host-unmap-at-entry",
  summary:
    "a balloon gives a page to the host while a vCPU that has used it comes back from an exit, or goes there, and may prefetch it",
  kernel: { guest: {} },
  setup(kernel) {
    const { addresses, frames } = pagesUsedByAll(kernel, 1);
    // The second one nobody has used: the first load of it is an exit.
    return { addresses: [...addresses, kernel.vmalloc(PAGE_SIZE)], frames };
  },
  watched: ({ addresses }) => [addresses[0]],
  threads: [
    inflate,
    function* (kernel, { addresses }) {
      yield* readGuestPage(kernel, addresses[1]);
    },
  ],
};

/** The tests of this file. */
export const HOST_MEMORY_TESTS: readonly ExploreTest[] = [
  hostUnmap,
  hostUnmapOnAmd,
  ofPreempted,
  twoBalloons,
  numaBalancing,
  atEntry,
] as readonly ExploreTest[];
