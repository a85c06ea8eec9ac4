/** Where the time of all CPUs of a machine went, in percent, as columns of a table. */
import {
  ACTIVITY_IDLE,
  ACTIVITY_INTERRUPT,
  ACTIVITY_IPI_WAIT,
  ACTIVITY_LINE_WAIT,
  ACTIVITY_LOCK_WAIT,
  type EventLoop,
  SHARED_CORE,
} from "../../../arch/index.ts";

/** The columns. */
export const SHARE_COLUMNS = {
  lockWaitPercent: { heading: "locks %" },
  lineWaitPercent: { heading: "lines %" },
  ipiWaitPercent: { heading: "IPI wait %" },
  interruptPercent: { heading: "interrupts %" },
  sharedCorePercent: { heading: "shared core %" },
  idlePercent: { heading: "idle %" },
} as const;

/** The shares of everything since boot, idle time included. */
export function timeShares({ accounts }: EventLoop): Record<keyof typeof SHARE_COLUMNS, number> {
  const all = accounts.total();
  const whole = [...all.values()].reduce((sum, each) => sum + each, 0);
  const percentOf = (name: string): number => Math.round((1000 * (all.get(name) ?? 0)) / whole) / 10;
  const percent = (activity: number): number => percentOf(accounts.names[activity]);
  return {
    lockWaitPercent: percent(ACTIVITY_LOCK_WAIT),
    lineWaitPercent: percent(ACTIVITY_LINE_WAIT),
    ipiWaitPercent: percent(ACTIVITY_IPI_WAIT),
    interruptPercent: percent(ACTIVITY_INTERRUPT),
    sharedCorePercent: percentOf(SHARED_CORE),
    idlePercent: percent(ACTIVITY_IDLE),
  };
}
