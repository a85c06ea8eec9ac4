/**
 * What vmalloc and vfree cost, and mapping and unmapping under them, through the calls that workloads make. One CPU; drain
 * work runs as soon as it is queued. Every allocation is written to once, as its user would.
 */
import { PAGE_KERNEL } from "../mm/index.ts";
import { bootKernel, type Kernel } from "../src/machine/kernel.ts";
import type { BenchTask } from "./task.ts";

const PAGE = 4096;
const LIVE_AREAS = 100_000;
/** Most pages of an area in the churn; sizes are uniform from one page on. */
const CHURN_PAGES = 4;
const REGION_PAGES = 65_536;
const TABLE_PAGES = 512;
const TABLES_IN_USE = 64;

/** Unmaps and maps 512 pages, all that one PTE table holds, in 64 tables in turn. An operation is one page, both ways. */
const mapUnmap: BenchTask = {
  name: "map_unmap_page_512",
  operationsPerRun: 1000 * TABLE_PAGES,
  setup: () => {
    const kernel = bootKernel({ cpus: 1 });
    const frames = kernel.allocFrames(REGION_PAGES);
    const region = kernel.vmap(frames);
    const { tables } = kernel;
    const { low, high } = PAGE_KERNEL;
    const runs = mapUnmap.operationsPerRun / TABLE_PAGES;
    return () => {
      for (let i = 0; i < runs; i++) {
        const page = TABLE_PAGES * (i % TABLES_IN_USE);
        const start = region + page * PAGE;
        const end = start + TABLE_PAGES * PAGE;
        tables.owed.waive(tables.vunmapRangeNoflush(start, end));
        tables.vmapSmallPagesRangeNoflush(start, end, low, high, frames, page);
      }
    };
  },
};

/** Allocates, writes and frees `pages` pages, over and over. An operation is one vmalloc and its vfree. */
function pairs(name: string, operationsPerRun: number, pages: number): BenchTask {
  return {
    name,
    operationsPerRun,
    setup: () => {
      const kernel = bootKernel({ cpus: 1 });
      const cpu = kernel.machine.cpus[0];
      return () => {
        for (let i = 0; i < operationsPerRun; i++) {
          const address = kernel.vmalloc(pages * PAGE);
          cpu.store(address, 4, 0);
          kernel.vfree(address);
          drain(kernel);
        }
      };
    },
  };
}

/** Frees one of 100,000 live areas of 1 to 4 pages and allocates another in its place. An operation is both. */
const churn: BenchTask = {
  name: "churn_100k_live",
  operationsPerRun: 50_000,
  setup: () => {
    const kernel = bootKernel({ cpus: 1 });
    const random = xorshift32();
    const allocate = () => kernel.vmalloc((1 + (random() % CHURN_PAGES)) * PAGE);
    const live = Float64Array.from({ length: LIVE_AREAS }, allocate);
    return () => {
      for (let i = 0; i < churn.operationsPerRun; i++) {
        const victim = random() % LIVE_AREAS;
        kernel.vfree(live[victim]);
        live[victim] = allocate();
        drain(kernel);
      }
    };
  },
};

/** The tasks of this file. */
export const VMALLOC_TASKS: readonly BenchTask[] = [
  mapUnmap,
  pairs("vmalloc_vfree_1", 20_000, 1),
  pairs("vmalloc_vfree_100", 4_000, 100),
  churn,
];

function drain(kernel: Kernel): void {
  if (kernel.vm.drainWork?.isPending) kernel.runUntilIdle();
}

/** Marsaglia's xorshift of 32 bits: cheap enough not to be what is measured. */
function xorshift32(): () => number {
  let state = 88_172_645;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
