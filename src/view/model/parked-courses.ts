/**
 * Machines that wait at places of a long run, so that a jump goes on from the nearest instead of from the boot. Kernel threads cannot be
 * copied, so each machine has run to its place by itself: they are made while nothing is asked for.
 */
import type { Kernel } from "../../machine/kernel.ts";
import type { Course } from "./course.ts";

/** Machines that wait at the most: to make more takes longer than anybody looks at a run. */
const PARKED_MAX = 15;
/** Steps between two of them at the least: fewer are made as quickly as a machine is fetched. */
const SPACING_MIN = 2000;
/** What a machine takes beside its memory: page tables' bookkeeping, TLBs, areas. Measured: 10 to 30 MB. */
const MACHINE_BYTES = 2 ** 24;
/** About what a span or an event takes in the host's memory. */
const HAPPENED_BYTES = 120;

/** Where a course's machine is: at the last step that it has made. */
function machineAt({ position, ahead }: Course): number {
  return position + ahead;
}

/** About how many bytes of the host's memory a course takes. */
function bytesOf({ kernel, tracks, keptBytes }: Course): number {
  const { spans, ipis, events, callPositions } = tracks;
  const happened = [spans, ipis, events, callPositions].reduce((sum, { items }) => sum + items.length, 0);
  return machineBytes(kernel) + keptBytes + happened * HAPPENED_BYTES;
}

function machineBytes({ machine: { memory } }: Kernel): number {
  let bytes = MACHINE_BYTES;
  for (const chunk of memory.directory) if (chunk !== memory.zeroChunk) bytes += chunk.byteLength;
  return bytes;
}

/** The machines of one run that wait. */
export class ParkedCourses {
  /** By where their machines are, ascending. */
  private readonly parked: Course[] = [];
  private readonly bytesMax: number;
  /** Whether one had to go for want of room, and none was taken out since: more would only take its place. */
  private isFull = false;

  /** @param bytesMax bytes of the host's memory that they take at the most */
  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Steps that are left to go from the nearest to a position; infinite when none is before it. */
  distanceTo(position: number): number {
    const found = this.nearest(position, false);
    return found === null ? Number.POSITIVE_INFINITY : Math.max(0, position - machineAt(found));
  }

  /**
   * Takes out the one that is at a position the soonest; null when none is before it.
   * @param isLive whether its machine must not be beyond the position
   */
  take(position: number, isLive = false): Course | null {
    const found = this.nearest(position, isLive);
    if (found === null) return null;
    this.parked.splice(this.parked.indexOf(found), 1);
    this.isFull = false;
    return found;
  }

  /** One whose kept steps have the position, or the nearest before it. */
  private nearest(position: number, isLive: boolean): Course | null {
    let best: Course | null = null;
    for (const course of this.parked) {
      const at = machineAt(course);
      if (at <= position) best = course;
      else if (!isLive && course.position - course.behind <= position) return course;
    }
    return best;
  }

  /** Lets a machine wait where it is; where there are too many then, the one goes that saves least. */
  park(course: Course): void {
    const { parked } = this;
    const at = parked.findIndex((each) => machineAt(each) > machineAt(course));
    parked.splice(at < 0 ? parked.length : at, 0, course);
    while (parked.length > PARKED_MAX || (parked.length > 0 && this.bytes() > this.bytesMax)) {
      this.dropOne();
      this.isFull = true;
    }
  }

  /**
   * Where one more would shorten the longest distance between two, if there is room for it.
   * @param end the furthest position that is gone to
   * @param sample a machine of the run, for how much room one takes
   * @returns null when they are near enough, or there are as many as there may be
   */
  wanted(end: number, sample: Course): number | null {
    const room = Math.floor(this.bytesMax / Math.max(1, bytesOf(sample)));
    const spacing = Math.max(SPACING_MIN, end / (1 + Math.min(PARKED_MAX, room)));
    if (this.isFull || room <= this.parked.length || this.parked.length >= PARKED_MAX) return null;
    const places = [0, ...this.parked.map(machineAt).filter((at) => at < end), end];
    let [from, longest] = [0, 0];
    for (let i = 1; i < places.length; i++) {
      if (places[i] - places[i - 1] <= longest) continue;
      longest = places[i] - places[i - 1];
      from = places[i - 1];
    }
    // A whole number of parts that are as long as they should be.
    const parts = Math.round(longest / spacing);
    return parts < 2 ? null : from + Math.round(longest * (Math.floor(parts / 2) / parts));
  }

  private bytes(): number {
    return this.parked.reduce((sum, course) => sum + bytesOf(course), 0);
  }

  /** Drops the one whose neighbours are nearest to each other. */
  private dropOne(): void {
    const { parked } = this;
    let [drop, shortest] = [0, Number.POSITIVE_INFINITY];
    for (let i = 0; i < parked.length; i++) {
      const before = i === 0 ? 0 : machineAt(parked[i - 1]);
      const after = i + 1 < parked.length ? machineAt(parked[i + 1]) : Number.POSITIVE_INFINITY;
      if (after - before >= shortest) continue;
      shortest = after - before;
      drop = i;
    }
    parked.splice(drop, 1);
  }
}
