/** The template of a workload of one's own. */

/** Its text. @param name what it is to be called: the file's name without its ending */
export function workloadTemplate(name: string): string {
  return `/**
 * A workload: one kernel thread on every CPU runs the generator below.
 *
 *     mmulab run ./${name}.ts --cpus 4 --ops 10000
 *     mmulab run ./${name}.ts pages_max=64 live=128 --policy eager --accounts
 */
import type { ParameterSpec, ParameterValues, WorkloadCode, WorkloadThread } from "mmulab";

/** What can be said after the file's name as NAME=VALUE, with ranges and defaults; may be left out. */
export const parameters: readonly ParameterSpec[] = [
  { name: "pages_max", kind: "integer", low: 1, high: 1024, default: 16, summary: "most pages of a buffer" },
  { name: "live", kind: "integer", low: 1, high: 10_000, default: 32, summary: "buffers of a thread that are in use" },
];

/**
 * The code of one thread. thread.operations is this thread's share of --ops, thread.random follows --seed, and thread.kernel is the
 * machine's kernel to look at. Calls that the kernel may make wait are made with yield*.
 */
export default function* (thread: WorkloadThread, { pages_max, live }: ParameterValues): WorkloadCode {
  const buffers: number[] = [];
  for (let i = 0; i < thread.operations; i++) {
    const buffer = yield* thread.vmalloc(4096 * thread.random.between(1, Number(pages_max)));
    // Stores and loads go through the CPU's TLBs; a stale translation would show as a wrong load.
    thread.store(buffer, i);
    thread.expect(buffer, i);
    buffers.push(buffer);
    if (buffers.length > Number(live)) yield* thread.vfree(buffers.shift() as number);
  }
  for (const buffer of buffers) yield* thread.vfree(buffer);
}
`;
}
