/**
 * Code of one's own by the name of its file: workloads, flush policies and experiments. It is loaded before anything looks for it
 * (loading takes time, and options and grids are read at once), and found by the name that a person gave.
 */

/** What files of one kind hold. */
export class OwnCode<T> {
  private readonly byFile = new Map<string, T>();

  /** Keeps what `file` holds. */
  add(file: string, value: T): T {
    this.byFile.set(file, value);
    return value;
  }

  /** What the file of that name holds; undefined when it was not loaded. */
  find(file: string): T | undefined {
    return this.byFile.get(file);
  }
}
