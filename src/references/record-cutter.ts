/** Cuts the bytes of a file into records of one size, wherever the pieces in which they come end. */

/** Takes whole records: those that begin at `from` and end at `to`. */
type TakeRecords = (view: DataView, from: number, to: number) => void;

/** Keeps the beginning of a record until the rest comes. */
export class RecordCutter {
  /** Bytes of a record whose end has not come yet. */
  openBytes = 0;
  private readonly recordBytes: number;
  private readonly open: Uint8Array;

  constructor(recordBytes: number) {
    this.recordBytes = recordBytes;
    this.open = new Uint8Array(recordBytes);
  }

  /** Hands on all records that `bytes` complete. */
  cut(bytes: Uint8Array, take: TakeRecords): void {
    const { open, recordBytes } = this;
    let at = 0;
    if (this.openBytes > 0) {
      at = Math.min(recordBytes - this.openBytes, bytes.length);
      open.set(bytes.subarray(0, at), this.openBytes);
      this.openBytes += at;
      if (this.openBytes < recordBytes) return;
      this.openBytes = 0;
      take(new DataView(open.buffer), 0, recordBytes);
    }
    const whole = at + Math.floor((bytes.length - at) / recordBytes) * recordBytes;
    if (whole > at) take(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), at, whole);
    open.set(bytes.subarray(whole));
    this.openBytes = bytes.length - whole;
  }
}
