/**
 * Steps of an event loop that a scheduler chooses, in place of the clocks: for whoever wants to see what other interleavings do.
 *
 * The scheduler is asked wherever another CPU could act: at pauses, where code looks whether it must give way (`mustYield`: taking
 * a lock, sending interrupts), and at named points in plain code (`EventLoop.point`). What can happen is that a CPU goes on, that it
 * takes an interrupt that is under way to it, or that it prefetches a translation, as speculation may at any time (Intel SDM vol. 3A,
 * 4.10.2.3). Clocks go on counting but decide nothing: any time may pass between two steps.
 *
 * Plain code cannot be left, so at a point in it the others act within the call, on the host's stack; a CPU that waits there can go
 * on only when those above it on the stack have paused. Schedules in which two CPUs stop at points of plain code in turn, each before
 * the other's end, are therefore not reached; those that switch at pauses and locks all are.
 */
import { ACTIVITY_INTERRUPT } from "./cycle-accounts.ts";
import type { EventLoop } from "./event-loop.ts";
import type { StepChooser } from "./step-chooser.ts";
import { Deadlock } from "./thread.ts";

/** A CPU's thread goes on, or one that is ready begins. */
export const ACTION_GO_ON = 0;
/** A CPU takes the next interrupt that is under way to it. */
export const ACTION_INTERRUPT = 1;
/** A CPU prefetches a translation. */
export const ACTION_PREFETCH = 2;
const ACTIONS_SHIFT = 2;
const NONE = -1;

/** Something that can happen next: a CPU and one of the `ACTION_` values in one number. */
export type Action = number;

/** The action `kind` of `cpu`. */
export function actionOf(cpu: number, kind: number): Action {
  return (cpu << ACTIONS_SHIFT) | kind;
}

/** The CPU that acts. */
export function cpuOf(action: Action): number {
  return action >> ACTIONS_SHIFT;
}

/** What it does: one of the `ACTION_` values. */
export function kindOf(action: Action): number {
  return action & ((1 << ACTIONS_SHIFT) - 1);
}

/** Chooses what happens next. */
export interface Scheduler {
  /**
   * Chooses one of `actions`, which is not empty. It is overwritten by the next call.
   * @param current the CPU whose code is under way and can go on, whose action is the first then; -1 when there is none
   * @param at the name of the point, or what the code was about to do
   * @param subject what the point concerns, if it says so
   */
  choose(actions: readonly Action[], current: number, at: string, subject: unknown): Action;
  /** Whether `cpu` has something to prefetch. */
  canPrefetch(cpu: number): boolean;
  /** Prefetches on `cpu`. */
  prefetch(cpu: number): void;
}

/** The steps of one event loop that `scheduler` chooses. */
export class ChosenSteps implements StepChooser {
  private readonly loop: EventLoop;
  private readonly scheduler: Scheduler;
  private readonly actions: Action[] = [];
  /** CPUs whose plain code waits at a point, the latest last: only that one can go on, as the others lie below it on the stack. */
  private readonly atPoints: number[] = [];
  /** For each CPU how many of its interrupt handlers are under way. */
  private readonly inHandler: Int32Array;
  /** 1 for a CPU that has given way and is not asked again at the same place. */
  private readonly gaveWay: Int32Array;
  /** What was chosen where code looked whether it must give way; it happens once that code has paused. */
  private chosen: Action = NONE;
  /** The CPU that acted last. */
  private last = NONE;

  constructor(loop: EventLoop, scheduler: Scheduler) {
    this.loop = loop;
    this.scheduler = scheduler;
    this.inHandler = new Int32Array(loop.cpus);
    this.gaveWay = new Int32Array(loop.cpus);
  }

  /** Lets one thing happen; false when nothing can. */
  step(): boolean {
    const action = this.next();
    if (action === NONE) return false;
    this.perform(action);
    return true;
  }

  /** Whether the code under way must pause here, so that another CPU can act. A handler cannot pause. */
  mustYield(subject: unknown = null): boolean {
    const { loop } = this;
    if (this.chosen !== NONE) return true;
    if (loop.currentThread === null) return false;
    const cpu = loop.currentCpu;
    if (this.gaveWay[cpu] !== 0) {
      this.gaveWay[cpu] = 0;
      return false;
    }
    const goOn = actionOf(cpu, ACTION_GO_ON);
    this.actions.length = 0;
    this.actions.push(goOn);
    this.addThreads(cpu);
    this.addWaiting();
    this.addOthers();
    const action = this.scheduler.choose(this.actions, cpu, "before", subject);
    if (action === goOn) return false;
    this.chosen = action;
    this.gaveWay[cpu] = 1;
    return true;
  }

  /** A point in the plain code of the current CPU: lets others act here for as long as the scheduler chooses them. */
  point(name: string, subject: unknown = null): void {
    // After the code's next pause something happens that was chosen already.
    if (this.chosen !== NONE) return;
    const { loop, atPoints } = this;
    const cpu = loop.currentCpu;
    const goOn = actionOf(cpu, ACTION_GO_ON);
    this.actions.length = 0;
    this.actions.push(goOn);
    this.addThreads(cpu);
    this.addOthers();
    let action = this.scheduler.choose(this.actions, cpu, name, subject);
    if (action === goOn) return;
    const { currentThread } = loop;
    atPoints.push(cpu);
    while (action !== goOn) {
      this.perform(action);
      action = this.next();
      if (action === NONE) throw new Deadlock([currentThread?.name ?? `CPU ${cpu}`]);
    }
    atPoints.pop();
    loop.currentCpu = cpu;
    loop.currentThread = currentThread;
    loop.vcpuScheduler?.take(cpu);
    this.last = cpu;
  }

  /** A point in code of the current CPU that runs with interrupts off. */
  pointIrqsOff(name: string, subject: unknown = null): void {
    const cpu = this.loop.currentCpu;
    this.inHandler[cpu]++;
    this.point(name, subject);
    this.inHandler[cpu]--;
  }

  /** What happens next, where no code is under way but what waits at points; -1 when nothing can. */
  private next(): Action {
    const { chosen, actions, last } = this;
    this.chosen = NONE;
    if (chosen !== NONE) return chosen;
    actions.length = 0;
    const isLastReady = last !== NONE && this.hasThread(last);
    if (isLastReady) actions.push(actionOf(last, ACTION_GO_ON));
    this.addWaiting();
    this.addThreads(isLastReady ? last : NONE);
    this.addOthers();
    if (actions.length === 0) return NONE;
    return this.scheduler.choose(actions, isLastReady ? last : NONE, "pause", null);
  }

  /** Adds the CPU whose plain code waits at the latest point, unless it is held in its host. */
  private addWaiting(): void {
    const { atPoints } = this;
    const waiting = atPoints[atPoints.length - 1];
    if (waiting !== undefined && !this.isHeld(waiting)) this.actions.push(actionOf(waiting, ACTION_GO_ON));
  }

  private isHeld(cpu: number): boolean {
    const { vcpuScheduler } = this.loop;
    return vcpuScheduler?.isHeld(cpu) ?? false;
  }

  /** Adds the CPUs but `except` that have a thread that can go on. */
  private addThreads(except: number): void {
    for (let cpu = 0; cpu < this.loop.cpus; cpu++) {
      if (cpu !== except && this.hasThread(cpu)) this.actions.push(actionOf(cpu, ACTION_GO_ON));
    }
  }

  /** Adds interrupts, and what can be prefetched while anything else can happen. */
  private addOthers(): void {
    const { actions, loop, scheduler } = this;
    for (let cpu = 0; cpu < loop.cpus; cpu++) {
      if (loop.interrupts.nextArrival(cpu, this.areInterruptsOff(cpu)) !== Number.POSITIVE_INFINITY) {
        actions.push(actionOf(cpu, ACTION_INTERRUPT));
      }
    }
    if (actions.length === 0) return;
    for (let cpu = 0; cpu < loop.cpus; cpu++) {
      if (scheduler.canPrefetch(cpu)) actions.push(actionOf(cpu, ACTION_PREFETCH));
    }
  }

  /** In a handler, and in code that says so, a CPU takes only what cannot be masked. */
  private areInterruptsOff(cpu: number): boolean {
    return this.inHandler[cpu] !== 0 || this.loop.interrupts.disabled[cpu] !== 0;
  }

  /** Whether a CPU has a thread that can go on and does not wait at a point. */
  private hasThread(cpu: number): boolean {
    if (this.atPoints.includes(cpu) || this.isHeld(cpu)) return false;
    const { running, runQueues } = this.loop;
    const thread = running[cpu];
    return thread !== null ? !thread.waiting : runQueues.length(cpu) > 0;
  }

  private perform(action: Action): void {
    const { loop } = this;
    const cpu = cpuOf(action);
    const kind = kindOf(action);
    loop.currentCpu = cpu;
    loop.currentThread = null;
    loop.horizonCycles = Number.NEGATIVE_INFINITY;
    // A virtual CPU that acts runs on its physical CPU.
    loop.vcpuScheduler?.take(cpu);
    if (kind === ACTION_GO_ON) loop.goOn(cpu);
    else if (kind === ACTION_INTERRUPT) this.interrupt(cpu);
    else this.scheduler.prefetch(cpu);
    loop.refresh(cpu);
    if (kind === ACTION_GO_ON) this.last = cpu;
  }

  private interrupt(cpu: number): void {
    const { loop } = this;
    const areOff = this.areInterruptsOff(cpu);
    loop.catchUp(cpu, loop.interrupts.nextArrival(cpu, areOff));
    const activity = loop.accounts.enter(cpu, ACTIVITY_INTERRUPT);
    this.inHandler[cpu]++;
    loop.interrupts.take(cpu, areOff)?.handler(cpu);
    this.inHandler[cpu]--;
    loop.accounts.enter(cpu, activity);
  }
}
