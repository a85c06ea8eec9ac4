/** The tracks of the CPUs and the counters below them, over a part of the time that one moves along and goes closer to. */
import { signal } from "@preact/signals";
import type { Picture } from "../model/picture.ts";
import { Canvas, type Surface } from "./canvas.tsx";
import { CounterLines } from "./counter-lines.tsx";
import { Scroll } from "./scroll.tsx";
import { before } from "./store.ts";
import { plural } from "./words.ts";

const TRACK = 26;
const LABEL_WIDTH = 50;
const ZOOM_MAX = 16;

/** How much of the time is seen: one of `2 ** zoom` parts; 0 is all. */
const zoom = signal(0);
/** How far the right edge is from now, as a share of all: 0 stays with the run. */
const back = signal(0);

/** The time that the tracks show, in cycles. */
function range({ clockCycles, spans }: Picture): { readonly from: number; readonly to: number; readonly all: number } {
  const now = Math.max(...clockCycles, 1);
  let first = now - 1;
  for (const { fromCycles } of spans) if (fromCycles < first) first = fromCycles;
  const all = now - first;
  const to = now - back.value * all;
  return { from: to - all / 2 ** zoom.value, to, all };
}

/** Shows a part of all, as near to the wanted one as it can be. @param right how far its right edge is from now, as a share of all */
function show(wantedZoom: number, right: number): void {
  zoom.value = Math.min(ZOOM_MAX, Math.max(0, wantedZoom));
  back.value = Math.min(1 - 2 ** -zoom.value, Math.max(0, right));
}

/** Goes along by a share of what is seen; above 0: later. */
const pan = (share: number): void => show(zoom.value, back.value - share * 2 ** -zoom.value);

/** Shows `factor` times as much; the time at a share of the width stays where it is. */
function scale(factor: number, at: number): void {
  const seen = 2 ** -zoom.value;
  const next = 2 ** -Math.min(ZOOM_MAX, Math.max(0, zoom.value - Math.log2(factor)));
  show(-Math.log2(next), back.value + (1 - at) * (seen - next));
}

/** The tracks with what moves them. */
export function Tracks({ picture }: { readonly picture: Picture }) {
  const { cpus, ipis, frequencyGhz } = picture;
  const { from, to, all } = range(picture);
  const usec = (cycles: number): string => (cycles / frequencyGhz / 1000).toFixed(2);
  const label = `${plural(cpus, "track", "tracks")} over ${usec(to - from)} microseconds, ${plural(ipis.length, "interrupt", "interrupts")} between CPUs`;
  const draw = (surface: Surface): void => drawTracks(surface, picture, from, to);
  const gestures = {
    pan: (pixels: number, width: number): void => pan(pixels / (width - LABEL_WIDTH)),
    zoom: (factor: number, x: number, width: number): void => scale(factor, (x - LABEL_WIDTH) / (width - LABEL_WIDTH)),
  };
  const isAtEnd = back.value === 0;
  return (
    <>
      <fieldset class="row" aria-label="Part of the time">
        <button type="button" disabled={zoom.value === ZOOM_MAX} onClick={() => show(zoom.value + 1, back.value)}>
          Closer
        </button>
        <button type="button" disabled={zoom.value === 0} onClick={() => show(zoom.value - 1, back.value)}>
          Wider
        </button>
        <button type="button" aria-label="Earlier" disabled={from <= to - all} onClick={() => pan(-1 / 2)}>
          ◀
        </button>
        <button type="button" aria-label="Later" disabled={isAtEnd} onClick={() => pan(1 / 2)}>
          ▶
        </button>
        <small>
          {isAtEnd ? `the last ${usec(to - from)} µs of ${usec(to)} µs` : `${usec(from)} to ${usec(to)} µs`}
        </small>
      </fieldset>
      <Scroll label="Tracks of the CPUs">
        <Canvas label={label} height={cpus * TRACK} draw={draw} gestures={gestures} />
      </Scroll>
      <CounterLines picture={picture} from={from} to={to} labelWidth={LABEL_WIDTH} gestures={gestures} />
    </>
  );
}

/** Which colour an activity has; what is none is not drawn. */
function colourOf(activity: string): string | null {
  if (activity === "idle" || activity === "other") return null;
  if (activity === "lock wait" || activity === "IPI wait") return "wait";
  if (activity === "interrupts" || activity === "TLB flush" || activity === "IPI send") return "stale";
  if (activity === "context switch") return "kind-other";
  return "kind-vmalloc";
}

function drawTracks(surface: Surface, picture: Picture, from: number, to: number): void {
  const { context, width, colour, visible } = surface;
  const first = Math.floor(visible.top / TRACK);
  const end = Math.min(picture.cpus, Math.ceil(visible.bottom / TRACK));
  const perCycle = (width - LABEL_WIDTH) / (to - from);
  const xOf = (cycles: number): number => LABEL_WIDTH + (cycles - from) * perCycle;
  for (let cpu = first; cpu < end; cpu++) {
    context.fillStyle = colour("text");
    context.fillText(`CPU ${cpu}`, 2, cpu * TRACK + TRACK / 2);
    context.fillStyle = colour("panel-deep");
    context.fillRect(LABEL_WIDTH, cpu * TRACK + 3, width - LABEL_WIDTH, TRACK - 6);
  }
  context.save();
  context.beginPath();
  context.rect(LABEL_WIDTH, 0, width - LABEL_WIDTH, surface.height);
  context.clip();
  const named = drawSpans(surface, picture, { from, to, first, end }, xOf);
  // What has passed in this step.
  const since = before.value?.clockCycles ?? picture.clockCycles;
  context.fillStyle = colour("text");
  picture.clockCycles.forEach((now, cpu) => {
    if (now <= since[cpu]) return;
    context.fillRect(xOf(since[cpu]), (cpu + 1) * TRACK - 3, Math.max(2, xOf(now) - xOf(since[cpu])), 3);
  });
  drawIpis(surface, picture, from, to, xOf);
  // Above the lines of interrupts, which begin where waiting for them does.
  context.fillStyle = colour("on-colour");
  for (const { activity, x, y } of named) context.fillText(activity, x, y);
  context.restore();
}

/** A part of the tracks: a time, and CPUs from `first` to before `end`. */
interface Part {
  readonly from: number;
  readonly to: number;
  readonly first: number;
  readonly end: number;
}

/** Where the name of an activity has room. */
interface NamePlace {
  readonly activity: string;
  readonly x: number;
  readonly y: number;
}

/**
 * Draws what each CPU was doing. Of what falls on one pixel of a track in one colour, the first is drawn.
 * @returns the names that have room on what was drawn
 */
function drawSpans(
  { context, width, colour }: Surface,
  picture: Picture,
  part: Part,
  xOf: (cycles: number) => number,
): NamePlace[] {
  const places: NamePlace[] = [];
  const drawnTo = new Float64Array(picture.cpus);
  const drawnAs = new Array<string | null>(picture.cpus).fill(null);
  const named = new Map<string, number>();
  for (const { cpu, activity, fromCycles, toCycles } of picture.spans) {
    if (cpu < part.first || cpu >= part.end || toCycles <= part.from || fromCycles >= part.to) continue;
    const name = colourOf(activity);
    if (name === null) continue;
    const [x, right] = [Math.max(LABEL_WIDTH, xOf(fromCycles)), Math.min(width, xOf(toCycles))];
    if (right <= drawnTo[cpu] && x >= drawnTo[cpu] - 1 && drawnAs[cpu] === name) continue;
    const seen = Math.max(1, right - x);
    const y = cpu * TRACK + 3;
    context.fillStyle = colour(name);
    context.fillRect(x, y, seen, TRACK - 6);
    drawnTo[cpu] = x + seen;
    drawnAs[cpu] = name;
    const textWidth = named.get(activity) ?? context.measureText(activity).width;
    named.set(activity, textWidth);
    if (seen >= textWidth + 6) places.push({ activity, x: x + 3, y: y + (TRACK - 6) / 2 });
  }
  return places;
}

/** Interrupts from senders to handlers. */
function drawIpis(
  { context, colour }: Surface,
  { ipis }: Picture,
  from: number,
  to: number,
  xOf: (at: number) => number,
) {
  context.strokeStyle = colour("accent");
  context.fillStyle = colour("accent");
  context.beginPath();
  for (const { from: sender, to: target, sentCycles, takenCycles } of ipis) {
    if ((takenCycles ?? to) < from || sentCycles > to) continue;
    const [x, y] = [xOf(takenCycles ?? to), target * TRACK + TRACK / 2];
    context.moveTo(xOf(sentCycles), sender * TRACK + TRACK / 2);
    context.lineTo(x, y);
    context.fillRect(x - 2, y - 2, 4, 4);
  }
  context.stroke();
}
