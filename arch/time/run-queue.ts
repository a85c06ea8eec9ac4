/** Threads of one CPU that could run, in the order in which they came. */
import type { Thread } from "./thread.ts";

/** Whether a thread of the queue could run at `atCycles`. */
export function hasReady(queue: readonly Thread[], atCycles: number): boolean {
  for (let i = 0; i < queue.length; i++) if (queue[i].readyCycles <= atCycles) return true;
  return false;
}

/** Takes the first thread that is ready at `atCycles` off the queue; null when there is none. */
export function takeReady(queue: Thread[], atCycles: number): Thread | null {
  for (let i = 0; i < queue.length; i++) {
    if (queue[i].readyCycles <= atCycles) return queue.splice(i, 1)[0];
  }
  return null;
}

/** When the first thread of the queue can run on a CPU whose clock is at `clockCycles`; infinity for an empty queue. */
export function earliestReady(queue: readonly Thread[], clockCycles: number): number {
  let at = Number.POSITIVE_INFINITY;
  for (let i = 0; i < queue.length; i++) at = Math.min(at, Math.max(clockCycles, queue[i].readyCycles));
  return at;
}

/** Takes a thread off the queue, if it is there. */
export function removeFrom(queue: Thread[], thread: Thread): void {
  const place = queue.indexOf(thread);
  if (place >= 0) queue.splice(place, 1);
}
