/**
 * Threads that sleep, and the address spaces that their CPUs only borrow meanwhile (`context_switch` of `kernel/sched/core.c`): the idle thread has none of its
 * own, so that `enter_lazy_tlb` is called for it, and flushes pass the CPU over; `switch_mm_irqs_off` catches up with them when the thread is back.
 */
import type { EventLoop, Thread } from "../../arch/time/event-loop.ts";
import type { SleepObserver } from "../kernel/wake-up.ts";
import type { LoadedSpaces } from "./address-spaces.ts";
import { mmdrop } from "./lazy-tlb.ts";
import type { MmStruct } from "./mm-struct.ts";

/** What each thread's address space is, and who sleeps. */
export class SleepingThreads implements SleepObserver {
  private readonly loop: EventLoop;
  private readonly spaces: LoadedSpaces;
  /** `current->mm` of each thread that has one, since it switched to it. */
  private readonly mmOf = new WeakMap<Thread, MmStruct>();
  private readonly sleepers = new WeakSet<Thread>();

  constructor(spaces: LoadedSpaces) {
    this.spaces = spaces;
    this.loop = spaces.kernel.loop;
  }

  /** The current thread has this address space from now on; null: it is a kernel thread. */
  hasMm(mm: MmStruct | null): void {
    const { currentThread: thread } = this.loop;
    if (thread === null) return;
    if (mm === null) this.mmOf.delete(thread);
    else this.mmOf.set(thread, mm);
  }

  /**
   * The current thread is about to sleep: its CPU's idle thread borrows its address space. Nothing changes for a kernel thread, which borrows one already. In
   * traces it is no call of its own.
   */
  goesToSleep(): void {
    const { currentCpu: cpu, currentThread: thread } = this.loop;
    const { loaded, tlbStates } = this.spaces;
    if (thread === null || this.mmOf.get(thread) !== loaded[cpu] || tlbStates[cpu].isLazy) return;
    this.sleepers.add(thread);
    this.spaces.enterLazyTlb(cpu);
  }

  /** The current thread, which has slept, runs in its address space again. */
  runsAgain(): void {
    const { currentCpu: cpu, currentThread: thread } = this.loop;
    if (thread === null || !this.sleepers.delete(thread)) return;
    const mm = this.mmOf.get(thread);
    if (mm === undefined) return;
    const previous = this.spaces.loaded[cpu];
    this.spaces.switchMmIrqsOff(cpu, mm);
    mmdrop(this.spaces, previous);
  }
}
