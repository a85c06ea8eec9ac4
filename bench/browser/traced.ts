/** What the browser's threads do while something happens, from Chromium's own trace: processor time, which others' load does not lengthen. */
import type { Browser } from "puppeteer-core";

/** A headless Chromium has all in one process. */
const MAIN_THREADS = ["Chrome_InProcRendererThread", "CrRendererMain"];
const WORKER_THREAD = "DedicatedWorker thread";
const USEC_PER_MS = 1000;

/** An event of the trace, as far as it is read. */
interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  /** When it began, in microseconds. */
  readonly ts: number;
  /** How long it took by the clock, in microseconds. */
  readonly dur?: number;
  /** The thread's own time, in microseconds. */
  readonly tdur?: number;
  readonly args: { readonly name?: string };
}

/** What was traced. */
export interface Traced {
  /** The main thread's time from one frame to the next, in milliseconds: input, scripts, layout, painting. */
  readonly frameMs: readonly number[];
  /** What the main thread worked in all, in milliseconds. */
  readonly mainMs: number;
  /** The time of the worker that runs the machine, in milliseconds. */
  readonly workerMs: number;
}

/** Traces the browser while `act` goes on. */
export async function traced(browser: Browser, act: () => Promise<void>): Promise<Traced> {
  const client = await browser.target().createCDPSession();
  const events: TraceEvent[] = [];
  client.on("Tracing.dataCollected", ({ value }) => events.push(...(value as unknown as TraceEvent[])));
  const categories = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"];
  await client.send("Tracing.start", {
    traceConfig: { includedCategories: categories },
    transferMode: "ReportEvents",
  });
  await act();
  const complete = new Promise((resolve) => client.once("Tracing.tracingComplete", resolve));
  await client.send("Tracing.end");
  await complete;
  await client.detach();
  const main = tasksOf(events, MAIN_THREADS);
  const sum = (tasks: readonly TraceEvent[]): number =>
    tasks.reduce((total, { tdur = 0 }) => total + tdur, 0) / USEC_PER_MS;
  return {
    frameMs: byFrame(events, main),
    mainMs: sum(main),
    workerMs: sum(tasksOf(events, [WORKER_THREAD])),
  };
}

/** The tasks of the busiest thread of some names: there may be others, of pages that show nothing. */
function tasksOf(events: readonly TraceEvent[], names: readonly string[]): TraceEvent[] {
  const threads = events.filter(({ name, args }) => name === "thread_name" && names.includes(args.name ?? ""));
  const tasks = threads.map(({ pid, tid }) =>
    outermost(
      events.filter((event) => event.name === "RunTask" && event.ph === "X" && event.pid === pid && event.tid === tid),
    ),
  );
  return tasks.sort((a, b) => b.length - a.length)[0] ?? [];
}

/** One thread's events without those inside others: Chromium has two of one name for each task, one in the other. */
function outermost(events: readonly TraceEvent[]): TraceEvent[] {
  let end = Number.NEGATIVE_INFINITY;
  return [...events]
    .sort((a, b) => a.ts - b.ts)
    .filter(({ ts, dur = 0 }) => {
      if (ts < end) return false;
      end = ts + dur;
      return true;
    });
}

/** A thread's time in each frame, from the end of the one before; nothing of what came after the last. */
function byFrame(events: readonly TraceEvent[], tasks: readonly TraceEvent[]): number[] {
  // At the end of a frame's work the compositor gets what is to be shown.
  const ends = events
    .filter(({ name }) => name === "BeginCommitCompositorFrame")
    .map(({ ts }) => ts)
    .sort((a, b) => a - b);
  const frames = new Array<number>(ends.length).fill(0);
  for (const { ts, tdur = 0 } of tasks) {
    const frame = ends.findIndex((end) => end >= ts);
    if (frame >= 0) frames[frame] += tdur / USEC_PER_MS;
  }
  return frames;
}
