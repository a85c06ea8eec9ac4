/**
 * A workload of one's own, for `mmulab run`: each CPU keeps a ring of 32 buffers, writes into a new one and frees the oldest.
 * `yield*` marks the calls that the kernel may make wait.
 *
 *     $ npx mmulab run examples/ring-buffers.ts --cpus 2 --ops 2000
 *     ring-buffers: 2 CPUs (skylake), 4 GiB of memory, seed 1
 *
 *     Operations
 *       call      done  NULL     bytes
 *       vfree    2,000     0       0 B
 *       vmalloc  2,000     0  66.2 MiB
 *       memory touched: 2,000 stores, 0 loads checked, 0 wrong
 *     ...
 *       areas freed lazily                  2,000    74 MiB
 *     ...
 *       flushes of whole TLBs                   2
 *     ...
 */
import type { WorkloadCode, WorkloadThread } from "mmulab";

export default function* (thread: WorkloadThread): WorkloadCode {
  const ring: number[] = [];
  for (let i = 0; i < thread.operations; i++) {
    const buffer = yield* thread.vmalloc(4096 * thread.random.between(1, 16));
    thread.store(buffer, i);
    if (ring.push(buffer) > 32) yield* thread.vfree(ring.shift() as number);
  }
  for (const buffer of ring) yield* thread.vfree(buffer);
}
