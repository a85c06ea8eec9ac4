/** Flushing by AMD's INVLPGB and TLBSYNC (AMD APM vol. 3), and what it costs whom: nobody but the CPU that flushes. */

import { INVLPGB_PAGES_MAX, type InvlpgbRequest } from "../../arch/cpu/invlpgb-operands.ts";
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { Machine } from "../../arch/machine.ts";
import { ACTIVITY_FLUSH, ACTIVITY_IPI_WAIT } from "../../arch/time/cycle-accounts.ts";
import type { FlushCallCosts } from "../kernel/kernel-costs.ts";
import type { FlushAccounts, FlushRecord } from "./flush-accounts.ts";

/** What is broadcast: pages of [start, end), or everything of a kind. */
export interface Broadcast {
  readonly start: number;
  readonly end: number;
  /** Everything instead of the range. */
  readonly full: boolean;
  /** The PCID concerned; absent: all of them. */
  readonly pcid?: number;
  readonly includeGlobals: boolean;
}

/** What broadcasts work with; `Flushing` is one. */
interface BroadcastContext {
  readonly machine: Machine;
  readonly accounts: FlushAccounts | null;
  readonly costs: FlushCallCosts;
  readonly broadcastLine: number;
}

/**
 * Issues the INVLPGBs of `broadcasts` on the current CPU and waits for all of them with one TLBSYNC. Issuing is booked as
 * the initiator's work, TLBSYNC as its wait.
 */
export function broadcastFlush(
  context: BroadcastContext,
  record: FlushRecord | null,
  broadcasts: readonly Broadcast[],
): void {
  const { accounts } = context;
  if (record === null || accounts === null) issue(context, record, broadcasts);
  else accounts.attributedEverywhere(record, () => issue(context, record, broadcasts));
}

function issue(context: BroadcastContext, record: FlushRecord | null, broadcasts: readonly Broadcast[]): void {
  const { loop, cpus } = context.machine;
  const { invalidations } = cpus[loop.currentCpu];
  const began = loop.nowCycles();
  const activity = loop.enterActivity(ACTIVITY_FLUSH);
  for (const broadcast of broadcasts) for (const request of requestsOf(broadcast)) invalidations.invlpgb(request);
  const issued = loop.nowCycles();
  loop.enterActivity(ACTIVITY_IPI_WAIT);
  const waited = loop.lines.waitedCycles[loop.currentCpu];
  // Broadcasts of several CPUs are carried out one after the other.
  loop.lines.occupy(context.broadcastLine, loop.cpus * context.costs.broadcastCpuCycles);
  invalidations.tlbsync();
  loop.enterActivity(activity);
  if (record === null) return;
  record.workCycles += issued - began;
  const lined = loop.lines.waitedCycles[loop.currentCpu] - waited;
  record.waitCycles += loop.nowCycles() - issued - lined;
  record.lineCycles += lined;
}

/** The instructions for one range: each names up to {@link INVLPGB_PAGES_MAX} pages. */
function requestsOf({ start, end, full, pcid, includeGlobals }: Broadcast): InvlpgbRequest[] {
  const whose = pcid === undefined ? {} : { pcid };
  if (full) return [{ ...whose, includeGlobals }];
  const requests: InvlpgbRequest[] = [];
  const count = Math.ceil((end - start) / PAGE_SIZE);
  for (let page = 0; page < count; page += INVLPGB_PAGES_MAX) {
    const pages = Math.min(INVLPGB_PAGES_MAX, count - page);
    requests.push({ ...whose, la: start + page * PAGE_SIZE, pages, includeGlobals });
  }
  return requests;
}
