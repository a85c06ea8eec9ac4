/** A setting of the kernel that is not possible: a mistake of the person who boots it. */
import { givenText, MmulabError } from "../../arch/isa/errors.ts";

/** A setting that is not possible. */
export class ConfigError extends MmulabError {
  override readonly name = "ConfigError";

  /**
   * @param subject what was set, in words
   * @param expected what would have been possible, in words
   */
  constructor(subject: string, value: unknown, expected: string) {
    super("BAD_VALUE", `${subject} ${givenText(value)}: expected ${expected}`, { subject, value, expected });
  }
}
