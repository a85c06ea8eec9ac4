/** What a translated access costs: hits of the first and second TLB level, and page walks. */

import type { Cpu } from "../arch/index.ts";
import {
  entryHigh,
  entryLow,
  Machine,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_GLOBAL,
  PTE_PRESENT,
  PTE_RW,
  PTE_XD_HIGH,
} from "../arch/index.ts";
import type { BenchTask } from "./task.ts";

const PAGE = 4096;
const REGION = 0xc900_0000_0000;
const REGION_PAGES = 65_536;
const ATTRIBUTES = PTE_PRESENT | PTE_RW | PTE_ACCESSED | PTE_DIRTY | PTE_GLOBAL;

let sink = 0;

/** A machine with 65536 global 4 KiB pages mapped from {@link REGION} on, tables written by hand. */
function machineWithRegion(): Cpu {
  const { memory, cpus } = new Machine({ cpus: 1, memoryBytes: 2 ** 32, preset: "skylake" });
  let nextFrame = 1;
  const table = (parent: number, index: number): number => {
    const low = memory.readWord(parent, index * 2);
    if ((low & PTE_PRESENT) !== 0) return low >>> 12;
    const frame = nextFrame++;
    memory.writeWord(parent, index * 2, entryLow(frame, PTE_PRESENT | PTE_RW | PTE_ACCESSED));
    return frame;
  };
  const root = nextFrame++;
  for (let i = 0; i < REGION_PAGES; i++) {
    const vpn = REGION / PAGE + i;
    const pdpt = table(root, Math.floor(vpn / 2 ** 27) & 511);
    const pd = table(pdpt, Math.floor(vpn / 2 ** 18) & 511);
    const pt = table(pd, Math.floor(vpn / 2 ** 9) & 511);
    const frame = 0x1000 + i;
    memory.writeWord(pt, (vpn & 511) * 2, entryLow(frame, ATTRIBUTES));
    memory.writeWord(pt, (vpn & 511) * 2 + 1, entryHigh(frame, PTE_XD_HIGH));
  }
  cpus[0].writeCr3(root * PAGE);
  return cpus[0];
}

/**
 * Loads of 4 bytes, `stepBytes` apart, over and over the first `pages` pages, a power of two. Sums and offsets are kept to 32
 * bits because a loop of checked numbers takes V8 a nanosecond a round, a fifth of a first-level hit.
 */
function loads(name: string, operationsPerRun: number, pages: number, stepBytes: number): BenchTask {
  return {
    name,
    operationsPerRun,
    setup: () => {
      const cpu = machineWithRegion();
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
    const cpu = machineWithRegion();
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
