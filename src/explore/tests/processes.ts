/** The situation that most tests of user address spaces begin with: processes with two pages each, that CPUs run on. */
import type { KernelCode } from "../../../arch/index.ts";
import { DONE, type MmStruct, mmapPopulate, munmap, UserSpaces } from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { expect, tryLoad32, turn } from "../base/accesses.ts";

/** Bytes of a page. */
export const PAGE = 4096;
/** Each process has the two pages [START, END). */
export const START = 0x400000;
/** One past them. */
export const END = START + 2 * PAGE;

/** Address spaces, and what has been done to them. */
export interface Processes {
  readonly spaces: UserSpaces;
  readonly mms: readonly MmStruct[];
  /** Whether the call on CPU 0 has returned. */
  isDone: boolean;
}

/**
 * `count` address spaces with two pages each, which are on the LRU lists; the first runs on every CPU, which have used its pages.
 * @param hasGlobalAsids whether each has a global ASID before any CPU runs on it
 */
export function processes(kernel: Kernel, count: number, hasGlobalAsids = false): Processes {
  const spaces = UserSpaces.of(kernel.mm);
  const mms = Array.from({ length: count }, () => spaces.mmAlloc());
  if (hasGlobalAsids) for (const mm of mms) mm.globalAsid = spaces.globalAsids.allocateGlobalAsid(() => {});
  for (const mm of mms) kernel.run(() => mmapPopulate(spaces, mm, START, 2));
  // What waits in a CPU's batch would not be freed by who unmaps it elsewhere.
  kernel.run(() => spaces.lru.lruAddDrain());
  for (let cpu = 0; cpu < kernel.machine.cpus.length; cpu++) {
    switchOn(kernel, spaces, cpu, mms[0]);
    for (let at = START; at < END; at += PAGE) kernel.machine.cpus[cpu].store(at, 4, cpu);
  }
  return { spaces, mms, isDone: false };
}

/** Unmaps both pages of the first process. */
export function* munmapBoth(_kernel: Kernel, situation: Processes): KernelCode<void> {
  yield* munmap(situation.spaces, situation.mms[0], START, END);
  situation.isDone = true;
}

/** Reads the pages of the first process, one after the other. */
export function* readBoth(kernel: Kernel, situation: Processes): KernelCode<void> {
  for (let at = START; at < END; at += PAGE) {
    yield* turn(kernel, "load");
    const { isDone } = situation;
    const value = yield* tryLoad32(kernel, at);
    expect(value === null || !isDone, `no page can be read once munmap has returned (0x${at.toString(16)})`);
  }
}

/** `cpu` goes on with `mm`, or with a kernel thread (null). */
export function switchOn(kernel: Kernel, spaces: UserSpaces, cpu: number, mm: MmStruct | null): void {
  kernel.run(() => {
    spaces.switchTo(mm);
    return DONE;
  }, cpu);
}

/** A CPU goes on with the first process, and reads its first page. */
export function* switchBackAndRead(kernel: Kernel, situation: Processes): KernelCode<void> {
  yield* turn(kernel, "context switch");
  situation.spaces.switchTo(situation.mms[0]);
  const { isDone } = situation;
  const value = yield* tryLoad32(kernel, START);
  expect(value === null || !isDone, "no page can be read once munmap has returned");
}
