/** What decides in place of the clocks what happens next (`ChosenSteps`). */
export interface StepChooser {
  /** Lets one thing happen; false when nothing can. */
  step(): boolean;
  /** Whether the code under way must pause here, so that another CPU can act. */
  mustYield(subject?: unknown): boolean;
  /** A point in plain code, at which other CPUs may act. */
  point(name: string, subject?: unknown): void;
  /** A point in code that runs with interrupts off. */
  pointIrqsOff(name: string, subject?: unknown): void;
}
