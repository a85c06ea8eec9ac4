/** What a benchmark task is. */

/** One thing to measure. */
export interface BenchTask {
  /** Its name in tables and JSON output. */
  readonly name: string;
  /** How many operations one run does; results are per operation. */
  readonly operationsPerRun: number;
  /** Builds what the task works on and returns one run of it. */
  readonly setup: () => () => void;
}
