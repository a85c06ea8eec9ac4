/**
 * Clocks, cycle accounts and queued work, for saved states. A thread that has begun is a generator in the middle of its code, which
 * has no form outside the program: a loop with such a thread cannot be captured.
 */
import { checkState, restoreArray, StateError } from "../isa/state-error.ts";
import type { CycleAccountsState } from "./cycle-accounts.ts";
import type { EventLoop, Thread } from "./event-loop.ts";
import type { InterruptHandler } from "./pending-interrupts.ts";
import type { SharedLinesState } from "./shared-lines.ts";

/** Arrays have one element a CPU. */
export interface EventLoopState {
  readonly clockCycles: Float64Array;
  /** How often interrupts were disabled and not enabled again. */
  readonly interruptsOff: Int32Array;
  /** The CPU that acted last. */
  readonly currentCpu: number;
  readonly accounts: CycleAccountsState;
  /** Cache lines that CPUs share. */
  readonly lines: SharedLinesState;
  /** Work that no CPU has begun, in the order of the CPUs' queues. */
  readonly queued: readonly QueuedWork[];
}

/** Work that waits for its CPU. */
export interface QueuedWork {
  /** What it is, in words of whoever restores it. */
  readonly work: string;
  readonly cpu: number;
  /** Earliest time at which it can begin. */
  readonly readyCycles: number;
}

/**
 * Copies the state of a loop.
 * @param workOf what the thread of a work item that has not begun is called in the state; null for any other thread
 * @param isKept whether an interrupt that has yet to be taken is part of another state, which sends it anew
 * @throws StateError when a thread is under way or any other interrupt has yet to be taken
 */
export function captureEventLoop(
  loop: EventLoop,
  workOf: (thread: Thread) => string | null,
  isKept: (handler: InterruptHandler) => boolean,
): EventLoopState {
  const under = [...loop.running.filter((thread) => thread !== null), ...loop.sleeping];
  const queued: QueuedWork[] = [];
  for (const thread of loop.runQueues.all()) {
    const work = workOf(thread);
    if (work === null) under.push(thread);
    else queued.push({ work, cpu: thread.cpu, readyCycles: thread.readyCycles });
  }
  if (under.length > 0) throw new StateError(`thread ${under[0].name}`, "is in the middle of its code");
  for (let cpu = 0; cpu < loop.cpus; cpu++) {
    checkState(`CPU ${cpu}`, loop.interrupts.handlersOf(cpu).every(isKept), "has an interrupt to take");
  }
  return {
    clockCycles: loop.clockCycles.slice(),
    interruptsOff: loop.interrupts.disabled.slice(),
    currentCpu: loop.currentCpu,
    accounts: loop.accounts.capture(),
    lines: loop.lines.capture(),
    queued,
  };
}

/**
 * Brings an idle loop into a captured state.
 * @param queue queues the work of that name on a CPU and returns its thread
 * @throws StateError when the state is that of other CPUs
 */
export function restoreEventLoop(
  loop: EventLoop,
  state: EventLoopState,
  queue: (work: string, cpu: number) => Thread,
): void {
  checkState("event loop", state.currentCpu < loop.cpus, `is not one of ${loop.cpus} CPUs`);
  restoreArray("event loop", "clocks", loop.clockCycles, state.clockCycles);
  restoreArray("event loop", "CPUs with interrupts", loop.interrupts.disabled, state.interruptsOff);
  loop.currentCpu = state.currentCpu;
  loop.accounts.restore(state.accounts);
  loop.lines.restore(state.lines);
  for (const { work, cpu, readyCycles } of state.queued) {
    checkState("event loop", cpu < loop.cpus, `has no CPU ${cpu}`);
    queue(work, cpu).readyCycles = readyCycles;
  }
  loop.sharedCores?.reset();
  for (let cpu = 0; cpu < loop.cpus; cpu++) loop.refresh(cpu);
}
