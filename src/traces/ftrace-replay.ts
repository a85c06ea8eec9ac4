/**
 * Replays ftrace text in an emulated kernel of another size, microarchitecture, version or flush policy, and counts what that costs. A
 * trace with the calls of vmalloc (`mmulab record-script`, `mmulab run --events`) is replayed call by call (`call-replay.ts`), one of
 * vmalloc's tracepoints alone area by area (`area-replay.ts`).
 */
import { inputName } from "../files/byte-chunks.ts";
import { TwiceReadLines } from "../files/twice-read-lines.ts";
import { InputFileError } from "../input/errors.ts";
import { AreaReplay } from "./area-replay.ts";
import { CallReplay } from "./call-replay.ts";
import { type FtraceEvent, parseFtraceLine } from "./ftrace-lines.ts";
import type { FtraceOptions, FtraceReport } from "./ftrace-report.ts";
import { SkipList } from "./ftrace-skips.ts";
import { FtraceSurvey, surveyLine } from "./ftrace-survey.ts";

/** Lines without an event after which a file counts as none of ftrace: what is packed may be endless. */
const LINES_IN_VAIN_MAX = 2 ** 24;

/**
 * Replays the trace in `file` (`-`: standard input; plain or gzip).
 * @throws InputFileError when it cannot be read or holds no event of vmalloc, ConfigError for a machine that is not possible
 */
export async function replayFtrace(file: string, options: FtraceOptions): Promise<FtraceReport> {
  const text = new TwiceReadLines(file);
  try {
    return await replayLines(text, inputName(file), options);
  } finally {
    text.close();
  }
}

/** Goes through a trace once for what all of it says, then replays it. */
async function replayLines(text: TwiceReadLines, name: string, options: FtraceOptions): Promise<FtraceReport> {
  const survey = new FtraceSurvey();
  const skipped = new SkipList();
  let bytesRead = 0;
  const onRead = (bytes: number): void => {
    bytesRead = bytes;
  };
  for await (const { firstLine, lines } of text.first(onRead)) {
    lines.forEach((line, i) => {
      surveyLine(parseFtraceLine(line), name, firstLine + i, survey, skipped);
    });
    options.onProgress?.(bytesRead, 0);
    if (!survey.hasEvents && firstLine + lines.length > LINES_IN_VAIN_MAX) break;
  }
  if (!survey.hasEvents) throw new InputFileError(name, 1, skipped.whyNothing());
  const replay = newReplay(survey, options, skipped);
  let made = 0;
  for await (const { firstLine, lines } of text.second()) {
    for (const [i, line] of lines.entries()) {
      const event = parseFtraceLine(line);
      // A trace that grows meanwhile is replayed as far as it went before.
      if (event.event === "skip" || event.event === "lost" || event.event === "note") continue;
      if (made === survey.events) continue;
      replay.make(event, firstLine + i, made);
      if (made++ % 1024 === 0) options.onProgress?.(bytesRead, made);
    }
  }
  replay.finish();
  return replay.report(name);
}

function newReplay(survey: FtraceSurvey, options: FtraceOptions, skipped: SkipList): CallReplay | AreaReplay {
  return survey.hasCalls ? new CallReplay(survey, options, skipped) : new AreaReplay(survey, options, skipped);
}

/** A trace that is replayed several times: its lines are read once and kept. */
export class KeptTrace {
  private readonly survey = new FtraceSurvey();
  private readonly events: { readonly event: FtraceEvent; readonly line: number }[] = [];

  /**
   * @param name the file's name, for messages
   * @throws InputFileError for a trace without an event of vmalloc
   */
  constructor(name: string, lines: readonly string[]) {
    const skipped = new SkipList();
    lines.forEach((text, i) => {
      const event = parseFtraceLine(text);
      surveyLine(event, name, i + 1, this.survey, skipped);
      if (event.event === "skip" || event.event === "lost" || event.event === "note") return;
      this.events.push({ event, line: i + 1 });
    });
    if (!this.survey.hasEvents) throw new InputFileError(name, 1, skipped.whyNothing());
  }

  /** Replays it; whoever wants to know what it did watches its kernel. @throws ConfigError for a machine that is not possible */
  replay(options: FtraceOptions): void {
    const replay = newReplay(this.survey, options, new SkipList());
    this.events.forEach(({ event, line }, i) => {
      replay.make(event, line, i);
    });
    replay.finish();
  }
}
