/** What the parts of the fast path return in place of a frame, and of attributes; nothing has changed then. */

/** The general path does the access from its beginning. */
export const GENERAL = -1;
/** No TLB holds the page, under any PCID: the general path does the access from the page walk on. */
export const MISSED = -2;
/** A walk: no entry of the table above the page is cached, so that a walk begins higher up. */
export const NOT_CACHED = -3;
/**
 * In place of the attributes (`WORD_ATTRIBUTES`) of a translation that is known to allow the access: no entry has them. 0 would not do: it is a
 * read-only page of the supervisor.
 */
export const NO_ATTRIBUTES = -1;
