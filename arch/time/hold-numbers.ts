/** The numbers of a hold: who has a fair lock, or a cache line, when (`hold-queue.ts`). All holds of a lock are in one array, in the order in which it is had. */

/** log2 of the numbers of a hold: as many as a cache line of the host has. */
export const HOLD_SHIFT = 3;
/** Of a hold: whose it is. */
export const CPU = 0;
/** When that came for it. */
export const ARRIVED = 1;
/** How long it works under the lock, handing over left out. */
export const WORKS = 2;
/** When it ends. */
export const UNTIL = 3;
/** When it ended by its CPU's clock, which never goes back: then or, when others before it have gone behind it since, later. */
export const PAID = 4;
/** How long it was said to have waited. */
export const WAITED = 5;
/** What holds are in the order of: when the CPU came, or the leader that it follows (`hold-groups.ts`). */
export const ORDER = 6;
/** Numbers of a hold that are used. */
export const HOLD_NUMBERS = 7;
