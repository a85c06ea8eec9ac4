/** Canvases that fill their places. All that are to be drawn anew are drawn together, once a frame. */
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { type Gestures, listenForGestures } from "./gestures.ts";

/** What is drawn with: sizes in CSS pixels, colours of the scheme by name. */
export interface Surface {
  readonly context: CanvasRenderingContext2D;
  readonly width: number;
  readonly height: number;
  readonly colour: (name: string) => string;
  /** The part that is to be seen where the canvas lies in something that scrolls; else from 0 to `height`. */
  readonly visible: { readonly top: number; readonly bottom: number };
}

/** A canvas that somebody looks at. */
interface Drawn {
  readonly canvas: HTMLCanvasElement;
  draw: (surface: Surface) => void;
  width: number;
  height: number;
}

/** What is to be drawn in the next frame. */
const waiting = new Set<Drawn>();
/** All of them, for a change of the colour scheme. */
const all = new Set<Drawn>();
let frame = 0;

function drawLater(drawn: Drawn): void {
  waiting.add(drawn);
  if (frame === 0) frame = requestAnimationFrame(drawWaiting);
}

function drawWaiting(): void {
  frame = 0;
  for (const drawn of waiting) paint(drawn);
  waiting.clear();
}

/** The scheme's colours, as far as they were asked for: asking the style each time takes longer than drawing. */
const colours = new Map<string, string>();
let style: CSSStyleDeclaration | null = null;

function colour(name: string): string {
  const known = colours.get(name);
  if (known !== undefined) return known;
  style ??= getComputedStyle(document.documentElement);
  const found = style.getPropertyValue(`--${name}`).trim();
  colours.set(name, found);
  return found;
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  colours.clear();
  for (const drawn of all) drawLater(drawn);
});

/** A canvas of some height. `label` says in words what is to be seen. */
export function Canvas(props: {
  readonly label: string;
  readonly height: number;
  readonly draw: (surface: Surface) => void;
  readonly onPick?: (x: number, y: number, width: number) => void;
  /** How dragging and the wheel move what is drawn; absent: not at all. */
  readonly gestures?: Gestures;
}) {
  const { label, height, draw, onPick, gestures } = props;
  const element = useRef<HTMLCanvasElement>(null);
  const drawn = useRef<Drawn | null>(null);
  const latest = useRef(gestures);
  latest.current = gestures;
  useLayoutEffect(() => {
    const { current } = drawn;
    if (current === null) return;
    current.draw = draw;
    drawLater(current);
  }, [draw]);
  useLayoutEffect(() => {
    const canvas = element.current;
    if (canvas === null) return;
    const mine: Drawn = { canvas, draw, width: canvas.clientWidth, height: canvas.clientHeight };
    drawn.current = mine;
    all.add(mine);
    drawLater(mine);
    // Before the frame in which the size changes is shown: nothing is seen stretched.
    const sizes = new ResizeObserver(([{ contentRect }]) => {
      if (mine.width === contentRect.width && mine.height === contentRect.height) return;
      mine.width = contentRect.width;
      mine.height = contentRect.height;
      paint(mine);
    });
    sizes.observe(canvas);
    const scroller = canvas.closest(".scroll");
    const scrolled = (): void => drawLater(mine);
    scroller?.addEventListener("scroll", scrolled, { passive: true });
    return () => {
      all.delete(mine);
      waiting.delete(mine);
      sizes.disconnect();
      scroller?.removeEventListener("scroll", scrolled);
    };
  }, []);
  useEffect(() => {
    const canvas = element.current;
    return canvas === null ? undefined : listenForGestures(canvas, () => latest.current);
  }, []);
  return (
    <canvas
      ref={element}
      role="img"
      aria-label={label}
      class={gestures === undefined ? "" : "movable"}
      style={{ height: `${height}px` }}
      onClick={(event) => onPick?.(event.offsetX, event.offsetY, event.currentTarget.clientWidth)}
    />
  );
}

function paint({ canvas, draw, width, height }: Drawn): void {
  const scale = devicePixelRatio;
  const [pixelWidth, pixelHeight] = [Math.round(width * scale), Math.round(height * scale)];
  const context = canvas.getContext("2d");
  if (context === null || pixelWidth === 0 || pixelHeight === 0) return;
  if (canvas.width !== pixelWidth || canvas.height !== pixelHeight) {
    canvas.width = pixelWidth;
    canvas.height = pixelHeight;
  }
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = `12px ${fontFamily()}`;
  context.textBaseline = "middle";
  draw({ context, width, height, colour, visible: visiblePart(canvas, height) });
}

let family = "";

function fontFamily(): string {
  if (family === "") family = getComputedStyle(document.body).fontFamily;
  return family;
}

/** Of a canvas at the begin of something that scrolls. */
function visiblePart(canvas: HTMLCanvasElement, height: number): Surface["visible"] {
  const scroller = canvas.parentElement;
  if (scroller === null || !scroller.classList.contains("scroll")) return { top: 0, bottom: height };
  const { scrollTop, clientHeight } = scroller;
  return { top: scrollTop, bottom: scrollTop + clientHeight };
}
