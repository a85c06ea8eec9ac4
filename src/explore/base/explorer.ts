/**
 * Runs a test under schedules that a strategy chooses, one after the other, each from the same beginning, and looks after each what
 * it came to.
 */
import {
  type Action,
  ChosenSteps,
  cpuOf,
  Deadlock,
  GeneralProtectionFault,
  kindOf,
  PageFault,
  type Scheduler,
} from "../../../arch/index.ts";
import { type VmallocEvents, verifyVmalloc } from "../../../mm/index.ts";
import { bootKernel, type Kernel } from "../../machine/kernel.ts";
import type { ExploreTest } from "./explore-test.ts";
import { EXPLORED_KERNEL } from "./explored-kernel.ts";
import { type Failure, OracleFailure } from "./failure.ts";
import { FrameBytes } from "./frame-bytes.ts";
import { KernelImage } from "./kernel-image.ts";
import { PointOracles } from "./point-oracles.ts";
import type { Deviations } from "./schedule-text.ts";
import { Redundant, SleepSet } from "./sleep-set.ts";
import type { Strategy } from "./strategies.ts";

/** Steps after which a schedule is taken to be without end. */
const STEPS_MAX = 20_000;

/** What one schedule came to. */
export interface ScheduleResult {
  /** Places where more than one thing could happen. */
  readonly choices: number;
  /** Times that code under way was preempted. */
  readonly preemptions: number;
  /** Null when all was well. */
  readonly failure: Failure | null;
  /** Whether it was ended early because it comes to the same as another one that is tried. */
  readonly isRedundant: boolean;
  /** How to run it again. */
  readonly deviations: Deviations;
}

/** Is told of what happens next, wherever something else could. */
export interface ChoiceObserver {
  /**
   * @param action what happens next
   * @param current the CPU whose code is under way; -1 when it has paused
   * @param at the name of the point, or what the code was about to do
   */
  chosen(action: Action, current: number, at: string, subject: unknown): void;
}

/** How a test is explored. */
export interface ExplorerOptions {
  /** Translations that CPUs may prefetch in one schedule; default 1. */
  readonly prefetches?: number;
  /** Whether `verify` looks at the end of each schedule; default yes. */
  readonly verify?: boolean;
}

/** One test on its machine. */
export class Explorer<Situation> implements Scheduler {
  readonly kernel: Kernel;
  readonly test: ExploreTest<Situation>;
  readonly situation: Situation;
  observer: ChoiceObserver | null = null;
  /** Called before each schedule, when everything is as at the beginning: whoever looks on begins to. */
  onBegin: (() => void) | null = null;

  private readonly options: ExplorerOptions;
  private readonly image: KernelImage;
  private readonly isZero: (frame: number) => boolean;
  private readonly oracles: PointOracles;
  private readonly watched: readonly number[];
  /** Null until it is needed, and where no CPU may prefetch. */
  private sleepSet: SleepSet | null = null;
  private strategy: Strategy | null = null;
  private steps = 0;
  private choices = 0;
  private preemptions = 0;
  private prefetchesLeft = 0;
  private readonly deviations = new Map<number, number>();

  /** Has `events` told of what vmalloc does in this schedule. */
  watchEvents(events: VmallocEvents): void {
    this.oracles.watchRanges(events);
  }

  /** Boots the test's machine and makes its situation. @throws ConfigError for settings that are not possible */
  constructor(test: ExploreTest<Situation>, options: ExplorerOptions = {}) {
    this.test = test;
    this.options = options;
    this.kernel = bootKernel({ ...EXPLORED_KERNEL, ...test.kernel, cpus: test.cpus ?? test.threads.length });
    this.situation = test.setup(this.kernel);
    this.kernel.runUntilIdle();
    this.watched = test.watched?.(this.situation) ?? [];
    this.oracles = new PointOracles(this.kernel);
    this.oracles.watchRanges();
    const bytes = new FrameBytes(this.kernel.machine.memory);
    this.isZero = (frame) => bytes.noteIfZero(frame);
    this.image = new KernelImage(this.kernel, bytes, [this.situation]);
  }

  /** Runs one schedule that `strategy` has begun. */
  run(strategy: Strategy): ScheduleResult {
    const { kernel, test } = this;
    const { loop } = kernel.machine;
    this.image.restore();
    this.onBegin?.();
    this.strategy = strategy;
    this.steps = 0;
    this.choices = 0;
    this.preemptions = 0;
    this.prefetchesLeft = this.watched.length === 0 ? 0 : (this.options.prefetches ?? 1);
    this.deviations.clear();
    if (strategy.leavesOutRedundant && this.watched.length > 0) {
      this.sleepSet ??= new SleepSet(kernel.machine, this.watched);
      this.sleepSet.begin();
    }
    test.threads.forEach((thread, cpu) => {
      kernel.spawn(`thread ${cpu}`, cpu, thread(kernel, this.situation));
    });
    let failure: Failure | null = null;
    let isRedundant = false;
    loop.chosenSteps = new ChosenSteps(loop, this);
    try {
      loop.run();
    } catch (error) {
      if (error instanceof Redundant) isRedundant = true;
      else failure = failureOf(error);
    }
    loop.chosenSteps = null;
    if (!isRedundant) failure ??= this.lookAtTheEnd();
    strategy.end(this.choices);
    return this.result(failure, isRedundant);
  }

  private result(failure: Failure | null, isRedundant = false): ScheduleResult {
    const { choices, preemptions } = this;
    return { choices, preemptions, failure, isRedundant, deviations: new Map(this.deviations) };
  }

  /** What a schedule came to that the host had to end: it is in plain code that never comes back. The next one begins as always. */
  interrupted(): ScheduleResult {
    const { loop } = this.kernel.machine;
    loop.chosenSteps = null;
    const thread = loop.currentThread?.name ?? "code of no thread";
    const message = `${thread} on CPU ${loop.currentCpu} never comes back: a list or a tree runs in a circle`;
    return this.result({ kind: "endless", message });
  }

  choose(actions: readonly Action[], current: number, at: string, subject: unknown): Action {
    this.oracles.look(at, subject);
    if (++this.steps > STEPS_MAX) {
      throw new OracleFailure("endless", `no end after ${STEPS_MAX} steps: somebody waits for what does not come`);
    }
    const strategy = this.strategy as Strategy;
    const sleepSet = strategy.leavesOutRedundant ? this.sleepSet : null;
    const isUnderWay = current >= 0;
    if (sleepSet?.isRedundant(isUnderWay)) throw new Redundant();
    let index = 0;
    if (actions.length > 1) {
      index = strategy.pick(actions, isUnderWay);
      if (index > 0) {
        this.deviations.set(this.choices, index);
        this.oracles.lookAtAreas();
      }
      if (index > 0 && isUnderWay) this.preemptions++;
      this.choices++;
    }
    sleepSet?.chosen(actions, index, isUnderWay);
    this.observer?.chosen(actions[index], current, at, subject);
    return actions[index];
  }

  canPrefetch(cpu: number): boolean {
    if (this.prefetchesLeft === 0) return false;
    const { machine, host } = this.kernel;
    // The hypervisor's own code has nothing to do with what a guest maps.
    return host === null || machine.cpus[cpu].vcpu !== null;
  }

  /** Reads every watched address whose translation is there; one that is not is no fault, and no VM exit of a guest. */
  prefetch(cpu: number): void {
    this.prefetchesLeft--;
    const target = this.kernel.machine.cpus[cpu];
    for (const address of this.watched) {
      if (target.vcpu !== null && target.probe(address).outcome === "second stage") continue;
      try {
        target.touch(address);
      } catch (error) {
        if (!(error instanceof PageFault)) throw error;
      }
    }
  }

  private lookAtTheEnd(): Failure | null {
    const { kernel, test, situation } = this;
    const unexpected = kernel.log.lines.filter(
      (line) => line.startsWith("WARNING") && test.expectedWarnings?.test(line) !== true,
    );
    if (unexpected.length > 0) return { kind: "warning", message: unexpected.join("\n") };
    try {
      test.check?.(kernel, situation);
    } catch (error) {
      const failure = failureOf(error);
      return failure.kind === "error" ? { kind: "check", message: failure.message } : failure;
    }
    if (this.options.verify === false) return null;
    const findings = verifyVmalloc(kernel.vm, [], this.isZero);
    return findings.length === 0 ? null : { kind: "inconsistent state", message: findings.join("\n") };
  }
}

function failureOf(error: unknown): Failure {
  if (error instanceof OracleFailure) return { kind: error.kind, message: error.message };
  if (error instanceof Deadlock) return { kind: "deadlock", message: error.message };
  const message = error instanceof Error ? error.message : String(error);
  const isFault = error instanceof PageFault || error instanceof GeneralProtectionFault;
  return { kind: isFault ? "fault" : "error", message };
}

/** What an action is called in messages: `CPU 1`, `interrupt on CPU 1`, `prefetch on CPU 1`. */
export function actionName(action: Action): string {
  return `${["", "interrupt on ", "prefetch on "][kindOf(action)]}CPU ${cpuOf(action)}`;
}
