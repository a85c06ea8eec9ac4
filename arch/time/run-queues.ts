/** Threads of each CPU that could run, in the order in which they came. */
import type { Thread } from "./thread.ts";

/** The queues of all CPUs. */
export class RunQueues {
  private readonly queues: Thread[][];
  /** By CPU: threads in its queue. Most have none, and their queues are then not looked at: these are in none of the host's caches. */
  private readonly lengths: Uint32Array;

  constructor(cpus: number) {
    this.queues = Array.from({ length: cpus }, () => []);
    this.lengths = new Uint32Array(cpus);
  }

  /** Threads in the queue of `cpu`. */
  length(cpu: number): number {
    return this.lengths[cpu];
  }

  /** All threads that are queued, CPU by CPU. */
  all(): Thread[] {
    return this.queues.flat();
  }

  /** Adds a thread behind all others of `cpu`. */
  add(cpu: number, thread: Thread): void {
    this.lengths[cpu] = this.queues[cpu].push(thread);
  }

  /** Adds a thread before all others of `cpu`. */
  addFirst(cpu: number, thread: Thread): void {
    this.lengths[cpu] = this.queues[cpu].unshift(thread);
  }

  /** Whether a thread of `cpu` could run at `atCycles`. */
  hasReady(cpu: number, atCycles: number): boolean {
    return this.lengths[cpu] > 0 && this.queues[cpu].some(({ readyCycles }) => readyCycles <= atCycles);
  }

  /** Takes the first thread that is ready at `atCycles` off the queue of `cpu`; null when there is none. */
  takeReady(cpu: number, atCycles: number): Thread | null {
    const queue = this.queues[cpu];
    for (let i = 0; i < queue.length; i++) if (queue[i].readyCycles <= atCycles) return this.takeAt(cpu, i);
    return null;
  }

  /** When the first thread of `cpu` can run there, whose clock is at `clockCycles`; infinity when none is queued. */
  earliestReady(cpu: number, clockCycles: number): number {
    let at = Number.POSITIVE_INFINITY;
    if (this.lengths[cpu] === 0) return at;
    const queue = this.queues[cpu];
    for (let i = 0; i < queue.length; i++) at = Math.min(at, Math.max(clockCycles, queue[i].readyCycles));
    return at;
  }

  /** Takes a thread off the queue of `cpu`, if it is there. */
  remove(cpu: number, thread: Thread): void {
    const place = this.queues[cpu].indexOf(thread);
    if (place >= 0) this.takeAt(cpu, place);
  }

  private takeAt(cpu: number, place: number): Thread {
    const [thread] = this.queues[cpu].splice(place, 1);
    this.lengths[cpu]--;
    return thread;
  }
}
