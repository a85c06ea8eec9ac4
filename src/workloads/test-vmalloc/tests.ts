/**
 * The tests of the kernel's lib/test_vmalloc.c (Linux 6.12), each a generator that runs on a worker's CPU and returns
 * whether it passed. They make the same calls with the same sizes and alignments, and store where those store.
 */

import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../../arch/time/event-loop.ts";
import {
  __GFP_ZERO,
  __vmallocNode,
  GFP_KERNEL,
  NUMA_NO_NODE,
  vfree,
  vmalloc,
  vmMapRam,
  vmUnmapRam,
  wait,
} from "../../../mm/index.ts";
import { FixAlignAlloc, FixSizeAlloc, RandomSizeAlignAlloc, RandomSizeAlloc } from "./pair-tests.ts";
import { KERNEL_SIZES } from "./test-sizes.ts";
import type { Worker } from "./worker.ts";

/** Where `struct test_kvfree_rcu` has its array: behind the rcu_head. */
const KVFREE_ARRAY_OFFSET = 16;
/** The character that the kernel's tests store. */
const LETTER_A = 0x61;

/** A test: its name, and what it does. Its id is 2 to the power of its place. */
export interface VmallocTest {
  readonly name: string;
  readonly run: (worker: Worker) => KernelCode<boolean>;
  /** Expected to fail. */
  readonly expectedToFail?: boolean;
  /** Loops that it makes whatever test_loop_count says. */
  readonly ownLoops?: number;
  /** Times that a rehearsal repeats it (1): more for a test whose code no other test runs. */
  readonly rehearsals?: number;
}

/** All tests in the order of their ids: 1, 2, 4, ... */
export const VMALLOC_TESTS: readonly VmallocTest[] = [
  { name: "fix_size_alloc_test", run: (worker) => new FixSizeAlloc(worker) },
  { name: "full_fit_alloc_test", run: fullFitAlloc },
  { name: "long_busy_list_alloc_test", run: longBusyListAlloc },
  { name: "random_size_alloc_test", run: (worker) => new RandomSizeAlloc(worker) },
  { name: "fix_align_alloc_test", run: (worker) => new FixAlignAlloc(worker) },
  { name: "random_size_align_alloc_test", run: (worker) => new RandomSizeAlignAlloc(worker) },
  { name: "align_shift_alloc_test", run: alignShiftAlloc, expectedToFail: true, ownLoops: 64 },
  { name: "pcpu_alloc_test", run: pcpuAlloc, ownLoops: KERNEL_SIZES.percpuObjects },
  { name: "kvfree_rcu_1_arg_vmalloc_test", run: kvfreeRcu },
  { name: "kvfree_rcu_2_arg_vmalloc_test", run: kvfreeRcu },
  { name: "vm_map_ram_test", run: vmMapRamTest, rehearsals: 5 },
];

function* fullFitAlloc(worker: Worker): KernelCode<boolean> {
  const { vm, turns, loops } = worker;
  const count = flsOf(worker.cpus) * worker.sizes.fitAreas;
  const kept = yield* wait(vmalloc(vm, 8 * count));
  if (kept === 0) return false;
  const junk = yield* wait(vmalloc(vm, 8 * count));
  if (junk === 0) {
    yield* wait(vfree(vm, kept));
    return false;
  }
  for (let i = 0; i < count; i++) {
    if (turns.isDue()) yield* worker.takeTurn(0);
    worker.storePointer(kept + 8 * i, yield* wait(vmalloc(vm, PAGE_SIZE)));
    worker.storePointer(junk + 8 * i, yield* wait(vmalloc(vm, PAGE_SIZE)));
  }
  yield* freeAll(worker, junk, count);
  let passed = true;
  for (let i = 0; i < loops && passed; i++) {
    if (turns.isDue()) yield* worker.takeTurn(i);
    const address = yield* wait(vmalloc(vm, PAGE_SIZE));
    passed = address !== 0;
    if (!passed) break;
    worker.storeByte(address, 1);
    yield* wait(vfree(vm, address));
  }
  yield* freeAll(worker, kept, count);
  yield* wait(vfree(vm, kept));
  yield* wait(vfree(vm, junk));
  return passed;
}

function* longBusyListAlloc(worker: Worker): KernelCode<boolean> {
  const { vm, turns, loops } = worker;
  const { busyAreas } = worker.sizes;
  const kept = yield* wait(vmalloc(vm, 8 * busyAreas));
  if (kept === 0) return false;
  for (let i = 0; i < busyAreas; i++) {
    if (turns.isDue()) yield* worker.takeTurn(0);
    worker.storePointer(kept + 8 * i, yield* wait(vmalloc(vm, PAGE_SIZE)));
  }
  let passed = false;
  for (let i = 0; i < loops; i++) {
    if (turns.isDue()) yield* worker.takeTurn(i);
    const large = yield* wait(vmalloc(vm, 100 * PAGE_SIZE));
    if (large === 0) break;
    const small = yield* wait(vmalloc(vm, PAGE_SIZE));
    if (small === 0) {
      yield* wait(vfree(vm, large));
      break;
    }
    worker.storeByte(large, 0);
    worker.storeByte(small, 1);
    yield* wait(vfree(vm, large));
    yield* wait(vfree(vm, small));
    passed = i === loops - 1;
  }
  yield* freeAll(worker, kept, busyAreas);
  yield* wait(vfree(vm, kept));
  return passed;
}

/** Fails where the alignment no longer fits the address space. */
function* alignShiftAlloc(worker: Worker): KernelCode<boolean> {
  const { vm } = worker;
  for (let shift = 0; shift < 64; shift++) {
    const address = yield* wait(__vmallocNode(vm, PAGE_SIZE, 2 ** shift, GFP_KERNEL | __GFP_ZERO, NUMA_NO_NODE));
    if (address === 0) return false;
    yield* wait(vfree(vm, address));
  }
  return true;
}

function* pcpuAlloc(worker: Worker): KernelCode<boolean> {
  const { vm, turns, random } = worker;
  const { percpuObjects } = worker.sizes;
  const objects = yield* wait(vmalloc(vm, 8 * percpuObjects));
  if (objects === 0) return false;
  let passed = true;
  for (let i = 0; i < percpuObjects; i++) {
    if (turns.isDue()) yield* worker.takeTurn(i);
    const sizeBytes = random.between(1, PAGE_SIZE / 4);
    const object = yield* wait(worker.percpu.alloc(sizeBytes, 1 << random.between(1, 11)));
    worker.storePointer(objects + 8 * i, object);
    if (object === 0) passed = false;
  }
  for (let i = 0; i < percpuObjects; i++) {
    if (turns.isDue()) yield* worker.takeTurn(percpuObjects);
    yield* wait(worker.percpu.free(worker.loadPointer(objects + 8 * i)));
  }
  yield* wait(vfree(vm, objects));
  return passed;
}

/** Both variants come to the same here: only where the pointers are kept differs when memory for them runs out. */
function* kvfreeRcu(worker: Worker): KernelCode<boolean> {
  const { vm, turns, loops } = worker;
  for (let i = 0; i < loops; i++) {
    if (turns.isDue()) yield* worker.takeTurn(i);
    const address = yield* wait(vmalloc(vm, PAGE_SIZE));
    if (address === 0) return false;
    worker.storeByte(address + KVFREE_ARRAY_OFFSET, LETTER_A);
    yield* wait(worker.kvfreeRcu.free(address));
  }
  return true;
}

function* vmMapRamTest(worker: Worker): KernelCode<boolean> {
  const { vm, turns, loops, pages } = worker;
  const frames = worker.takeFrames(pages);
  if (frames === null) return false;
  let passed = true;
  for (let i = 0; i < loops && passed; i++) {
    if (turns.isDue()) yield* worker.takeTurn(i);
    const address = yield* wait(vmMapRam(vm, frames));
    passed = address !== 0;
    if (!passed) break;
    worker.storeByte(address, LETTER_A);
    yield* wait(vmUnmapRam(vm, address, pages));
  }
  worker.giveFramesBack(frames);
  return passed;
}

/** Frees what `count` pointers in emulated memory point to. */
function* freeAll(worker: Worker, pointers: number, count: number): KernelCode<void> {
  const { vm, turns } = worker;
  for (let i = 0; i < count; i++) {
    if (turns.isDue()) yield* worker.takeTurn(worker.loops);
    yield* wait(vfree(vm, worker.loadPointer(pointers + 8 * i)));
  }
}

/** `fls`: the place of the highest bit that is set, from 1. */
function flsOf(value: number): number {
  return 32 - Math.clz32(value);
}
