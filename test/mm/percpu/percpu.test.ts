import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatLinearAddress16 } from "../../../arch/isa/linear-address.ts";
import { PercpuAllocator, percpuUnitBytes } from "../../../mm/percpu/percpu.ts";
import { PercpuChunk } from "../../../mm/percpu/percpu-chunk.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { randomStream } from "../../../src/machine/random.ts";

describe("the space of a per-CPU chunk", () => {
  it("gives out what a plain byte map says is the first place that fits, and joins what is given back", () => {
    const operation = fc.record({
      size: fc.integer({ min: 1, max: 100 }).map((size) => size * 4),
      alignShift: fc.integer({ min: 2, max: 8 }),
      freeIndex: fc.nat(),
      isFree: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 300 }), (operations) => {
        const unit = 4096 * 2;
        const chunk = new PercpuChunk(0, [], unit, 1);
        const used = new Uint8Array(unit);
        const live: [number, number][] = [];
        for (const { size, alignShift, freeIndex, isFree } of operations) {
          if (isFree && live.length > 0) {
            const [[offset, bytes]] = live.splice(freeIndex % live.length, 1);
            expect(chunk.free(offset)).toBe(bytes);
            used.fill(0, offset, offset + bytes);
          } else {
            const align = 2 ** alignShift;
            let expected = -1;
            for (let at = 0; at + size <= unit && expected < 0; at += align) {
              if (used.subarray(at, at + size).every((byte) => byte === 0)) expected = at;
            }
            expect(chunk.alloc(size, align)).toBe(expected);
            if (expected < 0) continue;
            used.fill(1, expected, expected + size);
            live.push([expected, size]);
          }
          let longest = 0;
          for (let at = 0, run = 0; at < unit; at++) {
            run = used[at] === 0 ? run + 1 : 0;
            longest = Math.max(longest, run);
          }
          expect(chunk.contigBytes).toBe(longest);
          expect(chunk.freeBytes).toBe(used.filter((byte) => byte === 0).length);
        }
        expect(chunk.free(3)).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});

it("what was freed is not freed again, and what lies behind it keeps its size", () => {
  const chunk = new PercpuChunk(0, [], 8192, 1);
  const first = chunk.alloc(16, 4);
  const second = chunk.alloc(16, 4);
  expect([chunk.free(first), chunk.free(first), chunk.free(second)]).toEqual([16, 0, 16]);
  expect(chunk.freeBytes).toBe(8192);
});

describe("the per-CPU allocator", () => {
  it("lays out units as a 6.12 kernel says at boot", () => {
    expect([1, 2, 4, 8, 16, 64].map(percpuUnitBytes)).toEqual([2 ** 21, 2 ** 20, 2 ** 19, 2 ** 18, 2 ** 18, 2 ** 18]);
  });

  it("zeroes memory for every CPU, in chunks that lie at the top of the vmalloc range", () => {
    const kernel = bootKernel({ cpus: 4 });
    const percpu = new PercpuAllocator(kernel.vm);
    const cpu = kernel.machine.cpus[0];
    const first = kernel.run(() => percpu.alloc(1000, 8));
    expect(first).toBe(0xe8ff_ffc0_0000);
    for (let unit = 0; unit < 4; unit++) {
      for (let word = 0; word < 250; word++) {
        const la = first + unit * percpu.unitBytes + 4 * word;
        expect(cpu.load(la, 4)).toBe(0);
        cpu.store(la, 4, unit + 1);
      }
    }
    kernel.run(() => percpu.free(first));
    const again = kernel.run(() => percpu.alloc(1000, 8));
    expect(again).toBe(first);
    for (let unit = 0; unit < 4; unit++) expect(cpu.load(again + unit * percpu.unitBytes, 4)).toBe(0);
    expect(kernel.verify()).toEqual([]);
  });

  it("makes chunks as they fill, and destroys wholly free ones but the first", () => {
    const kernel = bootKernel({ cpus: 2 });
    const percpu = new PercpuAllocator(kernel.vm);
    const framesBefore = kernel.pages.freePages;
    const objects = Array.from({ length: 200 }, () => kernel.run(() => percpu.alloc(32768, 4096)));
    expect(percpu.chunks).toBe(Math.ceil(200 / (percpu.unitBytes / 32768)));
    for (const object of objects) kernel.run(() => percpu.free(object));
    kernel.runUntilIdle();
    expect(percpu.chunks).toBe(1);
    expect(percpu.chunksDestroyed).toBe(percpu.chunksMade - 1);
    kernel.vmUnmapAliases();
    expect(kernel.verify()).toEqual([]);
    expect(framesBefore - kernel.pages.freePages).toBeLessThan(2 * (percpu.unitBytes / 4096) + 20);
  });

  it("refuses what the kernel refuses, and warns", () => {
    const kernel = bootKernel({ cpus: 1 });
    const percpu = new PercpuAllocator(kernel.vm);
    for (const [size, align] of [
      [0, 4],
      [32769, 4],
      [8, 8192],
      [8, 24],
    ]) {
      expect(kernel.run(() => percpu.alloc(size, align))).toBe(0);
    }
    expect(kernel.log.warnings).toBe(4);
    kernel.run(() => percpu.free(0x1234));
    expect(kernel.log.warnings).toBe(5);
  });

  it("gives back what it took when memory runs out", () => {
    const kernel = bootKernel({ cpus: 4, memoryBytes: 2 ** 24 });
    const percpu = new PercpuAllocator(kernel.vm);
    const objects: number[] = [];
    let object = kernel.run(() => percpu.alloc(32768, 4096));
    while (object !== 0) {
      objects.push(object);
      object = kernel.run(() => percpu.alloc(32768, 4096));
    }
    expect(objects.length).toBeGreaterThan(10);
    expect(kernel.verify()).toEqual([]);
    for (const each of objects) kernel.run(() => percpu.free(each));
    kernel.runUntilIdle();
    expect(kernel.run(() => percpu.alloc(32768, 4096))).not.toBe(0);
    expect(kernel.verify()).toEqual([]);
  });
});

describe("free_percpu of nothing", () => {
  it("does nothing and takes no time", () => {
    const kernel = bootKernel({ cpus: 2 });
    const percpu = new PercpuAllocator(kernel.vm);
    const clock = kernel.machine.loop.clockCycles[0];
    kernel.run(() => percpu.free(0));
    expect(kernel.machine.loop.clockCycles[0]).toBe(clock);
    expect(kernel.log.warnings).toBe(0);
  });
});

describe("a program with a seed", () => {
  it("gets the addresses that it got before, chunk by chunk, in the same time", () => {
    const kernel = bootKernel({ cpus: 3, memoryBytes: 2 ** 28 });
    const percpu = new PercpuAllocator(kernel.vm);
    const random = randomStream(11);
    const live: number[] = [];
    const lines: string[] = [];
    for (let round = 0; round < 40; round++) {
      const isGrowing = round < 20;
      for (let i = 0; i < 60; i++) {
        if (live.length > 0 && random.between(0, 9) < (isGrowing ? 3 : 8)) {
          const [address] = live.splice(random.between(0, live.length - 1), 1);
          kernel.run(() => percpu.free(address));
        } else {
          const size = random.between(0, 5) === 0 ? random.between(1, 32 * 1024) : random.between(1, 600);
          live.push(kernel.run(() => percpu.alloc(size, 2 ** random.between(0, 12))));
        }
      }
      kernel.runUntilIdle();
      const places = live.slice(-4).map((address) => formatLinearAddress16(address).slice(-10));
      lines.push(`${live.length} objects in ${percpu.chunks} chunks, the last at ${places.join(" ")}`);
    }
    expect(kernel.verify()).toEqual([]);
    for (const address of live) kernel.run(() => percpu.free(address));
    kernel.runUntilIdle();
    const { chunksMade, chunksDestroyed, chunks } = percpu;
    lines.push(
      `made ${chunksMade}, destroyed ${chunksDestroyed}, left ${chunks}, cycle ${kernel.machine.loop.clockCycles[0]}`,
    );
    expect(lines).toMatchSnapshot();
    expect(kernel.verify()).toEqual([]);
  });
});
