/** Flushes of address spaces that overtake each other, page tables that other PCIDs know. */
import {
  DONE,
  DYNAMIC_ASIDS,
  doAnonymousPage,
  ioremap,
  type MmStruct,
  madviseDontneed,
  mmapPopulate,
  mprotect,
  munmap,
  type UserSpaces,
  unmapMappingRange,
  vfree,
  vmUnmapAliases,
  wait,
} from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { expect, load32, store32, tryLoad32, tryStore32, turn } from "../base/accesses.ts";
import type { ExploreTest, ThreadOf } from "../base/explore-test.ts";
import { END, munmapBoth, PAGE, type Processes, processes, START, switchBackAndRead, switchOn } from "./processes.ts";

/** One of two threads of a process gives back a page of its own, at the same time as the other. */
function madvisePage(cpu: number): ThreadOf<Processes> {
  return function* (kernel, { spaces, mms }) {
    const start = START + cpu * PAGE;
    yield* madviseDontneed(spaces, mms[0], start, start + PAGE);
    expect((yield* tryLoad32(kernel, start)) === null, "no page can be read once madvise has returned");
  };
}

const twoMadvises: ExploreTest<Processes> = {
  name: "two-madvises",
  summary: "MADV_DONTNEED of neighbouring pages at the same time, under mmap_lock to read: flushes overtake each other",
  setup: (kernel) => processes(kernel, 1),
  threads: [madvisePage(0), madvisePage(1)],
};

/** A page that both give back: who comes second finds nothing mapped. */
function giveBackThenRead(call: typeof madviseDontneed): ThreadOf<Processes> {
  return function* (kernel, { spaces, mms }) {
    yield* call(spaces, mms[0], START, START + PAGE);
    expect((yield* tryLoad32(kernel, START)) === null, "no page can be read once the call has returned");
  };
}

const samePage: ExploreTest<Processes> = {
  ...twoMadvises,
  name: "two-madvises-of-one-page",
  summary:
    "MADV_DONTNEED of the same page on two CPUs: once either returns, reads fault, whoever has cleared the entry",
  threads: [giveBackThenRead(madviseDontneed), giveBackThenRead(madviseDontneed)],
};

const mprotectAndTruncate: ExploreTest<Processes> = {
  ...twoMadvises,
  name: "mprotect-against-truncate",
  summary:
    "a page is given back while another CPU makes it read-only, which may find nothing mapped: once mprotect returns, writes fault",
  threads: [
    giveBackThenRead(unmapMappingRange),
    function* (kernel, { spaces, mms }) {
      yield* mprotect(spaces, mms[0], START, START + PAGE, false);
      expect(!(yield* tryStore32(kernel, START, 7)), "no page can be written once mprotect has returned");
    },
  ],
};

const twoSenders: ExploreTest<Processes> = {
  ...twoMadvises,
  name: "two-senders",
  summary: "two CPUs interrupt a third at the same time: it runs what both have queued",
  cpus: 3,
  threads: [
    madvisePage(0),
    madvisePage(1),
    function* (kernel) {
      yield* turn(kernel, "computing");
    },
  ],
};

const lazyBack: ExploreTest<Processes> = {
  ...twoMadvises,
  name: "lazy-against-two-flushes",
  summary: "a CPU comes back from lazy mode while pages are given back twice; then it reads both",
  setup(kernel) {
    const situation = processes(kernel, 1);
    switchOn(kernel, situation.spaces, 1, null);
    return situation;
  },
  threads: [
    function* (_kernel, situation) {
      yield* madviseDontneed(situation.spaces, situation.mms[0], START, START + PAGE);
      situation.isDone = true;
      yield* madviseDontneed(situation.spaces, situation.mms[0], START + PAGE, END);
    },
    switchBackAndRead,
  ],
};

const twoFaults: ExploreTest<Processes> = {
  name: "two-faults",
  summary: "two threads of a process fault in the same page: one page is mapped, and both use it",
  setup(kernel) {
    const situation = processes(kernel, 1);
    kernel.run(() => madviseDontneed(situation.spaces, situation.mms[0], START, START + PAGE));
    return situation;
  },
  threads: [0, 1].map(
    (): ThreadOf<Processes> =>
      function* (kernel, { spaces, mms }) {
        yield* doAnonymousPage(spaces, mms[0], START);
        expect(yield* tryStore32(kernel, START, 6), "a page can be written once its fault has been handled");
      },
  ),
};

const flushOfProcessLeft: ExploreTest<Processes> = {
  name: "flush-of-process-left",
  summary:
    "a CPU goes on to another process before it is interrupted for the first one; then the other's pages are unmapped",
  setup: (kernel) => processes(kernel, 2),
  threads: [
    function* (_kernel, situation) {
      const { spaces, mms } = situation;
      for (let at = START; at < END; at += PAGE) yield* madviseDontneed(spaces, mms[0], at, at + PAGE);
      spaces.switchTo(mms[1]);
      yield* munmap(spaces, mms[1], START, END);
      situation.isDone = true;
    },
    function* (kernel, situation) {
      yield* turn(kernel, "context switch");
      situation.spaces.switchTo(situation.mms[1]);
      const [, cpu] = kernel.machine.cpus;
      if (cpu.probe(START).outcome === "mapped") cpu.load(START, 4);
      yield* turn(kernel, "load");
      const { isDone } = situation;
      const value = yield* tryLoad32(kernel, START);
      expect(value === null || !isDone, "no page can be read once munmap has returned");
    },
  ],
};

const munmapAgainstMmap: ExploreTest<Processes> = {
  name: "munmap-against-mmap",
  summary: "a range is unmapped, and mapped anew as soon as it can be by a CPU that still has the old pages cached",
  setup: (kernel) => processes(kernel, 1),
  threads: [
    function* (_kernel, { spaces, mms }) {
      yield* munmap(spaces, mms[0], START, END);
    },
    function* (kernel, { spaces, mms }) {
      yield* turn(kernel, "mmap");
      if (kernel.machine.cpus[1].probe(START).outcome === "mapped") return;
      yield* mmapPopulate(spaces, mms[0], START, 2);
      yield* load32(kernel, START);
      yield* load32(kernel, START + PAGE);
    },
  ],
};

/** A kernel address whose page table becomes empty, and what a large page needs. */
interface KernelTable {
  readonly spaces: UserSpaces;
  readonly mms: readonly MmStruct[];
  readonly small: number;
}

/** Where there is no memory. */
const DEVICE = 0x1_0000_0000;

const tableOfOtherPcid: ExploreTest<KernelTable> = {
  name: "large-leaf-and-other-pcid",
  summary:
    "a kernel page table is freed that a CPU has walked through under the PCID of a process which it goes back to",
  kernel: { flushFreedTables: true, vmalloc: { vmapNodes: 1 } },
  setup(kernel) {
    const { spaces, mms } = processes(kernel, 2);
    const small = kernel.vmalloc(PAGE);
    // Under the PCID of the first process; then CPU 1 goes on with the second.
    kernel.machine.cpus[1].load(small, 4);
    switchOn(kernel, spaces, 1, mms[1]);
    kernel.vfree(small);
    kernel.vmUnmapAliases();
    return { spaces, mms, small };
  },
  threads: [
    function* (kernel) {
      yield* ioremap(kernel.vm, DEVICE, 2 ** 21);
    },
    function* (kernel, { spaces, mms, small }) {
      yield* turn(kernel, "context switch");
      spaces.switchTo(mms[0]);
      yield* tryLoad32(kernel, small);
    },
  ],
};

const purgeAndOtherProcess: ExploreTest<Processes & { readonly address: number }> = {
  name: "purge-and-other-process",
  summary:
    "vfree and a purge with page-table isolation, while a CPU goes back to the process under which it has used the page: once the purge returns, reads fault",
  kernel: { pageTableIsolation: true },
  setup(kernel) {
    const situation = processes(kernel, 2);
    const address = kernel.vmalloc(PAGE);
    kernel.machine.cpus[1].store(address, 4, 1);
    switchOn(kernel, situation.spaces, 1, situation.mms[1]);
    return { ...situation, address };
  },
  threads: [
    function* (kernel, situation) {
      yield* wait(vfree(kernel.vm, situation.address));
      yield* vmUnmapAliases(kernel.vm);
      situation.isDone = true;
    },
    function* (kernel, situation) {
      yield* turn(kernel, "context switch");
      situation.spaces.switchTo(situation.mms[0]);
      const { isDone } = situation;
      const value = yield* tryLoad32(kernel, situation.address);
      expect(value === null || !isDone, "no page can be read once it has been purged");
    },
  ],
};

/** Address spaces that a CPU's own ASIDs have no room for: one more than there are. */
const ADDRESS_SPACES = DYNAMIC_ASIDS + 1;

const reusedAsids: ExploreTest<Processes> = {
  name: "reused-asids",
  summary:
    "a CPU goes on to one more process than it has ASIDs, and back to the first, of which another CPU unmaps what all have at the same address: each reads its own memory",
  setup(kernel) {
    const situation = processes(kernel, ADDRESS_SPACES);
    for (let index = 1; index < ADDRESS_SPACES - 1; index++) {
      switchOn(kernel, situation.spaces, 1, situation.mms[index]);
      kernel.machine.cpus[1].store(START, 4, index);
    }
    return situation;
  },
  threads: [
    munmapBoth,
    function* (kernel, situation) {
      const { spaces, mms } = situation;
      yield* turn(kernel, "context switch");
      spaces.switchTo(mms[ADDRESS_SPACES - 1]);
      expect((yield* load32(kernel, START)) === 0, "a page that nobody has written is all zero");
      yield* store32(kernel, START, ADDRESS_SPACES);
      yield* switchBackAndRead(kernel, situation);
      yield* turn(kernel, "context switch");
      spaces.switchTo(mms[1]);
      expect((yield* load32(kernel, START)) === 1, "a process reads what it has written");
    },
  ],
};

/** Two pages that CPU 1 has used in user mode, with page-table isolation. */
function usedInUserMode(kernel: Kernel, count: number): Processes {
  const situation = processes(kernel, count);
  kernel.run(() => {
    const { userMode } = kernel.vm.flushing;
    userMode.enterUser();
    for (let at = START; at < END; at += PAGE) kernel.machine.cpus[1].load(at, 4);
    userMode.enterKernel();
    return DONE;
  }, 1);
  return situation;
}

const flushOfUserPcid: ExploreTest<Processes> = {
  name: "flush-of-user-pcid",
  summary:
    "pages are given back, by a flush of one page and by one of everything, with page-table isolation, while a CPU goes to user mode and reads there: once the call returns, it faults",
  kernel: { pageTableIsolation: true },
  setup: (kernel) => usedInUserMode(kernel, 1),
  threads: [
    function* (_kernel, situation) {
      const { spaces, mms } = situation;
      yield* madviseDontneed(spaces, mms[0], START, START + PAGE);
      situation.isDone = true;
      yield* munmap(spaces, mms[0], 0, 2 ** 30);
    },
    function* (kernel, situation) {
      const { userMode } = kernel.vm.flushing;
      yield* turn(kernel, "user mode");
      userMode.enterUser();
      const { isDone } = situation;
      const value = yield* tryLoad32(kernel, START);
      expect(value === null || !isDone, "no page can be read in user mode once madvise has returned");
      yield* tryLoad32(kernel, START + PAGE);
      userMode.enterKernel();
    },
  ],
};

const topTableOfUserMode: ExploreTest<Processes> = {
  name: "munmap-of-user-top-entry",
  summary:
    "munmap that empties an entry of the top table, with page-table isolation, while a CPU in user mode may walk by the copy of that entry",
  kernel: { pageTableIsolation: true },
  setup: (kernel) => usedInUserMode(kernel, 1),
  threads: [
    function* (_kernel, { spaces, mms }) {
      yield* munmap(spaces, mms[0], 0, 2 ** 39);
    },
    function* (kernel) {
      const { userMode } = kernel.vm.flushing;
      yield* turn(kernel, "user mode");
      userMode.enterUser();
      yield* tryLoad32(kernel, START);
      userMode.enterKernel();
    },
  ],
};

const backToUserMode: ExploreTest<Processes> = {
  name: "switch-back-to-user-mode",
  summary:
    "a CPU goes back to a process of which another CPU unmaps pages, and to user mode, with page-table isolation: once munmap returns, reads there fault",
  kernel: { pageTableIsolation: true },
  setup(kernel) {
    const situation = usedInUserMode(kernel, 2);
    switchOn(kernel, situation.spaces, 1, situation.mms[1]);
    return situation;
  },
  threads: [
    munmapBoth,
    function* (kernel, situation) {
      const { userMode } = kernel.vm.flushing;
      yield* turn(kernel, "context switch");
      situation.spaces.switchTo(situation.mms[0]);
      yield* turn(kernel, "user mode");
      userMode.enterUser();
      for (let at = START; at < END; at += PAGE) {
        const { isDone } = situation;
        const value = yield* tryLoad32(kernel, at);
        expect(value === null || !isDone, "no page can be read in user mode once munmap has returned");
      }
      userMode.enterKernel();
    },
  ],
};

/** Tests of flushes and page tables. */
export const USER_FLUSH_TESTS = [
  twoMadvises,
  samePage,
  mprotectAndTruncate,
  twoSenders,
  lazyBack,
  flushOfProcessLeft,
  munmapAgainstMmap,
  twoFaults,
  tableOfOtherPcid,
  purgeAndOtherProcess,
  reusedAsids,
  flushOfUserPcid,
  topTableOfUserMode,
  backToUserMode,
];
