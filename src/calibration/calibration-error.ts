/** No preset can be made of what was measured, or nothing can be measured. */
import { MmulabError } from "../../arch/isa/errors.ts";

/** Says in one line what is in the way, and what would help. */
export class CalibrationError extends MmulabError {
  override readonly name = "CalibrationError";

  constructor(message: string) {
    super("BAD_CONDITIONS", `cannot calibrate: ${message}`);
  }
}
