/** Copies of typed arrays at a larger capacity; new elements are zero. */

/** `array` with `capacity` elements. */
export function growFloat64(array: Float64Array, capacity: number): Float64Array<ArrayBuffer> {
  const grown = new Float64Array(capacity);
  grown.set(array);
  return grown;
}

/** `array` with `capacity` elements. */
export function growInt32(array: Int32Array, capacity: number): Int32Array<ArrayBuffer> {
  const grown = new Int32Array(capacity);
  grown.set(array);
  return grown;
}

/** `array` with `capacity` elements. */
export function growUint32(array: Uint32Array, capacity: number): Uint32Array<ArrayBuffer> {
  const grown = new Uint32Array(capacity);
  grown.set(array);
  return grown;
}

/** `array` with `capacity` elements. */
export function growUint16(array: Uint16Array, capacity: number): Uint16Array<ArrayBuffer> {
  const grown = new Uint16Array(capacity);
  grown.set(array);
  return grown;
}

/** `array` with `capacity` elements. */
export function growUint8(array: Uint8Array, capacity: number): Uint8Array<ArrayBuffer> {
  const grown = new Uint8Array(capacity);
  grown.set(array);
  return grown;
}

const DOUBLED_UP_TO = 2 ** 14;
const ROUNDED_TO = 1024;

/**
 * The capacity that comes after `capacity`: twice as much, and from 16384 elements on an eighth more. A million live areas then
 * hold little more memory than they use; copying costs each element nine moves in all.
 */
export function nextCapacity(capacity: number): number {
  if (capacity < DOUBLED_UP_TO) return 2 * capacity;
  return Math.ceil((capacity * 9) / 8 / ROUNDED_TO) * ROUNDED_TO;
}

/**
 * A struct of arrays in one buffer, cut into its arrays one after the other; when it grows, what the older one holds is copied.
 * One buffer a struct, not one an array: hosts give large buffers back to the system, and keep small ones for later.
 */
export class Segments {
  readonly buffer: ArrayBuffer;
  private readonly capacity: number;
  private from: Segments | null;
  /** Where the next array begins, here and in the older one. */
  private at = 0;
  private fromAt = 0;

  /** @param from what it takes the place of: cut in the same way, with a smaller capacity */
  constructor(bytesPerElement: number, capacity: number, from: Segments | null = null) {
    this.buffer = new ArrayBuffer(bytesPerElement * capacity);
    this.capacity = capacity;
    this.from = from;
  }

  /** The next array: of words. */
  uint32(): Uint32Array<ArrayBuffer> {
    return new Uint32Array(this.buffer, this.next(4), this.capacity);
  }

  int32(): Int32Array<ArrayBuffer> {
    return new Int32Array(this.buffer, this.next(4), this.capacity);
  }

  uint16(): Uint16Array<ArrayBuffer> {
    return new Uint16Array(this.buffer, this.next(2), this.capacity);
  }

  uint8(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.buffer, this.next(1), this.capacity);
  }

  private next(bytesPerElement: number): number {
    const { at, from } = this;
    this.at += bytesPerElement * this.capacity;
    if (from !== null) {
      const bytes = bytesPerElement * from.capacity;
      new Uint8Array(this.buffer, at).set(new Uint8Array(from.buffer, this.fromAt, bytes));
      this.fromAt += bytes;
      if (this.fromAt === from.buffer.byteLength) this.from = null;
    }
    return at;
  }
}
