/**
 * A scenario at some position of its run. Of the last steps it is known what each has changed, so that going back among them is
 * quick. Runs are deterministic: what lies further back is reached by another machine that is booted and run to there, so that the
 * state there is the one that was there before, bit for bit.
 */
import { StateError } from "../../../arch/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { type Begun, begin, type Told } from "./begin.ts";
import { needsCode, searchFor } from "./breakpoint-search.ts";
import { type Course, LiveCourse, type Search } from "./course.ts";
import { ParkedCourses } from "./parked-courses.ts";
import type { Scenario } from "./scenario.ts";
import type { Breakpoint, Stride } from "./strides.ts";
import type { Tracks } from "./tracks.ts";

/** Steps that a run makes at the most. */
const STEPS_MAX = 5_000_000;

/** Steps before its aim that a run keeps to go back among; what runs to an unknown end keeps the first of its steps. */
const KEPT_STEPS = 32;
/** Steps that `prepare` keeps, and how few of them may be left before it makes new ones. */
const PREPARED_STEPS = 1000;
const PREPARED_STEPS_MIN = 300;
/** Steps that are made again rather than another machine fetched. */
const NEAR_STEPS = 1000;
/** Steps after which a long move says how far it is, and can be stopped. */
const PROGRESS_STEPS = 1024;
/** Bytes of machines that wait for jumps at the most. */
const PARKED_BYTES_MAX = 2 ** 29;

/** A move of possibly many steps. It pauses every thousand steps or so; who does not resume it leaves the session at the step that it has reached. */
export type LongMove<Result = void> = Generator<void, Result>;

/** Makes a move to its end. */
function finish<Result>(move: LongMove<Result>): Result {
  for (;;) {
    const { done, value } = move.next();
    if (done === true) return value;
  }
}

/**
 * One scenario, run step by step, forwards and backwards. Moves that may be long have two forms: `goTo` is there when it returns, `going`
 * can be stopped before its end.
 */
export class Session {
  readonly scenario: Scenario;
  private readonly opener: () => Begun | Course;
  private course: Course;
  /** A machine that is being run to where `course` is, with more steps that can be taken back. */
  private next: Course | null = null;
  /** What the last run stopped at, in one line; null when the last step was not the end of such a run. */
  stoppedAt: string | null = null;
  /** Steps in all; null before somebody was there. */
  private end: number | null = null;
  /** Machines that wait elsewhere in the run. */
  private readonly parked: ParkedCourses;
  /** The furthest that one has been. */
  private furthest = 0;
  /** A machine that is being run to the place where it is to wait, and the place. */
  private parking: { readonly course: Course; readonly at: number } | null = null;
  /** Called during a long move, with the step that it is at and the step that it goes to; null where that is not known. */
  onProgress: ((position: number, aim: number | null) => void) | null = null;

  /**
   * @param opener begins the scenario, each time anew; by default as stories and workloads begin that come with the program
   * @param parkedBytesMax bytes of the host's memory that machines may take which wait for jumps
   * @throws MmulabError for a scenario that is not possible
   */
  constructor(
    scenario: Scenario,
    opener: () => Begun | Course = openerOf(scenario),
    parkedBytesMax: number = PARKED_BYTES_MAX,
  ) {
    this.scenario = scenario;
    this.opener = opener;
    this.parked = new ParkedCourses(parkedBytesMax);
    this.course = this.begun();
  }

  /** The scenario at its begin. */
  private begun(): Course {
    const begun = this.opener();
    return "step" in begun ? new LiveCourse(begun) : begun;
  }

  /** Steps made so far. */
  get position(): number {
    return this.course.position;
  }

  /** Steps in all; null while it is not known. */
  get length(): number | null {
    return this.end ?? this.course.length;
  }

  /** Whether nothing is left to do. */
  get isOver(): boolean {
    return this.position === this.length;
  }

  /** The machine as it is at this position, as far as the views show it; another object perhaps after each move. */
  get kernel(): Kernel {
    return this.course.kernel;
  }

  /** What has happened so far. */
  get tracks(): Tracks {
    return this.course.tracks;
  }

  /** The story's last step; null for a workload, and before the first. */
  get told(): Told | null {
    return this.course.told;
  }

  /** What is wrong in the machine's whole state (`verify`); no call may be under way. */
  verify(): string[] {
    if (this.course.ahead > 0) finish(this.runAnew(this.position, true));
    return this.kernel.verify();
  }

  /**
   * The machine itself, not only what the views show of it.
   * @throws StateError at a point of an experiment, whose code is under way always
   */
  liveKernel(): Kernel {
    if (this.course.seek !== undefined) throw new StateError("the state cannot be saved", "an experiment is under way");
    if (this.course.ahead > 0) finish(this.runAnew(this.position, true));
    return this.kernel;
  }

  /** Goes to a position, or to the end when that comes before. */
  goTo(position: number): void {
    finish(this.going(position));
  }

  /** {@link goTo}, which can be stopped before its end. */
  *going(position: number): LongMove {
    if (this.course.seek !== undefined) {
      this.stoppedAt = null;
      this.course.seek(position);
      if (this.position < position) this.end = this.position;
      return;
    }
    if (position < this.position) {
      this.stoppedAt = null;
      if (this.position - position > this.course.behind) yield* this.runAnew(position);
      while (this.position > position) this.course.back();
    }
    const ahead = position - this.position - this.course.ahead;
    if (ahead > NEAR_STEPS && this.parked.distanceTo(position) < ahead - NEAR_STEPS) yield* this.runAnew(position);
    while (this.position < position && this.advance(position - this.position <= KEPT_STEPS)) {
      yield* this.report(this.position, position);
    }
  }

  private *report(position: number, aim: number | null): LongMove {
    if (position % PROGRESS_STEPS !== 0) return;
    this.onProgress?.(position, aim);
    yield;
  }

  /**
   * Makes ready for steps back and jumps that would be slow: runs another machine to where one is and keeps its last steps, and lets
   * others wait at places of the run. For the time when nothing is asked for.
   * @param isTimeUp whether to leave the rest for the next call
   * @returns whether there is a rest
   */
  prepare(isTimeUp: () => boolean): boolean {
    const { position, course } = this;
    if (course.seek !== undefined) return false;
    if (course.behind >= Math.min(position, PREPARED_STEPS_MIN)) {
      this.next = null;
      return this.prepareJumps(isTimeUp);
    }
    if (this.next === null || this.next.position > position) {
      this.next = this.begun();
      return true;
    }
    const { next } = this;
    while (!isTimeUp() && next.position < position) {
      if (position - next.position <= PREPARED_STEPS) next.keep();
      next.forward();
    }
    if (next.position < position) return true;
    this.course = next;
    this.next = null;
    return true;
  }

  /** Runs one more machine towards the place where it is to wait. @returns whether there is a rest */
  private prepareJumps(isTimeUp: () => boolean): boolean {
    if (this.parking === null) {
      const at = this.parked.wanted(this.furthest, this.course);
      if (at === null) return false;
      this.parking = { course: this.begun(), at };
      return true;
    }
    const { course, at } = this.parking;
    while (!isTimeUp() && course.position < at) course.forward();
    if (course.position < at) return true;
    this.parking = null;
    this.parked.park(course);
    return true;
  }

  /**
   * Another machine, run to `position` from where the nearest is; the one that was shown waits.
   * @param isLive whether the machine itself must be there, not beyond with its last steps taken back
   */
  private *runAnew(position: number, isLive = false): LongMove {
    const { next, course } = this;
    const parked = this.parked.take(position, isLive);
    const steps = parked === null ? Number.POSITIVE_INFINITY : position - parked.position;
    if (next !== null && next.position <= position && position - next.position < steps) {
      this.course = next;
      if (parked !== null) this.parked.park(parked);
    } else this.course = parked ?? this.begun();
    this.next = null;
    if (Math.abs(course.position - position) > NEAR_STEPS) this.parked.park(course);
    yield* this.going(position);
  }

  /** Goes on by a stride; where there is no more of its kind, to the end. */
  forward(stride: Stride): void {
    finish(this.goingForward(stride));
  }

  /** {@link forward}, which can be stopped before its end. */
  *goingForward(stride: Stride): LongMove {
    const before = this.count(stride);
    if (stride === "step") this.advance(true);
    else {
      const found = (tracks: Tracks) => (this.count(stride, tracks) === before ? null : "");
      yield* this.runUntil((_, tracks) => ({ found: () => found(tracks), end: () => {} }));
    }
    this.stoppedAt = null;
  }

  /** Goes back: to just before the step in which the last of its kind happened, or to the begin. */
  back(stride: Stride): void {
    finish(this.goingBack(stride));
  }

  /** {@link back}, which can be stopped before its end. */
  goingBack(stride: Stride): LongMove {
    return this.going(Math.max(0, this.lastOf(stride) - 1));
  }

  /**
   * Runs on, at least one step, to the end of the step in which something happens.
   * @param address for `touch`: any address of the page
   */
  runTo(breakpoint: Breakpoint, address = 0): void {
    finish(this.runningTo(breakpoint, address));
  }

  /** {@link runTo}, which can be stopped before its end. */
  *runningTo(breakpoint: Breakpoint, address = 0): LongMove {
    // Steps that were taken back access and flush nothing when they are made again.
    const isAnew = needsCode(breakpoint) && this.course.ahead > 0 && this.course.runUntil === undefined;
    if (isAnew) yield* this.runAnew(this.position);
    yield* this.runUntil((kernel, tracks) => searchFor(breakpoint, kernel, tracks, address));
  }

  /** Runs on, at least one step, to the step in which something is found, or to the end. */
  private *runUntil(begin: (kernel: Kernel, tracks: Tracks) => Search): LongMove {
    const { course } = this;
    if (course.runUntil !== undefined) {
      const found = this.isOver ? null : course.runUntil(begin);
      if (found === null) this.end = this.position;
      this.stoppedAt = found;
      return;
    }
    course.keep();
    const kept = this.position + KEPT_STEPS;
    let found = yield* this.search(begin, this, () => this.position < kept && this.advance(true));
    if (found === null && !this.isOver) {
      // Another machine finds out how far it is, so that this one knows from where on to keep what its steps change.
      const scout = this.parked.take(this.position, true) ?? this.begun();
      while (scout.ahead > 0) scout.forward();
      scout.forget();
      while (scout.position < this.position && scout.forward()) yield* this.report(scout.position, this.position);
      found = yield* this.search(begin, scout, () => scout.position < STEPS_MAX && scout.forward());
      yield* this.going(scout.position);
      if (found === null) this.end = this.position;
    }
    this.stoppedAt = found;
  }

  /** Goes on until something is found, or there is no more. @returns what was found */
  private *search(
    begin: (kernel: Kernel, tracks: Tracks) => Search,
    machine: Pick<Course, "kernel" | "tracks" | "position">,
    goOn: () => boolean,
  ): LongMove<string | null> {
    const sought = begin(machine.kernel, machine.tracks);
    try {
      while (goOn()) {
        const found = sought.found();
        if (found !== null) return found;
        yield* this.report(machine.position, null);
      }
      return null;
    } finally {
      sought.end();
    }
  }

  /** Goes on by a step. @param keeping whether it can be taken back; otherwise none before it can either */
  private advance(keeping: boolean): boolean {
    const { course } = this;
    if (this.isOver || this.position >= STEPS_MAX) return false;
    this.stoppedAt = null;
    if (keeping) course.keep();
    else if (course.ahead === 0) course.forget();
    if (course.forward()) {
      this.furthest = Math.max(this.furthest, this.position);
      return true;
    }
    this.end = this.position;
    return false;
  }

  /** How many of a stride's kind there have been. */
  private count(stride: Stride, tracks: Tracks = this.tracks): number {
    const { events, callPositions, ipis } = tracks;
    return { step: this.position, event: events.total, call: callPositions.total, ipi: ipis.total }[stride];
  }

  /** The step in which the last of a stride's kind happened. */
  private lastOf(stride: Stride): number {
    const { events, callPositions, ipis } = this.tracks;
    if (stride === "event") return events.items.at(-1)?.position ?? 0;
    if (stride === "call") return callPositions.items.at(-1) ?? 0;
    if (stride === "ipi") return ipis.items.at(-1)?.position ?? 0;
    return this.position;
  }
}

function openerOf(scenario: Scenario): () => Begun {
  if (scenario.kind === "story" || scenario.kind === "workload") return () => begin(scenario);
  throw new Error(`a ${scenario.kind} is opened by whoever has read it`);
}
