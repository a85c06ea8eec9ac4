/** One changed place of a file. */
export interface PlantedMutant {
  /** What the mutated code gets wrong. */
  readonly name: string;
  readonly file: string;
  /** A text that the file has once. */
  readonly search: string;
  readonly replacement: string;
  /** The file of tests that must notice it. */
  readonly test: string;
}
