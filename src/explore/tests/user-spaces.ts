/** User address spaces: flushes against accesses, context switches, lazy mode and the end of an address space. */
import type { KernelCode } from "../../../arch/index.ts";
import { exitMmap, mprotect, munmap } from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { expect, tryLoad32, tryStore32, turn } from "../base/accesses.ts";
import type { ExploreTest } from "../base/explore-test.ts";
import { smallPreset } from "../base/explored-kernel.ts";
import {
  END,
  munmapBoth,
  PAGE,
  type Processes,
  processes,
  readBoth,
  START,
  switchBackAndRead,
  switchOn,
} from "./processes.ts";

/** What tests of other ways to flush begin with. */
export const munmapAgainstLoads: ExploreTest<Processes> = {
  name: "munmap-against-loads",
  summary: "munmap on one CPU while a thread of the process reads on another: once it returns, reads fault",
  setup: (kernel) => processes(kernel, 1),
  threads: [munmapBoth, readBoth],
};

const munmapSpeculation: ExploreTest<Processes> = {
  ...munmapAgainstLoads,
  name: "munmap-against-speculation",
  summary: "munmap, with its page tables, while CPUs prefetch translations of the range",
  watched: () => [START],
};

const munmapTables: ExploreTest<Processes> = {
  name: "munmap-of-tables",
  summary: "munmap that frees page tables, while the other CPU walks through them",
  setup: (kernel) => processes(kernel, 1),
  watched: () => [START + PAGE],
  threads: [
    function* (_kernel, { spaces, mms }) {
      yield* munmap(spaces, mms[0], 0, 2 ** 30);
    },
    function* (kernel) {
      yield* tryLoad32(kernel, START);
    },
  ],
};

/** A flush that misses a CPU in the middle of a context switch; a story of the page plays it. */
export const switchAgainstMunmap: ExploreTest<Processes> = {
  name: "switch-against-munmap",
  summary: "a CPU switches back to an address space of which another CPU unmaps pages",
  setup(kernel) {
    const situation = processes(kernel, 2);
    switchOn(kernel, situation.spaces, 1, situation.mms[1]);
    return situation;
  },
  threads: [
    function* (_kernel, situation) {
      yield* munmap(situation.spaces, situation.mms[0], START, END);
      situation.isDone = true;
    },
    switchBackAndRead,
  ],
};

const lazyAgainstMunmap: ExploreTest<Processes> = {
  name: "lazy-against-munmap",
  summary: "a kernel thread borrows the address space while pages are unmapped; then its process goes on",
  setup(kernel) {
    const situation = processes(kernel, 1);
    switchOn(kernel, situation.spaces, 1, null);
    return situation;
  },
  threads: [
    function* (_kernel, situation) {
      yield* munmap(situation.spaces, situation.mms[0], START, START + PAGE);
      situation.isDone = true;
    },
    switchBackAndRead,
  ],
};

const lazyBackAndMunmap: ExploreTest<Processes> = {
  ...lazyAgainstMunmap,
  name: "munmap-after-lazy-mode",
  summary:
    "a CPU comes back from lazy mode to its process, of which another CPU unmaps pages before, meanwhile or after",
  threads: [
    munmapBoth,
    function* (kernel, situation) {
      yield* turn(kernel, "context switch");
      situation.spaces.switchTo(situation.mms[0]);
      yield* readBoth(kernel, situation);
    },
  ],
};

const lazyTables: ExploreTest<Processes> = {
  name: "lazy-against-freed-tables",
  summary: "page tables are freed while a CPU in lazy mode may walk through them speculatively",
  setup(kernel) {
    const situation = processes(kernel, 1);
    switchOn(kernel, situation.spaces, 1, null);
    return situation;
  },
  watched: () => [START],
  threads: [
    function* (_kernel, { spaces, mms }) {
      yield* munmap(spaces, mms[0], 0, 2 ** 30);
    },
    function* (kernel) {
      yield* turn(kernel, "kernel thread");
    },
  ],
};

const mprotectAgainstStores: ExploreTest<Processes> = {
  name: "mprotect-against-stores",
  summary: "pages become read-only while a thread of the process writes: once mprotect returns, writes fault",
  setup: (kernel) => processes(kernel, 1),
  threads: [
    function* (_kernel, situation) {
      yield* mprotect(situation.spaces, situation.mms[0], START, END, false);
      situation.isDone = true;
    },
    function* (kernel, situation) {
      // Supervisor writes heed the R/W bit as user writes do: CR0.WP is set.
      for (let at = START; at < END; at += PAGE) {
        yield* turn(kernel, "store");
        const { isDone } = situation;
        const stored = yield* tryStore32(kernel, at, 7);
        expect(!stored || !isDone, "no page can be written once mprotect has returned");
      }
    },
  ],
};

/** The one that is second finds nothing to change and does not flush: it may rely on the first one's flush, which ended before the lock was free. */
function* mprotectThenStore(kernel: Kernel, { spaces, mms }: Processes): KernelCode<void> {
  yield* mprotect(spaces, mms[0], START, END, false);
  for (let at = START; at < END; at += PAGE) {
    const stored = yield* tryStore32(kernel, at, 7);
    expect(!stored, "no page can be written by who has called mprotect");
  }
}

const twoMprotects: ExploreTest<Processes> = {
  name: "two-mprotects",
  summary: "two threads of a process make the same pages read-only: once either's call returns, its writes fault",
  setup: (kernel) => processes(kernel, 1),
  threads: [mprotectThenStore, mprotectThenStore],
};

const exitAgainstLazy: ExploreTest<Processes> = {
  name: "exit-against-lazy",
  summary: "an address space ends while a kernel thread on another CPU borrows it",
  setup(kernel) {
    const situation = processes(kernel, 2);
    switchOn(kernel, situation.spaces, 1, null);
    switchOn(kernel, situation.spaces, 0, situation.mms[1]);
    return situation;
  },
  threads: [
    function* (_kernel, { spaces, mms }) {
      yield* exitMmap(spaces, mms[0]);
    },
    function* (kernel, { spaces, mms }) {
      yield* turn(kernel, "context switch");
      spaces.switchTo(mms[1]);
      expect((yield* tryLoad32(kernel, START)) !== null, "a process reads its own memory");
    },
  ],
};

const twoMunmaps: ExploreTest<Processes> = {
  name: "two-munmaps",
  summary: "two threads of a process unmap neighbouring pages, each interrupting the other",
  setup: (kernel) => processes(kernel, 1),
  threads: [0, 1].map(
    (cpu) =>
      function* (kernel, { spaces, mms }) {
        const start = START + cpu * PAGE;
        yield* munmap(spaces, mms[0], start, start + PAGE);
        expect((yield* tryLoad32(kernel, start)) === null, "no page can be read once munmap has returned");
      },
  ),
};

const threeCpus: ExploreTest<Processes> = {
  ...munmapAgainstLoads,
  name: "munmap-on-three-cpus",
  summary: "munmap, a thread that reads, and a CPU that comes back from lazy mode",
  cpus: 3,
  setup(kernel) {
    const situation = processes(kernel, 1);
    switchOn(kernel, situation.spaces, 2, null);
    return situation;
  },
  threads: [...munmapAgainstLoads.threads, switchBackAndRead],
};

const withoutPcids: ExploreTest<Processes> = {
  ...switchAgainstMunmap,
  name: "switch-without-pcids",
  summary: "a CPU without PCIDs switches back to an address space of which another CPU unmaps pages",
  kernel: { preset: smallPreset(), features: { pcid: false } },
};

const isolation: ExploreTest<Processes> = {
  ...switchAgainstMunmap,
  name: "switch-with-isolation",
  summary: "context switch against munmap with page-table isolation",
  kernel: { pageTableIsolation: true },
};

/** Tests of user address spaces. */
export const USER_SPACE_TESTS = [
  munmapAgainstLoads,
  munmapSpeculation,
  munmapTables,
  switchAgainstMunmap,
  lazyAgainstMunmap,
  lazyBackAndMunmap,
  lazyTables,
  mprotectAgainstStores,
  twoMprotects,
  exitAgainstLazy,
  twoMunmaps,
  threeCpus,
  withoutPcids,
  isolation,
];
