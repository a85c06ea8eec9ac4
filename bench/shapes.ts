/**
 * Whether accesses are as quick on every preset, on pages of every size, with attribution of flushes and after invalidations as they
 * are on Skylake with 4 KiB pages: translations of consecutive pages, and what a first touch of a page costs.
 */

import { type Cpu, PageFault, PRESETS } from "../arch/index.ts";
import { type LeafLevel, makeRegion, PAGE_BYTES, REGION, REGION_PAGES } from "./region.ts";
import type { BenchTask } from "./task.ts";

/** Pages in turn: hits of most first levels, hits of the second, walks. */
const FOOTPRINTS = [32, 512, REGION_PAGES] as const;
const OPERATIONS = 200_000;
const OPERATIONS_OF_A_LOOP = 2000;
/** Presets on which attribution after a flush is measured: second levels of different kinds. */
const ATTRIBUTED_PRESETS = ["skylake", "sapphire-rapids", "zen4"] as const;
/** Larger pages in turn after a flush, likewise; and how many of 1 GiB are touched before it. */
const LARGE_FOOTPRINTS = { 2: [16, 512, REGION_PAGES], 3: [4, 8, 4096] } as const;
const HUGE_PAGES = 4096;
/** Larger pages in turn on other presets: hits of the second level and walks of 2 MiB, walks of 1 GiB. Few, as each is a process of some seconds. */
const LARGE_FOOTPRINTS_OF_OTHERS = { 2: [512, REGION_PAGES], 3: [HUGE_PAGES] } as const;
const SIZE_NAMES = { 1: "4k", 2: "2m", 3: "1g" } as const;
const FIRST_TOUCHES = 4096;

let sink = 0;

/**
 * A run of translations of `pages` pages in turn, without reading data: many short loops, each a call, for which V8 makes the code (`compileNoLoops`).
 */
function touches(cpu: Cpu, pages: number, bytes: number): () => void {
  let page = 0;
  const touchSome = (): number => {
    let sum = 0;
    for (let i = 0; i < OPERATIONS_OF_A_LOOP; i++) {
      sum += cpu.touch(REGION + page * bytes);
      page = (page + 1) & (pages - 1);
    }
    return sum;
  };
  return () => {
    for (let done = 0; done < OPERATIONS; done += OPERATIONS_OF_A_LOOP) sink += touchSome();
  };
}

function task(name: string, pages: number, preset: string, level: LeafLevel): BenchTask {
  return {
    name,
    operationsPerRun: OPERATIONS,
    setup: () => touches(makeRegion(preset, pages, level).cpu, pages, PAGE_BYTES[level]),
  };
}

/**
 * {@link task} of larger pages, each accessed in another part than the one before: where the second level holds pages in pieces
 * (arch/fast-path/page-pieces.ts), all would go into the same set otherwise.
 */
function largeTask(preset: string, level: 2 | 3, pages: number): BenchTask {
  const bytes = PAGE_BYTES[level];
  const partBytes = PAGE_BYTES[level === 3 ? 2 : 1];
  return {
    name: `touch_${preset}_${SIZE_NAMES[level]}_${pages}`,
    operationsPerRun: OPERATIONS,
    setup: () => {
      const { cpu } = makeRegion(preset, pages + Math.ceil((pages * partBytes) / bytes), level);
      return touches(cpu, pages, bytes + partBytes);
    },
  };
}

/**
 * {@link task} while flushes are attributed. Pages are touched before the flush by a loop of its own: V8 knows the CPU and all
 * that it has as constants only in a function that was made once, and {@link touches} called twice made each access 1.6 to 1.9 times as slow,
 * with attribution or without.
 * @param isFlushed after one of everything, when TLBs without flushes are full
 */
function attributedTask(
  name: string,
  preset: string,
  pages: number,
  isFlushed: boolean,
  level: LeafLevel = 1,
): BenchTask {
  return {
    name,
    operationsPerRun: OPERATIONS,
    setup: () => {
      const all = level === 3 ? HUGE_PAGES : REGION_PAGES;
      const { cpu } = makeRegion(preset, all, level);
      const attribution = cpu.attributeFlushes();
      if (isFlushed) {
        for (let page = 0; page < all; page++) sink += cpu.touch(REGION + page * PAGE_BYTES[level]);
        attribution.currentFlush = 1;
        cpu.flushTlbAll();
        attribution.currentFlush = 0;
      }
      return touches(cpu, pages, PAGE_BYTES[level]);
    },
  };
}

/** INVLPG of a page and a load from it, 32 pages in turn. An operation is both. */
function invlpgReload(preset: string): BenchTask {
  const pages = 32;
  return {
    name: `invlpg_reload_${preset}`,
    operationsPerRun: OPERATIONS,
    setup: () => {
      const { cpu } = makeRegion(preset, pages);
      return () => {
        let sum = 0;
        for (let i = 0; i < OPERATIONS; i++) {
          const la = REGION + (i & (pages - 1)) * 4096;
          cpu.invlpg(la);
          sum = (sum + cpu.load(la, 4)) | 0;
        }
        sink += sum;
      };
    },
  };
}

/** Stores to pages that are not present: a page fault, whose handler maps the page, and the store again. */
const firstTouch: BenchTask = {
  name: "first_touch",
  operationsPerRun: FIRST_TOUCHES,
  setup: () => {
    const { cpu, memory, leafOf, map } = makeRegion("skylake", FIRST_TOUCHES);
    return () => {
      for (let page = 0; page < FIRST_TOUCHES; page++) {
        const { frame, index } = leafOf(page);
        memory.writeWord(frame, index * 2, 0);
      }
      cpu.flushTlbAll();
      for (let page = 0; page < FIRST_TOUCHES; page++) {
        try {
          cpu.store(REGION + page * 4096, 4, page);
          throw new Error(`page ${page} was present`);
        } catch (error) {
          if (!(error instanceof PageFault)) throw error;
          map(page);
          cpu.store(REGION + page * 4096, 4, page);
        }
      }
    };
  },
};

/** The tasks of this file. */
export const SHAPE_TASKS: readonly BenchTask[] = [
  ...PRESETS.flatMap(({ name }) => FOOTPRINTS.map((pages) => task(`touch_${name}_${pages}`, pages, name, 1))),
  ...PRESETS.filter(({ name }) => name !== "skylake").flatMap(({ name }) =>
    ([2, 3] as const).flatMap((level) =>
      LARGE_FOOTPRINTS_OF_OTHERS[level].map((pages) => largeTask(name, level, pages)),
    ),
  ),
  ...([2, 3] as const).flatMap((level) =>
    // 1 GiB pages: as many as 48 bits of addresses from the region on have room for.
    FOOTPRINTS.map((pages) => (level === 3 ? Math.min(pages, 16_384) : pages)).map((pages) =>
      task(`touch_${SIZE_NAMES[level]}_${pages}`, pages, "skylake", level),
    ),
  ),
  ...FOOTPRINTS.map((pages) => attributedTask(`touch_attributed_${pages}`, "skylake", pages, false)),
  ...ATTRIBUTED_PRESETS.flatMap((preset) =>
    FOOTPRINTS.map((pages) => attributedTask(`touch_attributed_flushed_${preset}_${pages}`, preset, pages, true)),
  ),
  ...([2, 3] as const).flatMap((level) =>
    LARGE_FOOTPRINTS[level].map((pages) =>
      attributedTask(`touch_attributed_flushed_${SIZE_NAMES[level]}_${pages}`, "skylake", pages, true, level),
    ),
  ),
  ...PRESETS.map(({ name }) => invlpgReload(name)),
  firstTouch,
];

/** What all accesses summed to, so that none can be left out. */
export function shapesSink(): number {
  return sink;
}
