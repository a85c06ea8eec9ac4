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

/**
 * Fills an array of a part with a captured one.
 * @param name what it holds, for the message
 * @throws StateError when the captured one is longer, or so short that old values would stay
 */
export function restoreArray<Value>(
  part: string,
  name: string,
  into: { readonly length: number; set(from: ArrayLike<Value>): void },
  saved: ArrayLike<Value>,
): void {
  checkState(part, saved.length === into.length, `${name} are ${into.length}, not ${saved.length}`);
  into.set(saved);
}
