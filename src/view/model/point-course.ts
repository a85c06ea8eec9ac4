/**
 * A point of an experiment, step by step. An experiment is one function that runs its machines to their ends and cannot wait at a step.
 * So it is run to a step, ended there by an exception, and what its last steps have changed is kept, some before and some after
 * the position: among these one goes back and forth at once. For others it is run again.
 */
import type { Kernel } from "../../machine/kernel.ts";
import type { Told } from "./begin.ts";
import type { Course, Search } from "./course.ts";
import { Journal } from "./journal/journal.ts";
import { Tracks, type TracksTail } from "./tracks.ts";

/** Steps before and after the position that are kept. */
const KEPT_BEHIND = 32;
const KEPT_AHEAD = 48;

/** What the experiment tells whoever watches its point. */
export interface PointWatch {
  /** The machine of the point was booted. */
  machine(kernel: Kernel): void;
  /** The point begins. */
  start(label: string): void;
  /** It has ended. */
  end(): void;
}

/** Runs the experiment with its point watched; does not return before the point has ended, unless with what the watch throws. */
export type RunPoint = (watch: PointWatch) => void;

/** Ends a run of an experiment. */
class Halt extends Error {}

/** The methods of a CPU that access memory; outside of the event loop each is a step. */
const ACCESSES = ["load", "store", "fetch", "touch", "touchAs", "load64", "store64", "loadAs", "storeAs"] as const;

type Method = (...values: unknown[]) => unknown;

/** One run of the experiment up to some step. */
class Execution implements PointWatch {
  kernel: Kernel | null = null;
  tracks: Tracks | null = null;
  journal: Journal<null, TracksTail> | null = null;
  label = "";
  /** Steps since the point began. */
  made = 0;
  /** Whether the point ended with the last of them. */
  isOver = false;
  private isStarted = false;
  private isHalted = false;
  private readonly keepFrom: number;
  private readonly isEnough: (execution: Execution) => boolean;

  /**
   * Runs it.
   * @param keepFrom the step from which on changes are kept
   * @param isEnough whether the run may end, asked at the begin and after each step
   */
  constructor(run: RunPoint, keepFrom: number, isEnough: (execution: Execution) => boolean) {
    this.keepFrom = keepFrom;
    this.isEnough = isEnough;
    try {
      run(this);
    } catch (error) {
      if (!(error instanceof Halt)) throw error;
    }
    // Code that was ended by the exception has tidied up.
    this.journal?.forgetUnfinished();
  }

  machine(kernel: Kernel): void {
    this.kernel = kernel;
    this.tracks = new Tracks(kernel);
  }

  start(label: string): void {
    const { kernel } = this;
    if (kernel === null) throw new Error("a point began without a machine");
    this.label = label;
    this.isStarted = true;
    this.look();
    const { loop, cpus } = kernel.machine;
    const outside = (owner: object, name: string): void => {
      const methods = owner as Record<string, Method>;
      const own = methods[name];
      methods[name] = (...values) => {
        const result = own.apply(owner, values);
        if (!loop.isRunning) this.stepMade();
        return result;
      };
    };
    const turns = loop as unknown as { step(): boolean };
    const turn = turns.step;
    turns.step = () => {
      const acted = turn.call(loop);
      if (acted) this.stepMade();
      return acted;
    };
    // One CPU alone runs a thread to its end in one turn: events and the ends of calls divide it.
    if (this.tracks !== null) this.tracks.happened = () => this.stepMade();
    outside(kernel, "run");
    for (const cpu of cpus) for (const name of ACCESSES) outside(cpu, name);
  }

  end(): void {
    if (!this.isStarted || this.isHalted) return;
    this.isOver = true;
    this.stepMade();
    throw this.halt();
  }

  private stepMade(): void {
    if (this.isHalted) return;
    this.made++;
    this.tracks?.stepMade();
    this.journal?.add(null);
    this.look();
  }

  private look(): void {
    const { kernel, tracks, made } = this;
    if (kernel === null || tracks === null) return;
    if (made >= this.keepFrom) this.journal ??= new Journal(kernel, tracks, null);
    tracks.position = made + 1;
    if (this.isEnough(this)) throw this.halt();
  }

  /** Ends the run; the clean-up of its code, which follows, is not watched. */
  private halt(): Halt {
    this.isHalted = true;
    this.tracks?.end();
    return new Halt("the step that was asked for");
  }
}

/** A point, at one of its steps. */
export class PointCourse implements Course {
  readonly length = null;
  private readonly run: RunPoint;
  private readonly text: string;
  private execution: Execution;

  /** @param text what the experiment is, in words */
  constructor(run: RunPoint, text: string) {
    this.run = run;
    this.text = text;
    this.execution = this.executed(0);
    this.seek(0);
  }

  get kernel(): Kernel {
    if (this.execution.kernel === null) throw new Error("a point was run without a machine");
    return this.execution.kernel;
  }

  get tracks(): Tracks {
    if (this.execution.tracks === null) throw new Error("a point was run without a machine");
    return this.execution.tracks;
  }

  get position(): number {
    return this.execution.made - this.ahead;
  }

  get behind(): number {
    return this.execution.journal?.behind ?? 0;
  }

  get ahead(): number {
    return this.execution.journal?.ahead ?? 0;
  }

  get keptBytes(): number {
    return this.execution.journal?.keptBytes ?? 0;
  }

  get told(): Told {
    const title = this.execution.label;
    const isEnd = this.execution.isOver && this.ahead === 0;
    return { title, text: this.text, found: isEnd ? "The point has ended." : "", lines: [], look: {} };
  }

  /** They are kept anyway. */
  keep(): void {}

  /** They are kept anyway. */
  forget(): void {}

  forward(): boolean {
    if (this.ahead === 0) {
      if (this.execution.isOver) return false;
      this.seek(this.position + 1);
      return true;
    }
    this.execution.journal?.again();
    return true;
  }

  back(): void {
    this.execution.journal?.back();
  }

  seek(position: number): void {
    const { position: here } = this;
    const isKept = position >= here - this.behind && (position <= here + this.ahead || this.execution.isOver);
    if (!isKept) this.execution = this.executed(position);
    while (this.position > position) this.back();
    while (this.position < position && this.ahead > 0) this.forward();
  }

  runUntil(begin: (kernel: Kernel, tracks: Tracks) => Search): string | null {
    const from = this.position;
    let found: Search | null = null;
    let what: string | null = null;
    let aim = Number.POSITIVE_INFINITY;
    const execution = new Execution(this.run, from, ({ kernel, tracks, made }) => {
      if (kernel === null || tracks === null) return false;
      if (made === from) found = begin(kernel, tracks);
      else if (made > from && found !== null && aim === Number.POSITIVE_INFINITY) {
        what = found.found();
        if (what !== null) aim = made;
      }
      return made >= aim + KEPT_AHEAD;
    });
    (found as Search | null)?.end();
    this.execution = execution;
    while (this.position > aim) this.back();
    return what;
  }

  /** The experiment run to some steps after a position, with the steps around it kept. */
  private executed(position: number): Execution {
    const enough = ({ made }: Execution): boolean => made >= position + KEPT_AHEAD;
    return new Execution(this.run, Math.max(0, position - KEPT_BEHIND), enough);
  }
}
