/** Points that others than a scheduler know by name (`EventLoop.point`). */

/** Frames of pages are given back next; the subject lists them. */
export const POINT_FREES_FRAMES = "frames are given back";
/** Page tables are given back next; the subject lists their frames. */
export const POINT_FREES_TABLES = "page tables are given back";
/** Pages of the host are given back next; the subject lists their first frames. */
export const POINT_FREES_HOST_PAGES = "pages of the host are given back";
/** A lock, the subject, has been given back: others may come before what was guarded, if code still goes on with it. */
export const POINT_UNLOCKED = "unlocked";
