/** Global ASIDs: address spaces that are flushed by broadcasts (INVLPGB) or remote actions (RAR), and the way to one. */
import { exitMmap, INVLPGB_POLICY, madviseDontneed, RAR_POLICY } from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { load32, turn } from "../base/accesses.ts";
import type { ExploreTest } from "../base/explore-test.ts";
import { smallPreset } from "../base/explored-kernel.ts";
import { END, PAGE, type Processes, processes, START, switchBackAndRead, switchOn } from "./processes.ts";
import { munmapAgainstLoads, switchAgainstMunmap } from "./user-spaces.ts";

const broadcast: ExploreTest<Processes> = {
  ...munmapAgainstLoads,
  name: "munmap-by-broadcast",
  summary: "munmap under the policy invlpgb while a thread of the process reads on another CPU",
  // Zen 4 has INVLPGB.
  kernel: { preset: smallPreset("zen4"), flushPolicy: INVLPGB_POLICY },
};

/** The process gets a global ASID, which no CPU runs it under yet. */
function beginTransition({ spaces, mms: [mm] }: Processes): void {
  mm.globalAsid = spaces.globalAsids.allocateGlobalAsid(() => {});
  mm.inAsidTransition = true;
}

const asidTransition: ExploreTest<Processes> = {
  ...broadcast,
  name: "munmap-in-asid-transition",
  summary: "munmap by broadcast while CPUs still run the process under the ASIDs that it had before its global one",
  setup(kernel) {
    const situation = processes(kernel, 1);
    beginTransition(situation);
    return situation;
  },
};

const halfOfTransition: ExploreTest<Processes> = {
  ...broadcast,
  name: "munmap-halfway-in-asid-transition",
  summary: "munmap by broadcast of a process that one CPU runs under its global ASID, and another under its own still",
  setup(kernel) {
    const situation = processes(kernel, 1);
    beginTransition(situation);
    switchOn(kernel, situation.spaces, 0, situation.mms[0]);
    return situation;
  },
};

const globalAsid: ExploreTest<Processes> = {
  ...broadcast,
  name: "munmap-of-global-asid",
  summary: "munmap by broadcasts to a global ASID while a thread of the process reads on another CPU",
  setup: (kernel) => processes(kernel, 1, true),
};

const remoteActions: ExploreTest<Processes> = {
  ...munmapAgainstLoads,
  name: "munmap-by-remote-action",
  summary: "munmap under the policy rar, with a global ASID, while a thread of the process reads on another CPU",
  // Sapphire Rapids has RAR.
  kernel: { preset: smallPreset("sapphire-rapids"), flushPolicy: RAR_POLICY },
  setup: (kernel) => processes(kernel, 1, true),
};

const remoteActionsWithoutAsid: ExploreTest<Processes> = {
  ...remoteActions,
  name: "munmap-before-remote-action",
  summary: "munmap under the policy rar of a process that has no global ASID yet: it goes by interrupts",
  setup: (kernel) => processes(kernel, 1),
};

const switchRemoteActions: ExploreTest<Processes> = {
  ...switchAgainstMunmap,
  name: "switch-against-remote-action",
  summary:
    "a CPU that is still in mm_cpumask switches back to an address space whose pages are unmapped under the policy rar",
  kernel: { preset: smallPreset("sapphire-rapids"), flushPolicy: RAR_POLICY },
  setup(kernel) {
    const situation = processes(kernel, 2, true);
    switchOn(kernel, situation.spaces, 1, situation.mms[1]);
    return situation;
  },
};

/**
 * CPU 1 has used both pages of the first process under its global ASID, and runs the second one; CPU 2 has not gone over to that ASID: the
 * next flush interrupts all of mm_cpumask, which CPU 1 then leaves.
 */
function goneOnBeforeTransitionEnds(kernel: Kernel): Processes {
  const situation = processes(kernel, 2);
  const { spaces, mms } = situation;
  beginTransition(situation);
  switchOn(kernel, spaces, 1, mms[0]);
  for (let at = START; at < END; at += PAGE) kernel.machine.cpus[1].store(at, 4, 1);
  switchOn(kernel, spaces, 1, mms[1]);
  return situation;
}

const leftMaskOfRemoteActions: ExploreTest<Processes> = {
  name: "switch-to-global-asid-after-leaving-mask",
  summary:
    "under the policy rar a CPU that runs another process leaves mm_cpumask, as a third has not gone over to the global ASID yet; it is not told of the next flush, and switches back",
  kernel: { preset: smallPreset("sapphire-rapids"), flushPolicy: RAR_POLICY },
  cpus: 3,
  setup: goneOnBeforeTransitionEnds,
  threads: [
    function* (_kernel, situation) {
      const { spaces, mms } = situation;
      yield* madviseDontneed(spaces, mms[0], START + PAGE, END);
      yield* madviseDontneed(spaces, mms[0], START, START + PAGE);
      situation.isDone = true;
    },
    switchBackAndRead,
  ],
};

/** As long as it takes until an ASID that was given back is dealt out again. */
function allocateAgain({ globalAsids }: Processes["spaces"], wanted: number): number {
  for (;;) {
    const asid = globalAsids.allocateGlobalAsid(() => {});
    if (asid === wanted) return asid;
    globalAsids.free(asid);
  }
}

const dealtOutAgain: ExploreTest<Processes> = {
  ...leftMaskOfRemoteActions,
  name: "global-asid-dealt-out-again",
  summary:
    "under the policy rar a process gets the global ASID of one that has ended, under which a CPU has translations still: it flushes as it goes over",
  setup(kernel) {
    const situation = goneOnBeforeTransitionEnds(kernel);
    const { spaces, mms } = situation;
    const asid = mms[0].globalAsid;
    // CPU 1 leaves mm_cpumask, and is not told of what follows.
    kernel.run(() => madviseDontneed(spaces, mms[0], START + PAGE, END));
    for (const cpu of [0, 2]) switchOn(kernel, spaces, cpu, mms[1]);
    kernel.run(() => exitMmap(spaces, mms[0]));
    mms[1].globalAsid = allocateAgain(spaces, asid);
    mms[1].inAsidTransition = true;
    return { spaces, mms: mms.slice(1), isDone: false };
  },
  threads: [
    function* (_kernel, { spaces, mms }) {
      yield* madviseDontneed(spaces, mms[0], START + PAGE, END);
    },
    function* (kernel, { spaces, mms }) {
      yield* turn(kernel, "context switch");
      spaces.switchTo(mms[0]);
      yield* load32(kernel, START);
    },
  ],
};

/** Tests of global ASIDs. */
export const GLOBAL_ASID_TESTS = [
  broadcast,
  asidTransition,
  halfOfTransition,
  globalAsid,
  remoteActions,
  remoteActionsWithoutAsid,
  switchRemoteActions,
  leftMaskOfRemoteActions,
  dealtOutAgain,
];
