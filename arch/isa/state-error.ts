/** What keeps a machine's state from being captured, or a captured one from being restored. */
import { MmulabError } from "./errors.ts";

/**
 * The state of one part cannot be captured (something is under way that has no form outside the program), or does not fit the
 * part that it is to be restored into.
 */
export class StateError extends MmulabError {
  override readonly name = "StateError";

  /** @param part `CPU 3`, `vmap blocks` */
  constructor(part: string, problem: string) {
    super("BAD_STATE", `${part}: ${problem}`, { subject: part });
  }
}

/** @throws StateError unless `isRight`: the state does not fit the part */
export function checkState(part: string, isRight: boolean, problem: string): void {
  if (!isRight) throw new StateError(part, problem);
}
