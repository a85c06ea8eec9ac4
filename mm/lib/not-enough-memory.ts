/** An emulated machine that is too small. What the kernel tells its own callers when memory runs out is -ENOMEM (errno.ts). */
import { MmulabError } from "../../arch/isa/errors.ts";

/** The emulated machine has too little memory for what was asked of it: a mistake of the person who boots it. */
export class NotEnoughMemory extends MmulabError {
  override readonly name = "NotEnoughMemory";

  /** @param message what there is no memory for, in one line */
  constructor(message: string) {
    super("NO_MEMORY", message);
  }
}
