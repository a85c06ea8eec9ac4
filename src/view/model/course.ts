/** One machine that is run through a scenario, step by step, and shown as it is or as it was at one of its last steps. */
import type { Kernel } from "../../machine/kernel.ts";
import type { Begun, Told } from "./begin.ts";
import { Journal } from "./journal/journal.ts";
import { Tracks, type TracksTail } from "./tracks.ts";

/** A search for something that a run is to stop at. */
export interface Search {
  /** Asked after each step: what was found in it, in one line, which may be empty; null: nothing. */
  found(): string | null;
  /** Looks no longer. */
  end(): void;
}

/** A machine that is run step by step, of which the last steps can be taken back. */
export interface Course {
  /** The machine, for those who look at it: where steps are `ahead`, they must not change it. */
  readonly kernel: Kernel;
  /** What has happened up to the step that is shown. */
  readonly tracks: Tracks;
  /** The step that is shown. */
  readonly position: number;
  /** Steps that can be taken back. */
  readonly behind: number;
  /** Steps that the machine is further than what is shown. */
  readonly ahead: number;
  /** Bytes that the steps take which can be taken back. */
  readonly keptBytes: number;
  /** Steps in all, where the scenario knows it from the beginning. */
  readonly length: number | null;
  /** What the step that is shown was, for those that tell a story. */
  readonly told: Told | null;
  /** From now on steps can be taken back. */
  keep(): void;
  /** Steps can no longer be taken back. */
  forget(): void;
  /** Goes on by a step: one that was taken back, or a new one. @returns false when there is none */
  forward(): boolean;
  /** Takes a step back; there must be one (`behind`). */
  back(): void;
  /** Goes to a step, or to the end when that comes before; absent where it can only be run step by step. */
  seek?(position: number): void;
  /** Runs on, at least one step, until something is found, or to the end; absent where it can only be run step by step. @returns what was found */
  runUntil?(begin: (kernel: Kernel, tracks: Tracks) => Search): string | null;
}

/** A machine that waits after each step. */
export class LiveCourse implements Course {
  /** What has happened up to the step that is shown. */
  readonly tracks: Tracks;
  private readonly begun: Begun;
  /** Steps that the machine has made. */
  private made = 0;
  private journal: Journal<Told | null, TracksTail> | null = null;

  constructor(begun: Begun) {
    this.begun = begun;
    // With refills where whoever booted it asked for them: they take three times as long.
    begun.kernel.vm.flushing.keepAccounts({ refills: false });
    this.tracks = new Tracks(begun.kernel);
  }

  get kernel(): Kernel {
    return this.begun.kernel;
  }

  get position(): number {
    return this.made - this.ahead;
  }

  get behind(): number {
    return this.journal?.behind ?? 0;
  }

  get ahead(): number {
    return this.journal?.ahead ?? 0;
  }

  get keptBytes(): number {
    return this.journal?.keptBytes ?? 0;
  }

  get length(): number | null {
    return this.begun.length;
  }

  get told(): Told | null {
    return this.ahead > 0 && this.journal !== null ? this.journal.note : this.begun.told();
  }

  keep(): void {
    this.journal ??= new Journal(this.begun.kernel, this.tracks, this.begun.told());
  }

  forget(): void {
    this.journal = null;
  }

  forward(): boolean {
    if (this.ahead > 0) {
      this.journal?.again();
      return true;
    }
    this.tracks.position = this.made + 1;
    if (!this.begun.step()) return false;
    this.made++;
    this.tracks.stepMade();
    this.journal?.add(this.begun.told());
    return true;
  }

  back(): void {
    this.journal?.back();
  }
}
