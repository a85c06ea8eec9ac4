/** The tests of the kernel's lib/test_vmalloc.c that allocate, store and free in a loop, and keep nothing. */
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import {
  __GFP_ZERO,
  __vmallocNode,
  type Blocking,
  CallsInTurn,
  GFP_KERNEL,
  NUMA_NO_NODE,
  ready,
  vfree,
  vmalloc,
  vmallocHuge,
} from "../../../mm/index.ts";
import type { Worker } from "./worker.ts";

/** `THREAD_ALIGN << 1` on x86-64: kernel stacks are aligned to 16 KiB. */
const FIX_ALIGN_BYTES = 2 * 16384;

/** What a loop does next. */
const LETS_OTHERS_ACT = 0;
const ALLOCATES = 1;
const FREES = 2;

/**
 * Loops of a `vmalloc` and its `vfree`; whether all found room. As generators they took 1.07 times as long on 1024 CPUs (medians of seven; in one process 0.99 to 1.02).
 */
abstract class PairTest extends CallsInTurn<boolean> {
  protected readonly worker: Worker;
  private loop = 0;
  private step = LETS_OTHERS_ACT;

  constructor(worker: Worker) {
    super();
    this.worker = worker;
  }

  /** The area's address, or 0. */
  protected abstract allocate(worker: Worker): Blocking<number>;
  /** Stores to it, if the test does. */
  protected abstract store(worker: Worker, address: number): void;

  protected call(value: unknown): Blocking<unknown> {
    const { worker } = this;
    if (this.step === LETS_OTHERS_ACT) {
      if (this.loop === worker.loops) return this.over(ready(true));
      this.step = ALLOCATES;
      if (worker.turns.isDue()) return worker.takeTurn(this.loop);
    }
    if (this.step === ALLOCATES) {
      this.step = FREES;
      return this.allocate(worker);
    }
    const address = value as number;
    if (address === 0) return this.over(ready(false));
    this.store(worker, address);
    this.loop++;
    this.step = LETS_OTHERS_ACT;
    return vfree(worker.vm, address);
  }
}

/** `fix_size_alloc_test`. */
export class FixSizeAlloc extends PairTest {
  protected allocate({ vm, useHuge, pages }: Worker): Blocking<number> {
    const sizeBytes = pages * PAGE_SIZE;
    return useHuge ? vmallocHuge(vm, sizeBytes) : vmalloc(vm, sizeBytes);
  }

  protected store(worker: Worker, address: number): void {
    worker.storeByte(address, 0);
  }
}

/** `random_size_alloc_test`. */
export class RandomSizeAlloc extends PairTest {
  protected allocate({ vm, random }: Worker): Blocking<number> {
    return vmalloc(vm, random.between(1, 100) * PAGE_SIZE);
  }

  protected store(worker: Worker, address: number): void {
    worker.storeByte(address, 1);
  }
}

/** `fix_align_alloc_test`. */
export class FixAlignAlloc extends PairTest {
  protected allocate({ vm }: Worker): Blocking<number> {
    return __vmallocNode(vm, 5 * PAGE_SIZE, FIX_ALIGN_BYTES, GFP_KERNEL | __GFP_ZERO, NUMA_NO_NODE);
  }

  protected store(): void {
    // It does not.
  }
}

/** `random_size_align_alloc_test`. */
export class RandomSizeAlignAlloc extends PairTest {
  protected allocate({ vm, random }: Worker): Blocking<number> {
    const byte = random.between(0, 255);
    const sizeBytes = ((byte % 10) + 1) * PAGE_SIZE;
    return __vmallocNode(vm, sizeBytes, 1 << (byte % 23), GFP_KERNEL | __GFP_ZERO, NUMA_NO_NODE);
  }

  protected store(): void {
    // It does not.
  }
}
