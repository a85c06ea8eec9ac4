/** What an explored schedule can come to. */

/** Kinds of failures. */
export const FAILURE_KINDS = [
  "fault",
  "stale translation",
  "deadlock",
  "warning",
  "inconsistent state",
  "check",
  "endless",
  "error",
] as const;
/** A kind of failure by its name. */
export type FailureKind = (typeof FAILURE_KINDS)[number];

/** What went wrong in one schedule. */
export interface Failure {
  readonly kind: FailureKind;
  /** One or more lines. */
  readonly message: string;
}

/** An oracle found something wrong: ends the schedule. */
export class OracleFailure extends Error {
  override readonly name = "OracleFailure";
  readonly kind: FailureKind;
  constructor(kind: FailureKind, message: string) {
    super(message);
    this.kind = kind;
  }
}
