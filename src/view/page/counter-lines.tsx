/** Counters as lines below the tracks of the CPUs, on the same axis of time. */
import type { CounterSample } from "../model/counter-samples.ts";
import type { Picture } from "../model/picture.ts";
import { Canvas, type Surface } from "./canvas.tsx";
import type { Gestures } from "./gestures.ts";
import { count } from "./words.ts";

const ROW = 40;
const TEXT = 14;

/** The lines: of a level, what it is; of a count, how much it has grown since the left edge. */
const LINES = [
  { name: "lazily freed pages", colour: "stale", of: (sample: CounterSample) => sample.lazyPages, isLevel: true },
  { name: "page walks", colour: "kind-vmalloc", of: (sample: CounterSample) => sample.walks, isLevel: false },
  { name: "walk cycles", colour: "kind-vmap", of: (sample: CounterSample) => sample.walkCycles, isLevel: false },
] as const;

/** The values of a line from the left edge to now, the first at or before the edge. */
function valuesOf(line: (typeof LINES)[number], samples: readonly CounterSample[]): number[] {
  const first = line.isLevel || samples.length === 0 ? 0 : line.of(samples[0]);
  return samples.map((sample) => line.of(sample) - first);
}

/** What each line says in words. */
function wordsOf(line: (typeof LINES)[number], samples: readonly CounterSample[]): string {
  const values = valuesOf(line, samples);
  const last = values.at(-1) ?? 0;
  if (!line.isLevel) return `${line.name}: +${count(last)}`;
  return `${line.name}: ${count(last)}, most ${count(Math.max(0, ...values))}`;
}

/** The lines of the time that the tracks show. */
export function CounterLines(props: {
  readonly picture: Picture;
  readonly from: number;
  readonly to: number;
  readonly labelWidth: number;
  readonly gestures: Gestures;
}) {
  const { picture, from, to, labelWidth, gestures } = props;
  const { counters } = picture;
  const first = Math.max(0, counters.findIndex(({ atCycles }) => atCycles >= from) - 1);
  const samples = counters.slice(first, counters.findLastIndex(({ atCycles }) => atCycles <= to) + 1);
  const draw = (surface: Surface): void => {
    LINES.forEach((line, row) => {
      drawLine(surface, line, samples, row * ROW, (cycles) => {
        const share = (Math.max(cycles, from) - from) / Math.max(1, to - from);
        return labelWidth + share * (surface.width - labelWidth);
      });
    });
  };
  const label = `Counters over the same time. ${LINES.map((line) => wordsOf(line, samples)).join("; ")}`;
  return <Canvas label={label} height={LINES.length * ROW} draw={draw} gestures={gestures} />;
}

function drawLine(
  { context, width, colour }: Surface,
  line: (typeof LINES)[number],
  samples: readonly CounterSample[],
  top: number,
  xOf: (cycles: number) => number,
): void {
  const values = valuesOf(line, samples);
  const most = Math.max(1, ...values);
  const [high, low] = [top + TEXT, top + ROW - 3];
  const yOf = (value: number): number => low - (value / most) * (low - high);
  const left = xOf(Number.NEGATIVE_INFINITY);
  context.fillStyle = colour("panel-deep");
  context.fillRect(left, high - 1, width - left, low - high + 2);
  // A counter keeps its value until the next sample.
  context.beginPath();
  values.forEach((value, i) => {
    const x = xOf(samples[i].atCycles);
    if (i === 0) context.moveTo(x, yOf(value));
    else context.lineTo(x, yOf(values[i - 1]));
    context.lineTo(x, yOf(value));
  });
  context.lineTo(width, yOf(values.at(-1) ?? 0));
  context.strokeStyle = colour(line.colour);
  context.lineWidth = 2;
  context.stroke();
  context.lineWidth = 1;
  context.fillStyle = colour("text");
  context.fillText(wordsOf(line, samples), left, top + TEXT / 2);
}
