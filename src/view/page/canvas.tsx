/** A canvas that fills its place, is drawn once a frame, and again when its size or the colour scheme changes. */
import { useEffect, useRef } from "preact/hooks";

/** What is drawn with: sizes in CSS pixels, colours of the scheme by name. */
export interface Surface {
  readonly context: CanvasRenderingContext2D;
  readonly width: number;
  readonly height: number;
  readonly colour: (name: string) => string;
}

/** A canvas of some height. `label` says in words what is to be seen. */
export function Canvas(props: {
  readonly label: string;
  readonly height: number;
  readonly draw: (surface: Surface) => void;
  readonly onPick?: (x: number, y: number, width: number) => void;
}) {
  const { label, height, draw, onPick } = props;
  const element = useRef<HTMLCanvasElement>(null);
  const latest = useRef(draw);
  latest.current = draw;
  useEffect(() => {
    const canvas = element.current;
    if (canvas === null) return;
    let frame = 0;
    const redraw = (): void => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => paint(canvas, latest.current));
    };
    const sizes = new ResizeObserver(redraw);
    sizes.observe(canvas);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", redraw);
    return () => {
      cancelAnimationFrame(frame);
      sizes.disconnect();
      scheme.removeEventListener("change", redraw);
    };
  }, []);
  useEffect(() => {
    const frame = requestAnimationFrame(() => {
      if (element.current !== null) paint(element.current, draw);
    });
    return () => cancelAnimationFrame(frame);
  }, [draw, height]);
  return (
    <canvas
      ref={element}
      role="img"
      aria-label={label}
      style={{ height: `${height}px` }}
      onClick={(event) => onPick?.(event.offsetX, event.offsetY, event.currentTarget.clientWidth)}
    />
  );
}

function paint(canvas: HTMLCanvasElement, draw: (surface: Surface) => void): void {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = devicePixelRatio;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  if (context === null) return;
  context.scale(scale, scale);
  const style = getComputedStyle(canvas);
  context.font = `12px ${style.fontFamily}`;
  context.textBaseline = "middle";
  draw({ context, width, height, colour: (name) => style.getPropertyValue(`--${name}`).trim() });
}
