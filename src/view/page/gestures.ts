/** Moves by mouse, fingers and wheel, as timelines and maps know them: dragging goes along, Ctrl and the wheel, or two fingers, go closer. */

/** How what is drawn is moved. */
export interface Gestures {
  /** Goes along by some pixels of an element of some width: above 0 to what lies further right. */
  pan(pixels: number, width: number): void;
  /** Shows `factor` times as much; what is at `x` stays there. */
  zoom(factor: number, x: number, width: number): void;
}

/** Pixels that a finger may move while it taps. */
const TAP_PIXELS = 4;
/** What a pixel of the wheel makes: a notch has about a hundred. */
const ZOOM_PER_PIXEL = 0.004;
/** The wheel's unit where it counts lines instead of pixels. */
const LINE_PIXELS = 16;

/**
 * Follows the gestures on an element.
 * @param gestures what moves, at the moment; undefined: nothing
 * @returns what ends it
 */
export function listenForGestures(element: HTMLElement, gestures: () => Gestures | undefined): () => void {
  const followed = new Followed(element, gestures);
  const down = (event: PointerEvent): void => followed.down(event);
  const move = (event: PointerEvent): void => followed.move(event);
  const up = (event: PointerEvent): void => followed.up(event);
  const click = (event: MouseEvent): void => followed.click(event);
  const wheel = (event: WheelEvent): void => followed.wheel(event);
  element.addEventListener("pointerdown", down);
  element.addEventListener("pointermove", move);
  element.addEventListener("pointerup", up);
  element.addEventListener("pointercancel", up);
  element.addEventListener("click", click, { capture: true });
  // It keeps the page from scrolling, where it means the element.
  element.addEventListener("wheel", wheel, { passive: false });
  return () => {
    element.removeEventListener("pointerdown", down);
    element.removeEventListener("pointermove", move);
    element.removeEventListener("pointerup", up);
    element.removeEventListener("pointercancel", up);
    element.removeEventListener("click", click, { capture: true });
    element.removeEventListener("wheel", wheel);
  };
}

/** The fingers, or the mouse, that are down on an element. */
class Followed {
  private readonly element: HTMLElement;
  private readonly gestures: () => Gestures | undefined;
  /** Where each is, from the left edge of the window. */
  private readonly places = new Map<number, number>();
  /** Pixels that they have moved since the first came down. */
  private movedPixels = 0;

  constructor(element: HTMLElement, gestures: () => Gestures | undefined) {
    this.element = element;
    this.gestures = gestures;
  }

  down({ button, pointerId, clientX }: PointerEvent): void {
    if (button !== 0 || this.gestures() === undefined) return;
    if (this.places.size === 0) this.movedPixels = 0;
    this.places.set(pointerId, clientX);
    this.element.setPointerCapture(pointerId);
  }

  move({ pointerId, clientX }: PointerEvent): void {
    const { places, element } = this;
    const was = places.get(pointerId);
    if (was === undefined) return;
    places.set(pointerId, clientX);
    this.movedPixels += Math.abs(clientX - was);
    if (this.movedPixels <= TAP_PIXELS) return;
    const other = [...places].find(([id]) => id !== pointerId)?.[1];
    const { left, width } = element.getBoundingClientRect();
    if (other === undefined) this.gestures()?.pan(was - clientX, width);
    else {
      const apart = Math.max(1, Math.abs(clientX - other));
      this.gestures()?.zoom(Math.max(1, Math.abs(was - other)) / apart, (clientX + other) / 2 - left, width);
    }
  }

  up({ pointerId }: PointerEvent): void {
    this.places.delete(pointerId);
  }

  /** What ended a drag is no click. */
  click(event: MouseEvent): void {
    if (this.movedPixels > TAP_PIXELS) event.stopImmediatePropagation();
    this.movedPixels = 0;
  }

  wheel(event: WheelEvent): void {
    const gestures = this.gestures();
    if (gestures === undefined) return;
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : LINE_PIXELS;
    const { width, left } = this.element.getBoundingClientRect();
    const sideways = event.shiftKey && event.deltaX === 0 ? event.deltaY : event.deltaX;
    if (event.ctrlKey || event.metaKey) {
      gestures.zoom(Math.exp(event.deltaY * unit * ZOOM_PER_PIXEL), event.clientX - left, width);
    } else if (event.shiftKey || Math.abs(sideways) > Math.abs(event.deltaY)) gestures.pan(sideways * unit, width);
    else return;
    event.preventDefault();
  }
}
