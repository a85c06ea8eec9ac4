/** What the page asks of the model, and what it gets: plain data both ways, so that it goes to a worker and back. */
import { deadlineMs, isOver } from "../../explore/time-limit.ts";
import { InputFileError, WorkloadError } from "../../input/errors.ts";
import { countStale, type TlbView, tlbView } from "../../inspect/tlb-view.ts";
import { TranslationTruth } from "../../inspect/translation-truth.ts";
import { choiceTitle } from "../../settings/choice-text.ts";
import type { FigureChoice } from "../../settings/figure-choice.ts";
import { isPresetFile } from "../../settings/presets.ts";
import type { Workload } from "../../workloads/base/workload.ts";
import { AREA_KINDS } from "./area-kinds.ts";
import { type Begun, begin, beginWorkload, plainFigures, steppedWorkloads, type Told } from "./begin.ts";
import { type CostView, costView } from "./cost-view.ts";
import type { CounterSample } from "./counter-samples.ts";
import type { Course } from "./course.ts";
import { describeError } from "./describe-error.ts";
import type { ExportKind } from "./export-files.ts";
import type { PresetFile } from "./figures.ts";
import type { FreePath } from "./free-search.ts";
import type { Scenario, SourceScenario, WorkloadScenario } from "./scenario.ts";
import { type LongMove, Session } from "./session.ts";
import { type SpaceSelection, spaceSelection } from "./space-selection.ts";
import { type AddressWindow, type SpaceView, spaceView } from "./space-view.ts";
import { STORIES } from "./stories/index.ts";
import type { Story } from "./stories/story.ts";
import type { Breakpoint, Stride } from "./strides.ts";
import { type TableView, tableViews } from "./table-view.ts";
import { describeEvent, type Ipi, type Span, type TrackEvent } from "./tracks.ts";
import { type WalkView, walkView } from "./walk-view.ts";

/** Spans, interrupts and events that a picture holds at the most: the latest. */
const SPANS_MAX = 3000;
const IPIS_MAX = 1000;
const EVENTS_MAX = 300;
const SAMPLES_MAX = 400;
const LOG_LINES_MAX = 50;

/** What to look at: a CPU and an address; where there is null, what the story looks at, or CPU 0 and the first area. */
export interface Focus {
  readonly cpu: number | null;
  readonly address: number | null;
  /** The part of the vmalloc range whose areas are listed; absent or null: all of it. */
  readonly window?: AddressWindow | null;
}

/** How the session moves before it is looked at. */
export type Move =
  | {
      readonly kind: "open";
      readonly scenario: Scenario;
      readonly position: number;
      /** What is in the file, the first time that it is opened. */
      readonly bytes?: Uint8Array | undefined;
      /** The file that the scenario's preset is in, the first time that it is needed. */
      readonly presetFile?: PresetFile | undefined;
    }
  | { readonly kind: "go"; readonly position: number }
  | { readonly kind: "forward"; readonly stride: Stride }
  | { readonly kind: "back"; readonly stride: Stride }
  /** `address`: for the breakpoint `touch`. */
  | { readonly kind: "run"; readonly breakpoint: Breakpoint; readonly address?: number }
  | { readonly kind: "look" };

/** What there is to choose from. */
export interface Catalogue {
  readonly stories: readonly Pick<Story, "name" | "title" | "summary">[];
  readonly workloads: readonly string[];
}

/** The machine at one position, as the views show it. */
export interface Picture {
  readonly catalogue: Catalogue;
  readonly scenario: Scenario;
  readonly position: number;
  /** Steps in all; null while it is not known. */
  readonly length: number | null;
  readonly isOver: boolean;
  /** What the last run stopped at, in one line; null when it did not stop at anything. */
  readonly stoppedAt: string | null;
  readonly told: Told | null;
  readonly cpus: number;
  readonly frequencyGhz: number;
  /** Each CPU's clock. */
  readonly clockCycles: readonly number[];
  readonly space: SpaceView;
  /** The microarchitecture, and what of machine and kernel is not as by default: `zen4 with costs.walk=30, policy eager`. */
  readonly machine: string;
  /** The version of Linux. */
  readonly kernelVersion: string;
  /** What is at the walked address. */
  readonly selection: SpaceSelection;
  /** The path that the last search for room took through the free tree; null before the first. */
  readonly lastSearch: FreePath | null;
  readonly walk: WalkView;
  readonly tables: readonly TableView[];
  readonly tlb: TlbView;
  /** Stale entries of each CPU. */
  readonly staleByCpu: readonly number[];
  readonly spans: readonly Span[];
  readonly ipis: readonly Ipi[];
  readonly events: readonly TrackEvent[];
  /** Counters in the time of the spans, the last as they are now. */
  readonly counters: readonly CounterSample[];
  readonly costs: CostView;
  /** Events so far, those that `events` leaves out included. */
  readonly eventCount: number;
  readonly log: readonly string[];
  /** Lines of the kernel's log, those that `log` leaves out included. */
  readonly logCount: number;
}

/** A picture, or why there is none: one line. */
export type Answer = { readonly picture: Picture } | { readonly error: string };

/** Makes a workload of source. @throws WorkloadError with the line of a mistake */
export type Compile = (file: string, source: string) => Promise<Workload>;

function refuseSource(file: string): Promise<Workload> {
  return Promise.reject(new WorkloadError(file, "cannot be run here"));
}

/** Seconds that a long move goes on before messages are received. */
const SLICE_SECONDS = 0.1;

/** Answers one question after the other about one session at a time. */
export class Answerer {
  private session: Session | null = null;
  /** The file that was read last. */
  private file: { readonly name: string; readonly opener: () => Begun } | null = null;
  /** The file of a preset that was read last. */
  private presetFile: PresetFile | null = null;
  private last: Promise<unknown> = Promise.resolve();
  /** The move that is being made. */
  private moving: { isStopped: boolean } | null = null;
  private readonly compile: Compile;
  private readonly parkedBytesMax: number | undefined;
  /** Called during a long move, with the step that it is at and the step that it goes to; null where that is not known. */
  onProgress: ((position: number, aim: number | null) => void) | null = null;

  /**
   * @param compile makes workloads of source; without it source is refused
   * @param parkedBytesMax bytes of the host's memory for machines that wait for jumps; absent: what a session takes by itself
   */
  constructor(compile: Compile = refuseSource, parkedBytesMax?: number) {
    this.compile = compile;
    this.parkedBytesMax = parkedBytesMax;
  }

  /** Moves the session and looks at it, after all that was asked before. Nothing is thrown: what went wrong is in the answer. */
  answer(move: Move, focus: Focus): Promise<Answer> {
    const answer = this.last.then(() => this.answered(move, focus));
    this.last = answer;
    return answer;
  }

  /** Stops the move that is being made, if any: its answer shows the step that was reached. */
  stop(): void {
    if (this.moving !== null) this.moving.isStopped = true;
  }

  /** A file of the session as it is now, after all that was asked before; or why there is none, in one line. */
  export(kind: ExportKind): Promise<{ readonly bytes: Uint8Array } | { readonly error: string }> {
    const answer = this.last.then(async () => {
      try {
        const { exportFile } = await import("./export-files.ts");
        if (this.session === null) throw new Error("nothing was opened yet");
        return { bytes: await exportFile(kind, this.session) };
      } catch (error) {
        return { error: describeError(error) };
      }
    });
    this.last = answer;
    return answer;
  }

  /**
   * For the time when nothing is asked for: makes ready for steps back that would be slow (`Session.prepare`).
   * @returns whether there is more to do
   */
  prepare(isTimeUp: () => boolean): boolean {
    return this.session?.prepare(isTimeUp) ?? false;
  }

  private async answered(move: Move, focus: Focus): Promise<Answer> {
    try {
      const session = await this.move(move);
      return { picture: pictureOf(session, focus) };
    } catch (error) {
      return { error: describeError(error) };
    }
  }

  private async move(move: Move): Promise<Session> {
    if (move.kind === "open") {
      const session = await this.open(move);
      session.onProgress = (position, aim) => this.onProgress?.(position, aim);
      await this.make(session.going(move.position));
      this.session = session;
    }
    const { session } = this;
    if (session === null) throw new Error("nothing was opened yet");
    if (move.kind === "go") await this.make(session.going(move.position));
    else if (move.kind === "forward") await this.make(session.goingForward(move.stride));
    else if (move.kind === "back") await this.make(session.goingBack(move.stride));
    else if (move.kind === "run") await this.make(session.runningTo(move.breakpoint, move.address));
    return session;
  }

  /** Makes a move to its end, or until it is stopped; messages are received now and then. */
  private async make(move: LongMove): Promise<void> {
    const moving = { isStopped: false };
    this.moving = moving;
    try {
      let end = deadlineMs(SLICE_SECONDS);
      while (move.next().done !== true) {
        if (!isOver(end)) continue;
        await new Promise((resolve) => setTimeout(resolve));
        if (moving.isStopped) move.return();
        end = deadlineMs(SLICE_SECONDS);
      }
    } finally {
      this.moving = null;
    }
  }

  private async open({ scenario, bytes, presetFile }: Move & { readonly kind: "open" }): Promise<Session> {
    if (presetFile !== undefined) this.presetFile = presetFile;
    if (scenario.kind === "source") {
      const workload = await this.compile(scenario.name, scenario.source);
      const figures = await this.figuresOf(scenario);
      return this.opened(scenario, () => beginWorkload(scenario, workload, [], figures));
    }
    if (scenario.kind === "experiment") {
      const { openPoint } = await import("./experiment-point.ts");
      return this.opened(scenario, openPoint(scenario));
    }
    if (scenario.kind === "story") return this.opened(scenario);
    if (scenario.kind === "workload") {
      const figures = await this.figuresOf(scenario);
      return this.opened(scenario, () => begin(scenario, figures));
    }
    const { name } = scenario;
    if (bytes !== undefined) {
      const { openFile } = await import("./open-file.ts");
      this.file = { name, opener: await openFile(name, bytes) };
    }
    if (this.file?.name !== name) throw new InputFileError(name, 0, "is not here: drop it on the page to open it");
    return this.opened(scenario, this.file.opener);
  }

  /** The figures of a workload's machine. */
  private async figuresOf(scenario: WorkloadScenario | SourceScenario): Promise<FigureChoice> {
    if (!isPresetFile(scenario.preset) && scenario.set === undefined) return plainFigures(scenario);
    const { figuresOf } = await import("./figures.ts");
    return figuresOf(scenario, this.presetFile);
  }

  private opened(scenario: Scenario, opener?: () => Begun | Course): Session {
    return new Session(scenario, opener, this.parkedBytesMax);
  }
}

/** Where the first area is that is not pooled; the begin of the range when there is none. */
function firstArea({ map, rangeStart }: SpaceView): number {
  const pooled = AREA_KINDS.indexOf("pooled");
  return map.starts[map.kinds.findIndex((kind) => kind !== pooled)] ?? rangeStart;
}

function machineTitle(preset: string, scenario: Scenario): string {
  if (scenario.kind === "story" || scenario.kind === "file") return preset;
  const file = isPresetFile(scenario.preset) ? { presetFile: scenario.preset } : {};
  // The version of Linux stands beside it.
  const settings = Object.entries(scenario.settings).filter(([name]) => name !== "kernel");
  const { set = [] } = scenario;
  return [
    choiceTitle(preset, file) + (set.length === 0 ? "" : ` with ${set.join(" ")}`),
    ...settings.map(([name, value]) => (value === "true" ? name : `${name} ${value}`)),
  ].join(", ");
}

/** A session as it is now. */
export function pictureOf(session: Session, focus: Focus): Picture {
  const { kernel, tracks, told, scenario, position, length, isOver, stoppedAt } = session;
  const { loop, preset, cpus } = kernel.machine;
  const space = spaceView(kernel, focus.window);
  const cpu = Math.min(Math.max(0, focus.cpu ?? told?.look.cpu ?? 0), cpus.length - 1);
  const asked = focus.address ?? told?.look.address ?? 0;
  const address = asked === 0 ? firstArea(space) : asked;
  const truth = new TranslationTruth(kernel);
  const spans = tracks.spansSince(0, SPANS_MAX);
  return {
    catalogue: {
      stories: STORIES.map(({ name, title, summary }) => ({ name, title, summary })),
      workloads: steppedWorkloads(),
    },
    scenario,
    position,
    length,
    isOver,
    stoppedAt,
    told,
    machine: machineTitle(preset.name, scenario),
    kernelVersion: kernel.mm.version.name,
    cpus: cpus.length,
    frequencyGhz: preset.frequencyGhz.value,
    clockCycles: [...loop.clockCycles],
    space,
    selection: spaceSelection(kernel, address),
    lastSearch: tracks.lastSearch,
    walk: walkView(kernel, cpu, address),
    tables: tableViews(kernel, cpu, address),
    tlb: tlbView(kernel, cpu, truth),
    staleByCpu: cpus.map((each) => countStale(each, truth)),
    spans,
    ipis: tracks.ipis.items.slice(-IPIS_MAX),
    events: tracks.events.items.slice(-EVENTS_MAX).map(describeEvent),
    eventCount: tracks.events.total,
    counters: tracks.counters.since(spans[0]?.fromCycles ?? 0, position, SAMPLES_MAX),
    costs: costView(kernel, tracks),
    log: kernel.log.lines.slice(-LOG_LINES_MAX),
    logCount: kernel.log.lines.length,
  };
}
