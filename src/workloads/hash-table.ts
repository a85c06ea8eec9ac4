/**
 * The `hash_table` workload: a large hash table, as the kernel's dentry and inode caches have (`alloc_large_system_hash`
 * with `vmalloc_huge`), in 2 MiB pages or in pages of 4 KiB, looked up at random on every CPU.
 */
import { sumCounters } from "../../arch/index.ts";
import { booleanParameter, integerParameter } from "../input/parameters.ts";
import type { Kernel } from "../machine/kernel.ts";
import { threadWorkload } from "./base/thread-workload.ts";

const BUCKET_BYTES = 8;
/** One in so many lookups inserts. */
const LOOKUPS_PER_INSERT = 8;
/** Work of a lookup beside its load: hashing and comparing. */
const LOOKUP_CYCLES = 40;

interface WalkCounts {
  readonly walks: number;
  readonly walkCycles: number;
}

interface Shared {
  readonly table: number;
  readonly buckets: number;
  readonly isHuge: boolean;
  readonly areIndependent: boolean;
  readonly before: WalkCounts;
  lookups: number;
}

/** Random lookups in a large table. */
export const hashTable = threadWorkload<Shared>({
  name: "hash_table",
  summary: "a large hash table looked up at random: vmalloc_huge against 4 KiB pages",
  parameters: [
    {
      name: "size_mib",
      kind: "integer",
      unit: "MiB",
      default: 256,
      low: 2,
      high: 2 ** 20,
      summary: "MiB of the table",
    },
    { name: "huge", kind: "boolean", default: true, summary: "2 MiB pages (vmalloc_huge); 0 takes 4 KiB pages" },
    {
      name: "independent",
      kind: "boolean",
      default: false,
      summary: "no lookup waits for the one before: their walks overlap (default: each does, as names in a path do)",
    },
  ],
  setUp(kernel, parameters) {
    const sizeBytes = integerParameter(parameters, "size_mib") * 2 ** 20;
    const isHuge = booleanParameter(parameters, "huge");
    const areIndependent = booleanParameter(parameters, "independent");
    const caller = "alloc_large_system_hash+0x0/0x0";
    const table = isHuge ? kernel.vmallocHuge(sizeBytes, caller) : kernel.vmalloc(sizeBytes, caller);
    return { table, buckets: sizeBytes / BUCKET_BYTES, isHuge, areIndependent, before: countersOf(kernel), lookups: 0 };
  },
  *thread(thread, shared) {
    const { table, buckets, areIndependent } = shared;
    const accesses = areIndependent ? thread.independent : thread;
    if (table === 0) return;
    for (let i = 0; i < thread.operations; i++) {
      yield* thread.turn();
      const bucket = table + thread.random.between(0, buckets - 1) * BUCKET_BYTES;
      accesses.spend(LOOKUP_CYCLES);
      accesses.load(bucket);
      if (i % LOOKUPS_PER_INSERT === 0) accesses.store(bucket, i);
      shared.lookups++;
    }
  },
  report(kernel, shared) {
    const { table, isHuge, lookups, before } = shared;
    if (table === 0) return { failure: "there was no room for the table; try a larger --memory or a smaller size_mib" };
    const after = countersOf(kernel);
    const walks = after.walks - before.walks;
    const walkCycles = after.walkCycles - before.walkCycles;
    kernel.vfree(table);
    const perLookup = { walksPerLookup: walks / lookups, walkCyclesPerLookup: walkCycles / lookups };
    return {
      lines: [
        `${lookups} lookups in ${isHuge ? "2 MiB" : "4 KiB"} pages: ` +
          `${perLookup.walksPerLookup.toFixed(4)} page walks and ${perLookup.walkCyclesPerLookup.toFixed(2)} walk cycles a lookup`,
      ],
      details: { lookups, pages: isHuge ? "2M" : "4K", ...perLookup },
    };
  },
});

function countersOf(kernel: Kernel): WalkCounts {
  const counters = sumCounters(kernel.machine.cpus.map((cpu) => cpu.counters()));
  const both = (event: string): number =>
    counters[`dtlb_load_misses.${event}`] + counters[`dtlb_store_misses.${event}`];
  return { walks: both("walk_completed"), walkCycles: both("walk_active") };
}
