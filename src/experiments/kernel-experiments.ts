/** Experiments that run anywhere, the page included: all but those that read files. */
import type { Experiment } from "./base/experiment.ts";
import { flushCeiling } from "./flush-ceiling/flush-ceiling.ts";
import { flushCost } from "./flush-cost/flush-cost.ts";
import { fracture } from "./fracture.ts";
import { guestShootdown } from "./guest-shootdown.ts";
import { lazyThreshold } from "./lazy-threshold/lazy-threshold.ts";
import { nestedWalk } from "./nested-walk.ts";
import { pageTables } from "./page-tables.ts";
import { pcidPingPong } from "./pcid-ping-pong.ts";
import { tlbCurves } from "./tlb-curves.ts";
import { unmapThreads } from "./unmap-threads.ts";
import { concurrentFlush } from "./user-flush/concurrent-flush.ts";
import { fork } from "./user-flush/fork.ts";
import { madviseLoop } from "./user-flush/madvise-loop.ts";
import { munmapBarrier } from "./user-flush/munmap-barrier.ts";
import { pageFault } from "./user-flush/page-fault.ts";
import { userFlush } from "./user-flush/user-flush.ts";
import { vmallocPages } from "./vmalloc-pages.ts";
import { vmapContention } from "./vmap-contention.ts";
import { walkOverlap } from "./walk-overlap.ts";

/** These experiments, in the order in which they are listed. */
export const KERNEL_EXPERIMENTS: readonly Experiment[] = [
  flushCost,
  flushCeiling,
  lazyThreshold,
  vmapContention,
  unmapThreads,
  pageTables,
  walkOverlap,
  tlbCurves,
  userFlush,
  madviseLoop,
  pageFault,
  munmapBarrier,
  concurrentFlush,
  pcidPingPong,
  fork,
  vmallocPages,
  nestedWalk,
  fracture,
  guestShootdown,
];
