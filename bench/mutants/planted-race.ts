/** A bug of concurrency that is planted in a copy of the code. */

/** One changed place of a file. */
export interface PlantedRace {
  /** What the changed code gets wrong. */
  readonly name: string;
  readonly file: string;
  /** A text that the file has once. */
  readonly search: string;
  readonly replacement: string;
}
