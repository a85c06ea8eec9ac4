/** A limit on how long an exploration takes on the host. */

/** When a limit of so many seconds from now is reached, in milliseconds since 1970; 0 when there is none. */
export function deadlineMs(seconds: number): number {
  return seconds === 0 ? 0 : Date.now() + 1000 * seconds;
}

/** Whether that time has come. */
export function isOver(stopAtMs: number): boolean {
  return stopAtMs !== 0 && Date.now() >= stopAtMs;
}
