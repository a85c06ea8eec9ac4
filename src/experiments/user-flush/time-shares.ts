/** Where the time went over which threads are measured, in percent, as columns of a table. */
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

/** Each CPU's time by what it did, from when its thread begins to be measured until that has come to its end. */
export class TimeShares {
  private readonly loop: EventLoop;
  /** By CPU: what each activity had taken when it began. */
  private readonly before: (ReadonlyMap<string, number> | null)[];
  private readonly cycles = new Map<string, number>();
  private whole = 0;

  constructor(loop: EventLoop) {
    this.loop = loop;
    this.before = new Array<ReadonlyMap<string, number> | null>(loop.cpus).fill(null);
  }

  /** The thread of the current CPU is measured from now on. */
  begin(): void {
    const { currentCpu, accounts } = this.loop;
    this.before[currentCpu] = accounts.ofCpu(currentCpu);
  }

  /** It is not any more. */
  end(): void {
    const { currentCpu, accounts } = this.loop;
    const { [currentCpu]: before } = this.before;
    if (before === null) return;
    for (const [name, until] of accounts.ofCpu(currentCpu)) {
      const cycles = until - (before.get(name) ?? 0);
      this.cycles.set(name, (this.cycles.get(name) ?? 0) + cycles);
      this.whole += cycles;
    }
    this.before[currentCpu] = null;
  }

  /** The shares of all that was measured. */
  percents(): Record<keyof typeof SHARE_COLUMNS, number> {
    const { names } = this.loop.accounts;
    const percentOf = (name: string): number => Math.round((1000 * (this.cycles.get(name) ?? 0)) / this.whole) / 10;
    const percent = (activity: number): number => percentOf(names[activity]);
    return {
      lockWaitPercent: percent(ACTIVITY_LOCK_WAIT),
      lineWaitPercent: percent(ACTIVITY_LINE_WAIT),
      ipiWaitPercent: percent(ACTIVITY_IPI_WAIT),
      interruptPercent: percent(ACTIVITY_INTERRUPT),
      sharedCorePercent: percentOf(SHARED_CORE),
      idlePercent: percent(ACTIVITY_IDLE),
    };
  }
}
