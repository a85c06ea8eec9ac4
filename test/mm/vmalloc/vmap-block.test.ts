/** vmap blocks: room for small `vm_map_ram` requests, and what happens to a block while somebody waits for its lock. */
import { describe, expect, it } from "vitest";
import { type KernelCode, PAGE_SIZE, PAUSE_TURN } from "../../../arch/index.ts";
import { vmMapRam, wait } from "../../../mm/index.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

const PAGE = PAGE_SIZE;

/** The first block of CPU 0, with one page of it mapped. */
function oneBlock(): { kernel: Kernel; block: number; frames: Uint32Array; first: number } {
  const kernel = bootKernel({ cpus: 2 });
  const frames = kernel.allocFrames(64);
  const first = kernel.vmMapRam(frames.slice(0, 1));
  return { kernel, block: kernel.vm.blocks.queueHead[0], frames, first };
}

/**
 * CPU 0 asks for `pages` pages while CPU 1 holds the lock of its block and lets `meanwhile` happen to the block; where it got
 * them.
 */
function mapWhileLocked(
  kernel: Kernel,
  block: number,
  frames: Uint32Array,
  meanwhile: (kernel: Kernel) => void,
): number {
  const { loop } = kernel.machine;
  const lock = kernel.vm.blocks.locks[block];
  let address = 0;
  function* holder(): KernelCode<void> {
    if (!lock.tryTake()) yield* lock.take();
    loop.spend(50_000);
    yield PAUSE_TURN;
    meanwhile(kernel);
    lock.release();
  }
  function* mapper(): KernelCode<void> {
    loop.spend(10_000);
    address = yield* wait(vmMapRam(kernel.vm, frames));
  }
  kernel.spawn("holder", 1, holder());
  kernel.spawn("mapper", 0, mapper());
  kernel.runUntilIdle();
  expect(lock.isHeld).toBe(false);
  return address;
}

describe("a vmap block whose lock had to be waited for (vb_alloc)", () => {
  it("serves the request if it still can", () => {
    const { kernel, block, frames, first } = oneBlock();
    expect(mapWhileLocked(kernel, block, frames.slice(1, 2), () => {})).toBe(first + PAGE);
    expect(kernel.verify()).toEqual([]);
  });

  it("does not serve it once a purge has taken the block from its queue", () => {
    const { kernel, block, frames, first } = oneBlock();
    const address = mapWhileLocked(kernel, block, frames.slice(1, 2), ({ vm }) => vm.blocks.dequeue(block));
    expect(Math.floor(address / kernel.vm.blockBytes)).not.toBe(Math.floor(first / kernel.vm.blockBytes));
    expect(kernel.machine.cpus[0].probe(address).outcome).toBe("mapped");
  });

  it("does not serve it when the room has gone meanwhile", () => {
    const { kernel, block, frames, first } = oneBlock();
    const { blocks, config } = kernel.vm;
    const address = mapWhileLocked(kernel, block, frames.slice(1, 5), () => {
      // All but two pages are taken by somebody else.
      const taken = blocks.free[block] - 2;
      blocks.markUsed(block, config.blockPages - blocks.free[block], taken, true, taken);
      blocks.free[block] = 2;
    });
    expect(Math.floor(address / kernel.vm.blockBytes)).not.toBe(Math.floor(first / kernel.vm.blockBytes));
    expect(blocks.free[block]).toBe(2);
  });

  it("does not serve it when it serves another CPU by now", () => {
    const { kernel, block, frames, first } = oneBlock();
    const { blocks } = kernel.vm;
    const address = mapWhileLocked(kernel, block, frames.slice(1, 2), () => {
      blocks.dequeue(block);
      blocks.cpu[block] = 1;
      blocks.enqueue(block);
    });
    expect(Math.floor(address / kernel.vm.blockBytes)).not.toBe(Math.floor(first / kernel.vm.blockBytes));
  });
});

describe("unmapping in a vmap block (vb_free)", () => {
  const mapped = (kernel: Kernel, address: number, pages: number): boolean[] =>
    Array.from({ length: pages }, (_, k) => kernel.machine.cpus[0].probe(address + k * PAGE).outcome === "mapped");

  it("warns of a size that rounds up into pages of others, and leaves all of them alone", () => {
    const kernel = bootKernel({ cpus: 1 });
    const frames = kernel.allocFrames(4);
    const [first, ...others] = [...frames].map((frame) => kernel.vmMapRam([frame]));
    expect(others).toEqual([first + PAGE, first + 2 * PAGE, first + 3 * PAGE]);
    kernel.vmUnmapRam(first, 3);
    expect(kernel.log.warnings).toBe(1);
    expect(mapped(kernel, first, 4)).toEqual([true, true, true, true]);
    for (const address of [first, ...others]) kernel.vmUnmapRam(address, 1);
    expect(kernel.log.warnings).toBe(1);
    expect(mapped(kernel, first, 4)).toEqual([false, false, false, false]);
    expect(kernel.verify()).toEqual([]);
  });

  it("takes the pages that a mapping was rounded up to with it", () => {
    const kernel = bootKernel({ cpus: 1 });
    const frames = kernel.allocFrames(4);
    const first = kernel.vmMapRam(frames.slice(0, 3));
    const second = kernel.vmMapRam(frames.slice(3, 4));
    expect(second).toBe(first + 4 * PAGE);
    kernel.vmUnmapRam(first, 3);
    expect(kernel.log.warnings).toBe(0);
    expect(mapped(kernel, first, 5)).toEqual([false, false, false, false, true]);
    expect(kernel.verify()).toEqual([]);
  });
});

describe("a vmap block that cannot be entered into its CPU's index", () => {
  it("leaves nothing behind: its range is free again, and every lock was held where it must be", () => {
    const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 26, proveLocking: true });
    const frames = kernel.allocFrames(1);
    kernel.faults.failAt(0, "blockIndex");
    expect(kernel.vmMapRam(frames)).toBe(0);
    kernel.faults.disarm();
    expect(kernel.vm.blocks.liveCount).toBe(0);
    expect(kernel.mm.lockdep?.reports).toEqual([]);
    expect(kernel.verify()).toEqual([]);
    const first = kernel.vmMapRam(frames);
    expect(first % kernel.vm.blockBytes).toBe(0);
    expect(kernel.vm.areas.liveCount).toBeGreaterThan(0);
  });
});
