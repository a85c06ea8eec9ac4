/** Time: a track a CPU, with interrupts as arrows, and the events of vmalloc. */
import { signal } from "@preact/signals";
import type { Picture } from "../model/picture.ts";
import type { Span } from "../model/tracks.ts";
import { Canvas, type Surface } from "./canvas.tsx";
import { CounterLines } from "./counter-lines.tsx";
import { Scroll } from "./scroll.tsx";
import { before, move } from "./store.ts";
import { count, plural } from "./words.ts";

const TRACK = 26;
const LABEL_WIDTH = 46;
const EVENTS_SHOWN = 120;

/** How much of the run is seen: the last of `2 ** zoom` parts; 0 is all. */
const zoom = signal(0);

/** Which colour an activity has. */
function colourOf(activity: string): string {
  if (activity === "idle" || activity === "other") return "panel-deep";
  if (activity === "lock wait" || activity === "IPI wait") return "wait";
  if (activity === "interrupts" || activity === "TLB flush" || activity === "IPI send") return "stale";
  if (activity === "context switch") return "kind-other";
  return "kind-vmalloc";
}

/** The time that the tracks show, in cycles. */
function range({ clockCycles, spans }: Picture): { readonly from: number; readonly to: number } {
  const to = Math.max(...clockCycles, 1);
  const first = spans.reduce((least, { fromCycles }) => Math.min(least, fromCycles), to);
  const all = to - Math.min(first, to - 1);
  return { from: to - all / 2 ** zoom.value, to };
}

/** The view. */
export function Time({ picture }: { readonly picture: Picture }) {
  const { cpus, ipis } = picture;
  const { from, to } = range(picture);
  const usec = (cycles: number): string => (cycles / picture.frequencyGhz / 1000).toFixed(2);
  const label = `${plural(cpus, "track", "tracks")} over ${usec(to - from)} microseconds, ${plural(ipis.length, "interrupt", "interrupts")} between CPUs`;
  const draw = (surface: Surface): void => drawTracks(surface, picture, from, to);
  return (
    <section class="view" id="time" aria-labelledby="time-title">
      <h2 id="time-title">Time</h2>
      <div class="row">
        <button type="button" onClick={() => (zoom.value = Math.min(16, zoom.value + 1))}>
          Closer
        </button>
        <button type="button" disabled={zoom.value === 0} onClick={() => (zoom.value = Math.max(0, zoom.value - 1))}>
          Wider
        </button>
        <span>
          the last {usec(to - from)} µs of {usec(to)} µs
        </span>
      </div>
      <Scroll label="Tracks of the CPUs">
        <Canvas label={label} height={cpus * TRACK} draw={draw} />
      </Scroll>
      <CounterLines picture={picture} from={from} to={to} labelWidth={LABEL_WIDTH} />
      <Legend />
      <Events picture={picture} usec={usec} />
    </section>
  );
}

/** Which colour is what. */
function Legend() {
  return (
    <ul class="legend" aria-label="Activities">
      <li>
        <span class="swatch kind-vmalloc" /> kernel code
      </li>
      <li>
        <span class="swatch swatch-wait" /> waiting: lock, IPI
      </li>
      <li>
        <span class="swatch swatch-stale" /> IPI send, handler, TLB flush
      </li>
      <li>
        <span class="swatch kind-other" /> context switch
      </li>
      <li>
        <span class="swatch swatch-step" /> this step
      </li>
    </ul>
  );
}

/** The latest events, the last first; one goes to where they happened. */
function Events({ picture, usec }: { readonly picture: Picture; readonly usec: (cycles: number) => string }) {
  const { events, eventCount, position } = picture;
  return (
    <Scroll label="Events of vmalloc">
      <table>
        <thead>
          <tr>
            <th scope="col">step</th>
            <th scope="col">µs</th>
            <th scope="col">CPU</th>
            <th scope="col">event</th>
          </tr>
        </thead>
        <tbody>
          {events
            .slice(-EVENTS_SHOWN)
            .reverse()
            .map((event, i) => (
              <tr key={eventCount - i} class={event.position === position ? "new" : ""}>
                <td>
                  <button
                    type="button"
                    class="address"
                    aria-current={event.position === position}
                    onClick={() => move({ kind: "go", position: event.position })}
                  >
                    {event.position}
                  </button>
                </td>
                <td>{usec(event.atCycles)}</td>
                <td>{event.cpu}</td>
                <td>
                  <strong>{event.name}</strong> {event.text}
                </td>
              </tr>
            ))}
        </tbody>
      </table>
      {eventCount > EVENTS_SHOWN ? <p>{count(eventCount - EVENTS_SHOWN)} earlier events are not listed.</p> : null}
    </Scroll>
  );
}

function drawTracks(surface: Surface, picture: Picture, from: number, to: number): void {
  const { context, width, colour } = surface;
  const scale = (width - LABEL_WIDTH) / (to - from);
  const xOf = (cycles: number): number => LABEL_WIDTH + Math.max(0, cycles - from) * scale;
  for (let cpu = 0; cpu < picture.cpus; cpu++) {
    context.fillStyle = colour("text");
    context.fillText(`CPU ${cpu}`, 2, cpu * TRACK + TRACK / 2);
    context.fillStyle = colour("panel-deep");
    context.fillRect(LABEL_WIDTH, cpu * TRACK + 3, width - LABEL_WIDTH, TRACK - 6);
  }
  for (const span of picture.spans) {
    if (span.toCycles > from && colourOf(span.activity) !== "panel-deep") drawSpan(surface, span, xOf);
  }
  // What has passed in this step.
  const since = before.value?.clockCycles ?? picture.clockCycles;
  context.fillStyle = colour("text");
  picture.clockCycles.forEach((now, cpu) => {
    if (now > since[cpu])
      context.fillRect(xOf(since[cpu]), (cpu + 1) * TRACK - 3, Math.max(2, xOf(now) - xOf(since[cpu])), 3);
  });
  context.strokeStyle = colour("accent");
  context.fillStyle = colour("accent");
  for (const { from: sender, to: target, sentCycles, takenCycles } of picture.ipis) {
    if ((takenCycles ?? to) < from || sentCycles < from) continue;
    const [x1, y1] = [xOf(sentCycles), sender * TRACK + TRACK / 2];
    const [x2, y2] = [xOf(takenCycles ?? to), target * TRACK + TRACK / 2];
    context.beginPath();
    context.moveTo(x1, y1);
    context.lineTo(x2, y2);
    context.stroke();
    context.fillRect(x2 - 2, y2 - 2, 4, 4);
  }
}

function drawSpan({ context, colour }: Surface, span: Span, xOf: (cycles: number) => number): void {
  const x = xOf(span.fromCycles);
  const width = Math.max(1, xOf(span.toCycles) - x);
  const y = span.cpu * TRACK + 3;
  context.fillStyle = colour(colourOf(span.activity));
  context.fillRect(x, y, width, TRACK - 6);
  if (width < context.measureText(span.activity).width + 6) return;
  context.fillStyle = colour("on-colour");
  context.fillText(span.activity, x + 3, y + (TRACK - 6) / 2);
}
