/** What the checker says of a cache of executable memory that is not as it must be. */
import { describe, expect, it } from "vitest";
import { execmemAlloc, execmemForceRw } from "../../../mm/index.ts";
import { directMapAddress } from "../../../mm/page-tables/direct-map.ts";
import type { ExecmemAreas } from "../../../mm/vmalloc/execmem-areas.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

const PAGE = 4096;
const LARGE = 2 ** 21;

interface Cached {
  readonly kernel: Kernel;
  readonly cache: ExecmemAreas;
  readonly text: number;
}

/** A kernel with three pages of text in use, and 509 that are free. */
function cached(): Cached {
  const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 27, kernel: "7.3" });
  const text = kernel.run(() => execmemAlloc(kernel.vm, "module text", 3 * PAGE));
  const { execmem } = kernel.vm;
  if (execmem === null) throw new Error("no cache");
  expect(kernel.verify()).toEqual([]);
  return { kernel, cache: execmem, text };
}

describe("the checker of executable memory", () => {
  it.each<readonly [string, (cached: Cached) => void, RegExp]>([
    [
      "code in a free piece",
      ({ kernel, text }) => {
        const frame = kernel.tables.cursor.frameAt(text + 5 * PAGE);
        kernel.machine.memory.writeWord(frame, 9, 0x90);
      },
      /free executable memory \[0xffffffffa0003000, 0xffffffffa0200000\) holds code at 0xffffffffa0005000/,
    ],
    [
      "a free piece that can be written",
      ({ kernel, text }) => {
        kernel.run(execmemForceRw(kernel.vm, text + 5 * PAGE, PAGE));
      },
      /is not read-only and executable at 0xffffffffa0005000.*can be written through the direct map/s,
    ],
    [
      "a free piece that only the direct map can write",
      ({ kernel, text }) => {
        const { cursor } = kernel.tables;
        cursor.seek(directMapAddress(cursor.frameAt(text + LARGE - PAGE) * PAGE));
        cursor.allowWrites();
      },
      /can be written through the direct map/,
    ],
    [
      "a piece that was lost",
      ({ cache }) => cache.free.remove(0),
      /the region of .* has no piece at 0xffffffffa0003000/,
    ],
    [
      "a hole",
      ({ cache }) => cache.free.takeLowest(0, PAGE),
      /has no piece at 0xffffffffa0003000.*leaves a hole before it/s,
    ],
    [
      "free neighbours",
      ({ cache, text }) => {
        cache.free.remove(0);
        cache.free.insert(text + 3 * PAGE, text + 8 * PAGE);
        cache.free.insert(text + 8 * PAGE, text + LARGE);
      },
      /touch and were not merged/,
    ],
    ["a piece in use twice", ({ cache, text }) => cache.busy.insert(text + 4 * PAGE, text + 5 * PAGE), /overlaps/],
    ["a piece in no area", ({ cache, text }) => cache.busy.insert(text + 4 * LARGE, text + 5 * LARGE), /is in no area/],
    [
      "a free that is put off for nothing",
      ({ cache }) => cache.pendingFree.add(4096),
      /is put off, where no piece in use/,
    ],
    ["a mutex that is held", ({ cache }) => cache.mutex.tryTake(), /execmem_cache.mutex is held/],
  ])("names %s", (_, spoil, finding) => {
    const each = cached();
    spoil(each);
    expect(each.kernel.verify().join("\n")).toMatch(finding);
  });
});
