/**
 * Arrays of frame numbers (`struct page **`): the pages of each area, in one store cut into pieces of power-of-two length.
 */
import { growUint32 } from "../../lib/grow.ts";

const FIRST_CAPACITY = 1024;
const CLASSES = 32;

/** Storage for arrays of frame numbers. An array is named by its offset in `frames`; offset 0 is no array. */
export class PageArrays {
  /** Frame numbers; the array at `offset` is `frames[offset]` and those that follow. */
  frames = new Uint32Array(FIRST_CAPACITY);
  private used = 1;
  private readonly freeHeads = new Uint32Array(CLASSES);

  /** A new array with room for `length` frame numbers, at least 1; their values are arbitrary. */
  take(length: number): number {
    const sizeClass = classOf(length);
    const recycled = this.freeHeads[sizeClass];
    if (recycled !== 0) {
      this.freeHeads[sizeClass] = this.frames[recycled];
      return recycled;
    }
    const offset = this.used;
    this.used += 1 << sizeClass;
    if (this.used > this.frames.length) {
      this.frames = growUint32(this.frames, Math.max(2 * this.frames.length, this.used));
    }
    return offset;
  }

  /** Gives back an array taken with the same `length`. */
  giveBack(offset: number, length: number): void {
    const sizeClass = classOf(length);
    this.frames[offset] = this.freeHeads[sizeClass];
    this.freeHeads[sizeClass] = offset;
  }

  /** One past the last frame number that has ever been part of an array. */
  get usedLength(): number {
    return this.used;
  }

  /** Visits the arrays that were given back, for checks; stops where a list runs in a circle. */
  forEachFree(visit: (offset: number, length: number) => void): void {
    for (let sizeClass = 0; sizeClass < CLASSES; sizeClass++) {
      let left = this.used;
      for (let at = this.freeHeads[sizeClass]; at !== 0 && left > 0; at = this.frames[at], left--) {
        visit(at, 2 ** sizeClass);
      }
    }
  }

  /** Bytes of host memory held. */
  get hostBytes(): number {
    return this.frames.byteLength;
  }
}

function classOf(length: number): number {
  return length <= 1 ? 0 : 32 - Math.clz32(length - 1);
}
