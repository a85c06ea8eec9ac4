/**
 * Points of an experiment: which part of its run a row of its tables was measured in, so that this part can be run again and looked
 * at. A point has a path: its number, counted over the experiment, and, where several rows are measured on one machine one after
 * the other, the number of the row's mark within it: `3`, `3.1`.
 */

/** Paths of rows and of what else a point has measured. */
const PATHS = new WeakMap<object, string>();

/** The point that something was measured at; null when it is not known. */
export function pointOf(measured: object): string | null {
  return PATHS.get(measured) ?? null;
}

/** Says that a row was measured at a point. Returns the row. */
export function pointed<R extends object>(row: R, path: string | null): R {
  if (path !== null) PATHS.set(row, path);
  return row;
}

/** Is told of points as they begin and end. */
export interface PointObserver {
  /** Whether a point is to be measured; those with machines of their own can be left out. */
  wants(point: string): boolean;
  /** A point, or the part of it with a mark, begins. */
  begins(path: string, label: string): void;
  /** A point has ended. */
  ends(point: string): void;
}

/** Counts the points of one run of an experiment. */
export class Points {
  private readonly observer: PointObserver | null;
  private readonly onEnd: () => void;
  private next = 0;
  private current = "";
  private marks = 0;

  /**
   * @param observer null: all points are measured, and nobody is told
   * @param onEnd called when a point, or what is measured apart from points, has ended, whose machines do nothing more
   */
  constructor(observer: PointObserver | null, onEnd: () => void = () => {}) {
    this.observer = observer;
    this.onEnd = onEnd;
  }

  /**
   * Measures points one after the other, each on machines of its own.
   * @param label what a point is, in words
   * @param measure gives a row, rows, or anything that rows are made of
   * @returns what was measured of each; of fewer points when only one is asked for
   */
  each<P, R extends object>(plan: readonly P[], label: (point: P) => string, measure: (point: P) => R): R[] {
    const measured: R[] = [];
    for (const point of plan) {
      const path = String(this.next++);
      if (this.observer !== null && !this.observer.wants(path)) continue;
      this.current = path;
      this.marks = 0;
      this.observer?.begins(path, label(point));
      const result = measure(point);
      this.observer?.ends(path);
      this.onEnd();
      for (const row of Array.isArray(result) ? result : []) if (pointOf(row) === null) pointed(row, path);
      measured.push(pointed(result, path));
    }
    return measured;
  }

  /** Measures something that is no point, on machines that do nothing more after it. */
  apart<R>(measure: () => R): R {
    const result = measure();
    this.onEnd();
    return result;
  }

  /** Within a point: from now on something is measured whose row is to be known by the path that is returned. */
  mark(label: string): string {
    const path = `${this.current}.${this.marks++}`;
    this.observer?.begins(path, label);
    return path;
  }
}
