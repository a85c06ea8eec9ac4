/**
 * The `fork_storm` workload: processes are created and end in quick succession, and with each its kernel stack in vmalloc
 * space (`CONFIG_VMAP_STACK`; `alloc_thread_stack_node` and `free_thread_stack` of kernel/fork.c). Stacks of ended processes
 * wait for an RCU grace period; then the callbacks of all of them run one after another (`rcu_do_batch`), so that of each
 * batch the first two go to the CPU's cached stacks and the others to vfree.
 */
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { integerParameter } from "../input/parameters.ts";
import { allocThreadStackNode, THREAD_SIZE_BYTES } from "../machine/thread-stacks.ts";
import type { WorkloadCode, WorkloadThread } from "./base/context.ts";
import { threadWorkload } from "./base/thread-workload.ts";

/** `NR_CACHED_STACKS`. */
const CACHED_STACKS = 2;
/** Length of a grace period: stacks of tasks that end in one are released at the end of the next. */
const GRACE_PERIOD_USEC = 12_000;
/** What a process does in the kernel before it ends: pages of its stack that it touches from the top, and cycles. */
const TOUCHED_BYTES = 6144;
const STEP_BYTES = 512;
const TASK_CYCLES = 20_000;

interface Shared {
  readonly live: number;
  /** Stacks of processes that run, by CPU that created them: any CPU may end them. */
  readonly tasks: number[];
  readonly cached: number[][];
  reused: number;
}

/** Stacks of one CPU's ended tasks that wait for readers to be done with them, as RCU's callback lists hold them. */
class GracePeriods {
  /** Those that wait for the end of the period under way, and those that came during it. */
  private waiting: number[] = [];
  private arrived: number[] = [];
  private endCycles = 0;

  add(stack: number): void {
    this.arrived.push(stack);
  }

  /** Stacks that may be released now; when a period has ended, the next begins. */
  advance(nowCycles: number, periodCycles: number): readonly number[] {
    if (nowCycles < this.endCycles || this.waiting.length + this.arrived.length === 0) return [];
    const done = this.waiting;
    this.waiting = this.arrived;
    this.arrived = [];
    this.endCycles = nowCycles + periodCycles;
    return done;
  }

  /** All of them, after the periods that they wait for. */
  all(): readonly number[] {
    return [...this.waiting, ...this.arrived];
  }
}

/** Kernel stacks of a fork storm. */
export const forkStorm = threadWorkload<Shared>({
  name: "fork_storm",
  summary: "processes that come and go: kernel stacks of 16 KiB, two cached a CPU, the rest freed after RCU",
  parameters: [
    { name: "live", kind: "integer", default: 200, low: 1, high: 100_000, summary: "processes that live at a time" },
  ],
  setUp: (kernel, parameters) => ({
    live: integerParameter(parameters, "live"),
    tasks: [],
    cached: kernel.machine.cpus.map(() => []),
    reused: 0,
  }),
  *thread(thread, shared) {
    const dead = new GracePeriods();
    const graceCycles = GRACE_PERIOD_USEC * 1000 * thread.kernel.machine.preset.frequencyGhz.value;
    for (let i = 0; i < thread.operations; i++) {
      for (const stack of dead.advance(thread.nowCycles(), graceCycles)) yield* release(thread, shared, stack);
      const stack = yield* fork(thread, shared);
      if (stack === 0) continue;
      shared.tasks.push(stack);
      if (shared.tasks.length <= shared.live) continue;
      const index = thread.random.between(0, shared.tasks.length - 1);
      const ending = shared.tasks[index];
      shared.tasks[index] = shared.tasks[shared.tasks.length - 1];
      shared.tasks.pop();
      thread.expect(ending + THREAD_SIZE_BYTES - STEP_BYTES, ending | 0);
      dead.add(ending);
    }
    yield* thread.sleep(2 * GRACE_PERIOD_USEC);
    for (const stack of dead.all()) yield* release(thread, shared, stack);
  },
  report: (_, { reused }) => ({
    lines: [`${reused} stacks were taken from a CPU's two cached ones`],
    details: { stacksReused: reused },
  }),
});

function* fork(thread: WorkloadThread, shared: Shared): KernelCode<number> {
  let stack = shared.cached[thread.cpu].pop() ?? 0;
  if (stack !== 0) {
    // A cached stack is cleared before it is used again.
    shared.reused++;
    thread.spend(THREAD_SIZE_BYTES / 32);
  } else {
    stack = yield* thread.allocate("vmalloc", THREAD_SIZE_BYTES, () => allocThreadStackNode(thread.kernel.vm));
  }
  if (stack === 0) return 0;
  yield* thread.compute(TASK_CYCLES);
  for (let used = STEP_BYTES; used <= TOUCHED_BYTES; used += STEP_BYTES)
    thread.store(stack + THREAD_SIZE_BYTES - used, stack | 0);
  return stack;
}

function* release(thread: WorkloadThread, shared: Shared, stack: number): WorkloadCode {
  const cached = shared.cached[thread.cpu];
  if (cached.length < CACHED_STACKS) cached.push(stack);
  else yield* thread.vfree(stack);
}
