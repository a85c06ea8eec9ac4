/** What keeps a machine's state from being captured, or a captured one from being restored. */

/**
 * The state of one part cannot be captured (something is under way that has no form outside the program), or does not fit the
 * part that it is to be restored into.
 */
export class StateError extends Error {
  override readonly name = "StateError";
  /** The part: `CPU 3`, `vmap blocks`. */
  readonly part: string;
  readonly problem: string;

  constructor(part: string, problem: string) {
    super(`${part}: ${problem}`);
    this.part = part;
    this.problem = problem;
  }
}

/** @throws StateError unless `isRight`: the state does not fit the part */
export function checkState(part: string, isRight: boolean, problem: string): void {
  if (!isRight) throw new StateError(part, problem);
}
