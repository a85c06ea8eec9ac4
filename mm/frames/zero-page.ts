/** The page of zeros that a read of anonymous memory maps where nothing was written yet (`ZERO_PAGE`). */

/**
 * Its frame. Linux has the page in its image (`empty_zero_page`), of which nothing is in the emulated memory: here it is a frame of the first MiB,
 * none of which is ever handed out, so that it stays zero.
 */
export const ZERO_PAGE_FRAME = 0x50;

/** Whether a frame is the zero page (`is_zero_pfn`): nobody counts who maps it, and nobody may write it. */
export function isZeroPfn(frame: number): boolean {
  return frame === ZERO_PAGE_FRAME;
}
