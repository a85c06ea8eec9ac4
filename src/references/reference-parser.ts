/** What turns the bytes of a trace into references, piece by piece. */

/** A parser of one format; it puts what it finds into the batches of a `BatchWriter`. */
export interface ReferenceParser {
  /** Records so far: lines of a text. */
  readonly records: number;
  /** Records that were references. */
  readonly references: number;
  /** Records that were skipped although they should mean something, and the number of the first, from 1; 0 for none. */
  readonly odd: number;
  readonly firstOdd: number;
  /** Bytes so far of a record whose end has not come yet. */
  readonly openBytes: number;
  /** Takes the next bytes. @throws InputFileError for what cannot be part of such a trace */
  feed(bytes: Uint8Array): void;
  /** The trace ends here. @throws InputFileError when it ends within a record */
  end(): void;
}
