/** What a run to a breakpoint looks for, and how it notices it. */
import { TLB_FLUSH_REASONS, TLB_REMOTE_SEND_IPI } from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { AccessWatch, WATCHED } from "./access-watch.ts";
import type { Search } from "./course.ts";
import type { Breakpoint } from "./strides.ts";
import { describeEvent, type Tracks } from "./tracks.ts";

/** Names of the events of vmalloc that end a run to a breakpoint. */
const BREAKING_EVENTS: Readonly<Partial<Record<Breakpoint, readonly string[]>>> = {
  purge: ["purge"],
  flush: ["flush_range", "flush_all"],
};

/** Whether what is looked for shows only while the steps' code runs, not where their changes are made again. */
export function needsCode(breakpoint: Breakpoint): boolean {
  return breakpoint === "flush" || WATCHED.some((each) => each === breakpoint);
}

/**
 * Begins to look for what a breakpoint stands for; `end` of the result stops that.
 * @param address for `touch`: any address of the page
 */
export function searchFor(breakpoint: Breakpoint, kernel: Kernel, tracks: Tracks, address: number): Search {
  const watched = WATCHED.find((each) => each === breakpoint);
  if (watched !== undefined) {
    const watch = new AccessWatch(kernel, watched, address);
    return { found: () => watch.found, end: () => watch.end() };
  }
  return breakpoint === "flush" ? flushSearch(kernel, tracks) : eventSearch(breakpoint, kernel, tracks);
}

/** A flush of kernel translations, or of what a CPU's TLB has of an address space (`tlb:tlb_flush`). */
function flushSearch(kernel: Kernel, tracks: Tracks): Search {
  const { flushing } = kernel.vm;
  const before = flushing.tlbFlushObserver;
  const ofKernel = eventSearch("flush", kernel, tracks);
  let ofUser: string | null = null;
  flushing.tlbFlushObserver = {
    tlbFlush: (cpu, reason, pages) => {
      before?.tlbFlush(cpu, reason, pages);
      if (reason === TLB_REMOTE_SEND_IPI) return;
      ofUser ??= `CPU ${cpu}: tlb_flush pages=${pages} reason=${TLB_FLUSH_REASONS[reason]}`;
    },
    tlbFlushMmu: (cpu, pages, tables) => before?.tlbFlushMmu?.(cpu, pages, tables),
  };
  const end = (): void => {
    flushing.tlbFlushObserver = before;
  };
  return { found: () => ofKernel.found() ?? ofUser, end };
}

/** An event or a warning that a run is to stop at. */
function eventSearch(breakpoint: Breakpoint, { log }: Kernel, { events }: Tracks): Search {
  const names = BREAKING_EVENTS[breakpoint] ?? [];
  const { warnings } = log;
  let looked = events.total;
  const found = (): string | null => {
    if (breakpoint === "warning" && log.warnings > warnings) {
      return log.lines.findLast((line) => line.startsWith("WARNING")) ?? "";
    }
    for (; looked < events.total; looked++) {
      const event = events.items[looked - events.forgotten];
      if (names.includes(event.name)) return `CPU ${event.cpu}: ${event.name} ${describeEvent(event).text}`;
    }
    return null;
  };
  return { found, end: () => {} };
}
