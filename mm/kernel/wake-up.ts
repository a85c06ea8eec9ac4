/**
 * Waking a thread that sleeps (`kernel/sched/core.c`: `wake_q_add`, `try_to_wake_up`). The CPU that it slept on wrote all that is looked at, so that it comes
 * over line by line, and what the waker writes of it goes back once the thread runs again. A CPU that has nothing to run is not interrupted: it polls the flags of
 * its idle thread (MWAIT), and takes the thread from its list of those to be woken itself (`ttwu_queue_wakelist`). Lines are counted by the order of the fields in
 * `task_struct` and `rq`, most of which is remembered, not looked up; a line that is read and then written moves twice, as in calls to other CPUs (`smp.ts`). What
 * is different for a CPU that is busy is left out.
 */
import { ACTIVITY_SWITCH } from "../../arch/time/cycle-accounts.ts";
import type { EventLoop, Thread } from "../../arch/time/event-loop.ts";
import type { Smp } from "./smp.ts";

/** Whoever must know when threads sleep: a CPU that nothing runs on goes on with its idle thread. */
export interface SleepObserver {
  /** The current thread is about to sleep. */
  goesToSleep(): void;
  /** The current thread, which has slept, runs again. */
  runsAgain(): void;
}

/** What waking needs of the kernel; `KernelMm` is one. */
export interface WakingKernel {
  readonly loop: EventLoop;
  readonly costs: { readonly contextSwitchCycles: number };
  readonly flushing: { readonly smp: Smp };
  /** Null where no thread has an address space of its own. */
  readonly sleepObserver: SleepObserver | null;
}

const kernels = new WeakMap<EventLoop, WakingKernel>();

/** Threads of a kernel's machine are woken by that kernel. It says so before it makes any lock. */
export function wakesThreads(kernel: WakingKernel): void {
  kernels.set(kernel.loop, kernel);
}

/** The kernel that wakes threads of a machine; null where there is none. */
export function wakingKernelOf(loop: EventLoop): WakingKernel | null {
  return kernels.get(loop) ?? null;
}

/** Transfers of an entry in a queue, on its thread's stack, which is read and taken out. */
const TRANSFERS_OF_ENTRY = 2;
/** The first line of `task_struct`, with its state and its count of references, and that of `pi_lock` and `wake_q`. */
const TRANSFERS_OF_STATE = 2;
/**
 * The rest of who is woken: `on_rq` (1) and `sched_remote_wakeup` (1) of its `task_struct`; `nr_running` of its CPU's run queue, in whose line `ttwu_pending`
 * is then set (2), and `curr` (1); the head of the list of calls to its CPU (2); and the flags of that CPU's idle thread (2).
 */
const TRANSFERS_TO_WAKE = 9;
/**
 * What goes back: the flags of the idle thread, which its CPU reads and clears (2), the head of the list (1), the run queue (1), the two lines of
 * `task_struct` that were written (2), and the entry on the stack (1).
 */
const TRANSFERS_BACK = 7;

/** The current thread takes `thread` out of a queue and notes that it is to be woken (`wake_q_add`). */
export function markForWakeUp({ loop }: WakingKernel, { cpu }: Thread): void {
  loop.lines.takeOver(cpu, TRANSFERS_OF_ENTRY + TRANSFERS_OF_STATE);
}

/**
 * What the current thread pays to wake `thread` (`try_to_wake_up`).
 * @param isMarked whether it has noted that before (`markForWakeUp`)
 */
export function tryToWakeUp({ loop, costs }: WakingKernel, { cpu }: Thread, isMarked: boolean): void {
  loop.lines.takeOver(cpu, TRANSFERS_TO_WAKE + (isMarked ? 0 : TRANSFERS_OF_STATE));
  loop.spend(costs.contextSwitchCycles);
}

/** The current thread is about to sleep (`schedule`). @returns what {@link spendOnWakeUp} is given: what the CPU's changes of threads have taken in all */
export function goToSleep({ loop, sleepObserver }: WakingKernel): number {
  const activity = loop.enterActivity(ACTIVITY_SWITCH);
  sleepObserver?.goesToSleep();
  loop.enterActivity(activity);
  return loop.accounts.cycles(loop.currentCpu, ACTIVITY_SWITCH);
}

/**
 * What a thread pays that has slept: its CPU wakes up if it was idle last, fetches what the waker has written, and changes from the idle task to it (`schedule`,
 * `finish_task_switch`). Where another thread had the CPU meanwhile, the loop has charged the change back already.
 * @param switchedCycles what the CPU's changes of threads had taken in all before the thread slept
 * @param wokenBy the CPU that woke it
 */
export function spendOnWakeUp(kernel: WakingKernel, switchedCycles: number, wokenBy: number): void {
  const { loop, flushing, sleepObserver } = kernel;
  const cpu = loop.currentCpu;
  if (loop.idleCycles[cpu] > 0) flushing.smp.wakeUp(cpu);
  if (wokenBy >= 0) loop.lines.takeOver(wokenBy, TRANSFERS_BACK);
  const activity = loop.enterActivity(ACTIVITY_SWITCH);
  if (loop.accounts.cycles(cpu, ACTIVITY_SWITCH) === switchedCycles) loop.spend(loop.contextSwitchCycles);
  sleepObserver?.runsAgain();
  loop.enterActivity(activity);
}
