import { describe, expect, it } from "vitest";
import { parseVmallocinfoLine, vmallocinfo } from "../../../mm/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { allocThreadStacks, THREAD_SIZE_BYTES } from "../../../src/machine/thread-stacks.ts";

describe("kernel stacks in vmalloc space", () => {
  it("are an area of four pages and a guard page for each thread, aligned to their size", () => {
    const kernel = bootKernel({ cpus: 2 });
    allocThreadStacks(kernel, 10);
    const areas = vmallocinfo(kernel.vm).map((line) => parseVmallocinfoLine(line));
    expect(areas).toHaveLength(10);
    for (const { start, end, pages } of areas) {
      expect([start % THREAD_SIZE_BYTES, end - start, pages]).toEqual([0, THREAD_SIZE_BYTES + 4096, 4]);
    }
    expect(kernel.verify()).toEqual([]);
  });

  it("leave a gap of 12 KiB behind each, into which an area of one page fits", () => {
    const kernel = bootKernel({ cpus: 1 });
    allocThreadStacks(kernel, 10);
    const [first, second] = [kernel.vmalloc(4096), kernel.vmalloc(4096)];
    expect(second - first).toBe(2 * THREAD_SIZE_BYTES);
    expect(first % THREAD_SIZE_BYTES).toBe(4096);
  });
});
