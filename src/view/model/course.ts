/** One machine that is run through a scenario, step by step, and shown as it is or as it was at one of its last steps. */
import type { Kernel } from "../../machine/kernel.ts";
import { Journal } from "./journal/journal.ts";
import type { Begun, Told } from "./scenario.ts";
import { Tracks, type TracksTail } from "./tracks.ts";

/** A machine, its steps so far, and what the last of them have changed. */
export class Course {
  /** What has happened up to the step that is shown. */
  readonly tracks: Tracks;
  private readonly begun: Begun;
  /** Steps that the machine has made. */
  private made = 0;
  /** Whether somebody may have looked at the machine since the last step. */
  private isRead = false;
  private journal: Journal<Told | null, TracksTail> | null = null;

  constructor(begun: Begun) {
    this.begun = begun;
    this.tracks = new Tracks(begun.kernel);
  }

  /** The machine, for those who look at it. */
  get kernel(): Kernel {
    this.isRead = true;
    return this.begun.kernel;
  }

  /** The step that is shown. */
  get position(): number {
    return this.made - this.ahead;
  }

  /** Steps that can be taken back. */
  get behind(): number {
    return this.journal?.behind ?? 0;
  }

  /** Steps that the machine is further than what is shown. */
  get ahead(): number {
    return this.journal?.ahead ?? 0;
  }

  /** Steps in all, where the scenario knows it from the beginning. */
  get length(): number | null {
    return this.begun.length;
  }

  /** What the step that is shown was, for those that tell a story. */
  get told(): Told | null {
    return this.ahead > 0 && this.journal !== null ? this.journal.note : this.begun.told();
  }

  /** User address spaces, for `verify`; nothing may be taken back then. */
  get userSpaces(): ReturnType<Begun["userSpaces"]> {
    return this.begun.userSpaces();
  }

  /** From now on steps can be taken back. */
  keep(): void {
    this.journal ??= new Journal(this.begun.kernel, this.tracks, this.begun.told());
  }

  /** Steps can no longer be taken back. */
  forget(): void {
    this.journal = null;
  }

  /** Goes on by a step: one that was taken back, or a new one. @returns false when there is none */
  forward(): boolean {
    if (this.ahead > 0) {
      this.forgetReading();
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

  /** Takes a step back; there must be one (`behind`). */
  back(): void {
    this.forgetReading();
    this.journal?.back();
  }

  private forgetReading(): void {
    if (this.isRead) this.journal?.forgetReading();
    this.isRead = false;
  }
}
