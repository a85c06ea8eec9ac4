/** What a translated access costs: hits of the first and second TLB level, and page walks. */

import { makeRegion, REGION, REGION_PAGES } from "./region.ts";
import type { BenchTask } from "./task.ts";

const PAGE = 4096;

let sink = 0;

/**
 * Loads of 4 bytes, `stepBytes` apart, over and over the first `pages` pages, a power of two. Sums and offsets are kept to 32
 * bits because a loop of checked numbers takes V8 a nanosecond a round, a fifth of a first-level hit.
 */
function loads(name: string, operationsPerRun: number, pages: number, stepBytes: number): BenchTask {
  return {
    name,
    operationsPerRun,
    setup: () => {
      const { cpu } = makeRegion("skylake");
      const offsetMask = pages * PAGE - 1;
      return () => {
        let sum = 0;
        let offset = 0;
        for (let i = 0; i < operationsPerRun; i++) {
          sum = (sum + cpu.load(REGION + offset, 4)) | 0;
          offset = (offset + stepBytes) & offsetMask;
        }
        sink += sum;
      };
    },
  };
}

/** Translations of consecutive pages, more than any TLB holds: every one is a walk. The data is not read. */
const walks: BenchTask = {
  name: "load_walk",
  operationsPerRun: 1_000_000,
  setup: () => {
    const { cpu } = makeRegion("skylake");
    const offsetMask = REGION_PAGES * PAGE - 1;
    return () => {
      let sum = 0;
      let offset = 0;
      for (let i = 0; i < walks.operationsPerRun; i++) {
        sum += cpu.touch(REGION + offset);
        offset = (offset + PAGE) & offsetMask;
      }
      sink += sum;
    };
  },
};

/** The tasks of this file. */
export const LOAD_TASKS: readonly BenchTask[] = [
  loads("load_hit_same_page", 2_000_000, 16, 64),
  loads("load_hit_l1", 2_000_000, 32, PAGE),
  loads("load_hit_l2", 1_000_000, 1024, PAGE),
  walks,
];

/** What all loads summed to, so that none can be left out. */
export function loadSink(): number {
  return sink;
}
