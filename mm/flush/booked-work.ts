/** Work of the CPU that flushes, booked as such. */
import { ACTIVITY_FLUSH } from "../../arch/time/cycle-accounts.ts";
import type { EventLoop } from "../../arch/time/event-loop.ts";
import type { FlushRecord } from "./flush-accounts.ts";

/** Does a part of a flush on the current CPU; its cycles are work of `record`, its waits for lines are lines. */
export function bookWork(loop: EventLoop, record: FlushRecord | null, work: () => void): void {
  const { lines, currentCpu } = loop;
  const began = lines.ownCycles(currentCpu);
  const waited = lines.waitedCycles[currentCpu];
  const activity = loop.enterActivity(ACTIVITY_FLUSH);
  work();
  loop.enterActivity(activity);
  if (record === null) return;
  record.workCycles += lines.ownCycles(currentCpu) - began;
  record.lineCycles += lines.waitedCycles[currentCpu] - waited;
}
