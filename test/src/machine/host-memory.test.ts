/** How much of the host's memory a CPU takes: the pages of its arrays that were written. What is only reserved costs nothing. */
import { expect, it } from "vitest";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { runOnKernel } from "../../../src/runs/run.ts";
import { loadWorkload } from "../../../src/workloads/index.ts";

const PAGE_WORDS = 1024;
const CPUS = 64;
/** Some 90 KiB are TLBs and what finds their entries; 45 KiB are data caches of few lines. */
const BYTES_PER_CPU_MAX = 160 * 1024;

it("a CPU of 64 that run the mixed workload takes at most 160 KiB for its TLBs, caches and registers", async () => {
  const kernel = bootKernel({ cpus: CPUS });
  const workload = await loadWorkload("mixed");
  runOnKernel(kernel, workload, { operations: 20 * CPUS, seed: 1 });
  const { cpus, memory, loop } = kernel.machine;
  const buffers = buffersOf(cpus, new Set<object>([memory, loop]));
  const frames = new Set(memory.directory.map(({ buffer }) => buffer));
  const own = [...buffers].filter((buffer) => !frames.has(buffer));
  expect(own.length).toBeGreaterThan(CPUS);
  const bytes = own.reduce((sum, buffer) => sum + writtenBytes(buffer), 0);
  expect(bytes / CPUS).toBeGreaterThan(BYTES_PER_CPU_MAX / 4);
  expect(bytes / CPUS).toBeLessThan(BYTES_PER_CPU_MAX);
});

/** The buffers of all typed arrays that can be reached from `roots`, but not through `seen`. */
function buffersOf(roots: readonly object[], seen: Set<object>): Set<ArrayBufferLike> {
  const buffers = new Set<ArrayBufferLike>();
  const todo: unknown[] = [...roots];
  while (todo.length > 0) {
    const found = todo.pop();
    if (typeof found !== "object" || found === null || seen.has(found)) continue;
    seen.add(found);
    if (ArrayBuffer.isView(found)) buffers.add(found.buffer);
    else if (found instanceof Map) todo.push(...found.values());
    else todo.push(...Object.values(found));
  }
  return buffers;
}

function writtenBytes(buffer: ArrayBufferLike): number {
  const words = new Int32Array(buffer, 0, buffer.byteLength >> 2);
  let bytes = 0;
  for (let at = 0; at < words.length; at += PAGE_WORDS) {
    const page = words.subarray(at, at + PAGE_WORDS);
    if (page.some((word) => word !== 0)) bytes += page.byteLength;
  }
  return bytes;
}
