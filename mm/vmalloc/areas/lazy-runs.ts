/**
 * Runs of lazily freed areas: what one node of the kernel's tree stands for where areas merge as they are freed (`merge_or_add_vmap_area`
 * on `purge_vmap_area_root`, 5.12 to 6.8). On the host the areas stay apart, as the accounts know each free by itself; here it is only known where runs begin
 * and end, and whose object each has.
 */

/** One run: its bounds, and the area whose object it has. */
interface Run {
  start: number;
  end: number;
  owner: number;
}

const NONE: readonly number[] = [];

/** The runs of one tree. */
export class LazyRuns {
  private readonly byStart = new Map<number, Run>();
  private readonly byEnd = new Map<number, Run>();

  /** How many there are: nodes of the tree. */
  get count(): number {
    return this.byStart.size;
  }

  /**
   * Adds [start, end) of `area`, merging it with what it touches.
   * @returns the areas whose objects are given back: none, `area`, or that and the owner of the run behind it
   */
  add(area: number, start: number, end: number): readonly number[] {
    const { byStart, byEnd } = this;
    const before = byEnd.get(start);
    const behind = byStart.get(end);
    const run = before ?? behind ?? { start, end, owner: area };
    if (before !== undefined) byEnd.delete(start);
    if (behind !== undefined) byStart.delete(end);
    if (before === undefined) {
      run.start = start;
      byStart.set(start, run);
    }
    if (behind === undefined || before !== undefined) {
      run.end = behind?.end ?? end;
      byEnd.set(run.end, run);
    }
    if (run.owner === area) return NONE;
    return before !== undefined && behind !== undefined ? [area, behind.owner] : [area];
  }

  /** The run that ends at `end` has the object of `area`: for saved states, whose areas are added again, the lowest first. */
  setOwner(area: number, end: number): void {
    const run = this.byEnd.get(end);
    if (run !== undefined) run.owner = area;
  }

  /** Forgets all: a purge has taken them. */
  clear(): void {
    this.byStart.clear();
    this.byEnd.clear();
  }
}
