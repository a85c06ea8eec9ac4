/** Counts of a workload's operations by kind. */
import type { OperationCount } from "./workload.ts";

/** Counts operations by the kernel function's name, in the order in which the names first come. */
export class OperationCounts {
  readonly byName = new Map<string, OperationCount>();

  /** Counts one operation that asked for `bytes`. */
  add(name: string, bytes: number, succeeded: boolean): void {
    let count = this.byName.get(name);
    if (count === undefined) {
      count = { done: 0, failed: 0, bytes: 0 };
      this.byName.set(name, count);
    }
    count.done++;
    count.bytes += bytes;
    if (!succeeded) count.failed++;
  }
}
