/** Bytes that are compared as quickly as the host can: Node's buffers, or, in a browser, plain arrays with a loop. */

/** Bytes that know whether others are the same. */
export interface HostBytes extends Uint8Array {
  equals(other: Uint8Array): boolean;
  subarray(begin?: number, end?: number): HostBytes;
}

/** Where there are no buffers of Node. */
class PlainBytes extends Uint8Array implements HostBytes {
  equals(other: Uint8Array): boolean {
    if (other.length !== this.length) return false;
    for (let i = 0; i < this.length; i++) if (this[i] !== other[i]) return false;
    return true;
  }

  override subarray(begin?: number, end?: number): PlainBytes {
    return super.subarray(begin, end) as PlainBytes;
  }
}

const isNode = typeof Buffer !== "undefined";

/** A view of `length` bytes of a buffer from `at` on. */
export function bytesOver(buffer: ArrayBufferLike, at: number, length: number): HostBytes {
  return isNode ? Buffer.from(buffer, at, length) : new PlainBytes(buffer as ArrayBuffer, at, length);
}

/** A copy. */
export function bytesOf(bytes: Uint8Array): HostBytes {
  return isNode ? Buffer.from(bytes) : new PlainBytes(bytes);
}

/** `length` zeros. */
export function zeroBytes(length: number): HostBytes {
  return isNode ? Buffer.alloc(length) : new PlainBytes(length);
}
