/** The emulated machine runs here, apart from the page: a question in, an answer out, in order. */
import { deadlineMs, isOver } from "../../explore/time-limit.ts";
import type { ExportKind } from "../model/export-files.ts";
import { Answerer, type Focus, type Move } from "../model/picture.ts";

/** A message to the worker. */
export interface Question {
  readonly id: number;
  readonly move: Move;
  readonly focus: Focus;
}

/** Of the computer's memory, the share that machines may take which wait for jumps. */
const PARKED_SHARE = 1 / 8;
const { deviceMemory } = navigator as { readonly deviceMemory?: number };
/** Undefined where the browser does not say how much memory there is. */
const parkedBytesMax = deviceMemory === undefined ? undefined : deviceMemory * 2 ** 30 * PARKED_SHARE;

const answerer = new Answerer(async (file, source) => {
  const { sourceWorkload } = await import("./own-source.ts");
  return sourceWorkload(file, source);
}, parkedBytesMax);

/** How far a long move is. */
export interface Progress {
  readonly position: number;
  /** The step that it goes to; null where that is not known. */
  readonly aim: number | null;
}

/** Milliseconds between two messages about a long move. */
const PROGRESS_MS = 150;
let progressDue = deadlineMs(PROGRESS_MS / 1000);
answerer.onProgress = (position, aim) => {
  if (!isOver(progressDue)) return;
  progressDue = deadlineMs(PROGRESS_MS / 1000);
  postMessage({ progress: { position, aim } satisfies Progress });
};

/** Milliseconds without a question after which one may prepare, and how long at a time: a question waits so long at the most. */
const QUIET_MS = 300;
const SLICE_MS = 8;
/** Questions that are not answered yet. */
let open = 0;
let timer: ReturnType<typeof setTimeout> | undefined;

function prepareLater(afterMs: number): void {
  clearTimeout(timer);
  timer = setTimeout(() => {
    const end = deadlineMs(SLICE_MS / 1000);
    if (open === 0 && answerer.prepare(() => isOver(end))) prepareLater(0);
  }, afterMs);
}

/** Asks for a file. */
export interface ExportQuestion {
  readonly export: ExportKind;
}

addEventListener("message", async ({ data }: MessageEvent<Question | ExportQuestion | "completions" | "stop">) => {
  if (data === "stop") {
    answerer.stop();
    return;
  }
  if (data === "completions") {
    const { completions } = await import("./own-source.ts");
    postMessage({ completions: completions() });
    return;
  }
  if ("export" in data) {
    postMessage({ exported: await answerer.export(data.export), kind: data.export });
    return;
  }
  clearTimeout(timer);
  open++;
  const answer = await answerer.answer(data.move, data.focus);
  open--;
  // The columns of the map go over as they are: they were made for this picture.
  const columns = "picture" in answer ? Object.values(answer.picture.space.map) : [];
  postMessage({ id: data.id, answer }, { transfer: columns.map(({ buffer }) => buffer) });
  prepareLater(QUIET_MS);
});
