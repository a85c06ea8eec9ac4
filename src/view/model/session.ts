/**
 * A scenario at some position of its run. Runs are deterministic: going back boots the machine again and runs it to the
 * position, so that the state there is the one that was there before, bit for bit.
 */
import type { Kernel } from "../../machine/kernel.ts";
import { AccessWatch, WATCHED } from "./access-watch.ts";
import { type Begun, begin, type Scenario, type Told } from "./scenario.ts";
import { Tracks } from "./tracks.ts";

/** How far a step goes: a CPU's turn (or a story's step), the next event of vmalloc, call of the kernel or interrupt. */
export const STRIDES = ["step", "event", "call", "ipi"] as const;
export type Stride = (typeof STRIDES)[number];

/**
 * What a run can stop at: a page fault, a use of a translation that the page tables do not have any more, an access to the page of an
 * address, a purge, a flush, a warning of the kernel.
 */
export const BREAKPOINTS = ["fault", "stale use", "touch", "purge", "flush", "warning", "end"] as const;
export type Breakpoint = (typeof BREAKPOINTS)[number];

/** Steps that a run makes at the most. */
const STEPS_MAX = 5_000_000;

/** Names of the events that end a run to a breakpoint. */
const BREAKING_EVENTS: Readonly<Partial<Record<Breakpoint, readonly string[]>>> = {
  purge: ["purge"],
  flush: ["flush_range", "flush_all"],
};

/** One scenario, run step by step, forwards and backwards. */
export class Session {
  readonly scenario: Scenario;
  private readonly opener: () => Begun;
  private begun: Begun;
  private seen: Tracks;
  /** What the last run stopped at, in one line; null when the last step was not the end of such a run. */
  stoppedAt: string | null = null;
  private made = 0;
  private ended = false;

  /**
   * @param opener begins the scenario, each time anew; by default as stories and workloads begin that come with the program
   * @throws MmulabError for a scenario that is not possible
   */
  constructor(scenario: Scenario, opener: () => Begun = openerOf(scenario)) {
    this.scenario = scenario;
    this.opener = opener;
    this.begun = opener();
    this.seen = new Tracks(this.begun.kernel);
  }

  /** Steps made so far. */
  get position(): number {
    return this.made;
  }

  /** Steps in all; null while it is not known. */
  get length(): number | null {
    return this.ended ? this.made : this.begun.length;
  }

  /** Whether nothing is left to do. */
  get isOver(): boolean {
    return this.ended || this.made === this.begun.length;
  }

  /** The machine as it is now. */
  get kernel(): Kernel {
    return this.begun.kernel;
  }

  /** What has happened so far. */
  get tracks(): Tracks {
    return this.seen;
  }

  /** The story's last step; null for a workload, and before the first. */
  get told(): Told | null {
    return this.begun.told();
  }

  /** What is wrong in the machine's whole state (`verify`); no call may be under way. */
  verify(): string[] {
    return this.kernel.verify(this.begun.userSpaces());
  }

  /** Goes to a position, or to the end when that comes before. */
  goTo(position: number): void {
    if (position < this.made) {
      this.begun = this.opener();
      this.seen = new Tracks(this.begun.kernel);
      this.made = 0;
      this.ended = false;
      this.stoppedAt = null;
    }
    while (this.made < position && this.advance());
  }

  /** Goes on by a stride; where there is no more of its kind, to the end. */
  forward(stride: Stride): void {
    const before = this.count(stride);
    while (this.advance() && this.count(stride) === before);
  }

  /** Goes back: to just before the step in which the last of its kind happened, or to the begin. */
  back(stride: Stride): void {
    this.goTo(Math.max(0, this.lastOf(stride) - 1));
  }

  /**
   * Runs on, at least one step, to the end of the step in which something happens.
   * @param address for `touch`: any address of the page
   */
  runTo(breakpoint: Breakpoint, address = 0): void {
    const watched = WATCHED.find((each) => each === breakpoint);
    if (watched === undefined) {
      this.runToEvent(breakpoint);
      return;
    }
    const watch = new AccessWatch(this.kernel, watched, address);
    try {
      while (this.advance() && watch.found === null);
    } finally {
      watch.end();
    }
    this.stoppedAt = watch.found;
  }

  private runToEvent(breakpoint: Breakpoint): void {
    const names = BREAKING_EVENTS[breakpoint] ?? [];
    const { warnings } = this.kernel.log;
    let looked = this.seen.events.length;
    while (this.advance()) {
      if (breakpoint === "warning" && this.kernel.log.warnings > warnings) {
        this.stoppedAt = this.kernel.log.lines.findLast((line) => line.startsWith("WARNING")) ?? null;
        return;
      }
      const { events } = this.seen;
      for (; looked < events.length; looked++) {
        const { name, cpu, text } = events[looked];
        if (!names.includes(name)) continue;
        this.stoppedAt = `CPU ${cpu}: ${name} ${text}`;
        return;
      }
    }
  }

  private advance(): boolean {
    if (this.ended || this.made >= STEPS_MAX) return false;
    this.stoppedAt = null;
    this.seen.position = this.made + 1;
    if (!this.begun.step()) {
      this.ended = true;
      return false;
    }
    this.made++;
    return true;
  }

  /** How many of a stride's kind there have been. */
  private count(stride: Stride): number {
    const { events, callPositions, ipis, dropped } = this.seen;
    const counts = { step: this.made, event: events.length, call: callPositions.length, ipi: ipis.length };
    return counts[stride] + dropped;
  }

  /** The step in which the last of a stride's kind happened. */
  private lastOf(stride: Stride): number {
    const { events, callPositions, ipis } = this.seen;
    if (stride === "event") return events.at(-1)?.position ?? 0;
    if (stride === "call") return callPositions.at(-1) ?? 0;
    if (stride === "ipi") return ipis.at(-1)?.position ?? 0;
    return this.made;
  }
}

function openerOf(scenario: Scenario): () => Begun {
  if (scenario.kind === "story" || scenario.kind === "workload") return () => begin(scenario);
  throw new Error(`a ${scenario.kind} is opened by whoever has read it`);
}
