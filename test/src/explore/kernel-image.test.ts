/** Going back: whatever a schedule does to a kernel, nothing of it is left. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { vmalloc, wait } from "../../../mm/index.ts";
import { EXPLORED_KERNEL } from "../../../src/explore/base/explored-kernel.ts";
import { FrameBytes } from "../../../src/explore/base/frame-bytes.ts";
import { KernelImage } from "../../../src/explore/base/kernel-image.ts";
import { SlotImage } from "../../../src/explore/base/slot-image.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";
import { encodeData } from "../../../src/state/container.ts";
import { captureKernel } from "../../../src/state/kernel-state.ts";

const PAGE = 4096;

/** All that a state file keeps. */
function stateOf(kernel: Kernel): string {
  return createHash("sha256")
    .update(encodeData(captureKernel(kernel)))
    .digest("hex");
}

function imageOf(kernel: Kernel, others: readonly unknown[] = []): { image: KernelImage; bytes: FrameBytes } {
  const bytes = new FrameBytes(kernel.machine.memory);
  return { bytes, image: new KernelImage(kernel, bytes, others) };
}

/** Work that changes areas, page tables, memory, TLBs, locks and the log. */
function work(kernel: Kernel): void {
  const addresses = Array.from({ length: 8 }, (_, i) => kernel.vmalloc((i + 1) * PAGE));
  for (const cpu of kernel.machine.cpus) for (const address of addresses) cpu.store(address, 4, 0x5a5a5a5a);
  kernel.vmMapRam(kernel.allocFrames(4));
  for (const address of addresses.slice(0, 4)) kernel.vfree(address);
  kernel.vmUnmapAliases();
  kernel.vfree(addresses[0]);
}

describe("an image of a kernel", () => {
  it("brings back the state that is saved, byte for byte, and what follows is the same again", () => {
    const kernel = bootKernel({ ...EXPLORED_KERNEL, cpus: 2 });
    const kept = kernel.vmalloc(3 * PAGE);
    kernel.machine.cpus[1].store(kept, 4, 0x1234);
    const { image } = imageOf(kernel);
    const before = stateOf(kernel);
    work(kernel);
    const after = stateOf(kernel);
    expect(after).not.toEqual(before);
    for (let i = 0; i < 3; i++) {
      image.restore();
      expect(stateOf(kernel)).toEqual(before);
      expect(kernel.machine.cpus[1].load(kept, 4)).toBe(0x1234);
      image.restore();
      work(kernel);
      expect(stateOf(kernel)).toEqual(after);
    }
  });

  it("goes back to before the first flush whose cost is watched, and what follows is charged the same again", () => {
    const kernel = bootKernel({ ...EXPLORED_KERNEL, cpus: 2 });
    const accounts = kernel.vm.flushing.keepAccounts();
    const { cpus } = kernel.machine;
    const kept = kernel.vmalloc(PAGE);
    for (const cpu of cpus) cpu.store(kept, 4, 1);
    const { image } = imageOf(kernel);
    const before = stateOf(kernel);
    const areWatched = () => cpus.map(({ mmu }) => mmu.fastPath.isWatched);
    const chargedAfterWork = () => {
      work(kernel);
      // So many pages that their flush is one of everything.
      kernel.vfree(kernel.vmalloc(100 * PAGE));
      kernel.vmUnmapAliases();
      for (const cpu of cpus) cpu.load(kept, 4);
      return { total: accounts.total(), unexplained: cpus.map((cpu) => cpu.attributeFlushes().unexplainedWalks) };
    };
    const charged = chargedAfterWork();
    expect(charged.total.refills).toBeGreaterThan(0);
    expect(areWatched()).toEqual([true, true]);
    for (let i = 0; i < 3; i++) {
      image.restore();
      expect(areWatched()).toEqual([false, false]);
      expect(stateOf(kernel)).toEqual(before);
      expect(chargedAfterWork()).toEqual(charged);
    }
  });

  it("forgets a thread that stopped in the middle of a call", () => {
    const kernel = bootKernel({ ...EXPLORED_KERNEL, cpus: 2 });
    const { image } = imageOf(kernel);
    const before = stateOf(kernel);
    kernel.spawn(
      "stops",
      1,
      function* () {
        yield* wait(vmalloc(kernel.vm, PAGE));
        if (!kernel.vm.purgeLock.tryTake()) yield* kernel.vm.purgeLock.take();
        throw new Error("stopped");
      }.call(undefined),
    );
    expect(() => kernel.runUntilIdle()).toThrow("stopped");
    image.restore();
    expect(kernel.vm.purgeLock.isHeld).toBe(false);
    expect(stateOf(kernel)).toEqual(before);
  });

  it("keeps what a situation consists of, however deep", () => {
    const kernel = bootKernel({ ...EXPLORED_KERNEL, cpus: 1 });
    const situation = { list: [1, 2], map: new Map([["a", { n: 1 }]]), set: new Set([1]), bytes: new Uint8Array(3000) };
    const { image } = imageOf(kernel, [situation]);
    const { map } = situation;
    situation.list.push(3);
    (map.get("a") as { n: number }).n = 2;
    map.set("b", { n: 3 });
    situation.set.add(2);
    situation.bytes[2999] = 7;
    situation.map = new Map();
    image.restore();
    expect(situation).toEqual({
      list: [1, 2],
      map: new Map([["a", { n: 1 }]]),
      set: new Set([1]),
      bytes: new Uint8Array(3000),
    });
    expect(situation.map).toBe(map);
  });
});

describe("frames as the host's bytes", () => {
  it("are zero or not, as the emulated memory says", () => {
    const kernel = bootKernel({ ...EXPLORED_KERNEL, cpus: 1 });
    const { memory } = kernel.machine;
    const { bytes } = imageOf(kernel);
    for (const frame of [300, 1023, 1024, 2049]) {
      expect(bytes.isZero(frame)).toBe(true);
      for (const word of [0, 511, 1023]) {
        memory.writeWord(frame, word, 1 << 31);
        expect(bytes.isZero(frame)).toBe(false);
        memory.writeWord(frame, word, 0);
      }
      expect(bytes.isZero(frame)).toBe(true);
    }
  });
});

describe("properties of objects", () => {
  it("get back the values that they had, each object its own", () => {
    class Counter {
      count: number | string | null;
      readonly "odd name";
      constructor(count: number) {
        this.count = count;
        this["odd name"] = { count };
      }
    }
    const counters = [1, 2.5, Number.NaN].map((count) => new Counter(count));
    const other = { count: 7 };
    const image = new SlotImage();
    for (const each of [...counters, other]) image.keep(each as unknown as Record<string, unknown>);
    const odd = counters.map((each) => each["odd name"]);
    counters[0].count = "text";
    counters[1].count = null;
    counters[2].count = 5;
    other.count = 8;
    image.restore();
    expect(counters.map(({ count }) => count)).toEqual([1, 2.5, Number.NaN]);
    expect(counters.map((each) => each["odd name"])).toEqual(odd);
    expect(other.count).toBe(7);
  });
});
