/**
 * What a live area costs, in host memory and in time, as their number grows: `npm run bench:areas`. Areas are of one page.
 * Everything is counted: the growth of the JavaScript heap and of all array buffers (areas, vm_structs, arrays of pages, page
 * tables, the page allocator's bookkeeping, the table of starts), and that of the process's resident memory. An operation is
 * one vfree of a random live area and one vmalloc in its place, after as many to warm up. Each number of areas has a process of
 * its own.
 */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { table } from "table";
import { PAGE_SIZE } from "../arch/index.ts";
import { bootKernel, type Kernel } from "../src/machine/kernel.ts";

const LIVE_AREAS = [1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 600_000, 1_000_000];
const WARM_UP = 50_000;
const OPERATIONS = 100_000;
const ROUNDS = 7;

interface Measured {
  readonly liveAreas: number;
  /** Bytes of JavaScript heap and array buffers, and of resident memory, a live area. */
  readonly heldBytes: number;
  readonly residentBytes: number;
  /** Nanoseconds of one vfree and one vmalloc: the quickest round, and the median one. */
  readonly minNs: number;
  readonly medianNs: number;
}

function measure(liveAreas: number): Measured {
  const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 33 });
  const random = xorshift32();
  const live = new Float64Array(liveAreas);
  for (let i = 0; i < WARM_UP; i++) {
    kernel.vfree(kernel.vmalloc(PAGE_SIZE));
    drain(kernel);
  }
  const before = memoryNow();
  for (let i = 0; i < liveAreas; i++) live[i] = kernel.vmalloc(PAGE_SIZE);
  const after = memoryNow();
  const times: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const operations = round === 0 ? Math.max(OPERATIONS, liveAreas) : OPERATIONS;
    const started = performance.now();
    for (let i = 0; i < operations; i++) {
      const victim = random() % liveAreas;
      kernel.vfree(live[victim]);
      live[victim] = kernel.vmalloc(PAGE_SIZE);
      drain(kernel);
    }
    if (round > 0) times.push(((performance.now() - started) * 1e6) / operations);
  }
  times.sort((a, b) => a - b);
  return {
    liveAreas,
    heldBytes: (after.held - before.held) / liveAreas,
    residentBytes: (after.resident - before.resident) / liveAreas,
    minNs: times[0],
    medianNs: times[times.length >> 1],
  };
}

function memoryNow(): { held: number; resident: number } {
  const { gc } = globalThis as { gc?: () => void };
  if (gc === undefined) throw new Error("run node with --expose-gc");
  // Freed buffers go back to the host from a thread of its own.
  for (let i = 0; i < 3; i++) {
    gc();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
  }
  const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
  return { held: heapUsed + arrayBuffers, resident: rss };
}

function drain(kernel: Kernel): void {
  if (kernel.vm.drainWork?.isPending) kernel.runUntilIdle();
}

/** Marsaglia's xorshift of 32 bits. */
function xorshift32(): () => number {
  let state = 88_172_645;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

function measureApart(liveAreas: number): Measured {
  const script = fileURLToPath(import.meta.url);
  const output = execFileSync(process.execPath, ["--expose-gc", script, String(liveAreas)], { encoding: "utf8" });
  return JSON.parse(output) as Measured;
}

const [asked] = process.argv.slice(2);
if (asked !== undefined && asked !== "--json") {
  process.stdout.write(`${JSON.stringify(measure(Number(asked)))}\n`);
} else {
  const measured = LIVE_AREAS.map(measureApart);
  const rows = measured.map(({ liveAreas, heldBytes, residentBytes, minNs, medianNs }) => [
    liveAreas,
    heldBytes.toFixed(1),
    residentBytes.toFixed(1),
    minNs.toFixed(0),
    medianNs.toFixed(0),
    (minNs / Math.log2(liveAreas)).toFixed(1),
  ]);
  const head = ["live areas", "bytes an area", "resident", "ns/op (quickest)", "ns/op (median)", "ns / log2"];
  process.stdout.write(asked === "--json" ? `${JSON.stringify(measured)}\n` : table([head, ...rows]));
}
