/** A map of the vmalloc range to scale, from all of it to one page. */
import { signal } from "@preact/signals";
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import { AREA_KINDS } from "../model/area-kinds.ts";
import type { Picture } from "../model/picture.ts";
import type { AddressWindow, SpaceMap } from "../model/space-view.ts";
import { Canvas, type Surface } from "./canvas.tsx";
import { focus, look } from "./store.ts";
import { bytes, hex } from "./words.ts";

const HEIGHT = 44;
/** Milliseconds after the last move of a gesture, when the areas of the part are asked for. */
const SETTLED_MS = 200;

/** The part that a gesture shows at the moment, to fractions of a page; null when there is none. */
const moving = signal<AddressWindow | null>(null);
let settling = 0;

/** What the map shows: the window that one chose, or from the first area to the last. */
function windowOf({ space }: Picture): AddressWindow {
  const { starts, ends } = space.map;
  const chosen = moving.value ?? focus.value.window;
  if (chosen != null) return chosen;
  if (starts.length === 0) return { start: space.rangeStart, end: space.rangeEnd };
  return { start: starts[0], end: ends[ends.length - 1] };
}

/** A part of the range, as near to the wanted one as it can be. */
function within({ space }: Picture, start: number, length: number): AddressWindow {
  const whole = space.rangeEnd - space.rangeStart;
  const pages = Math.max(1, Math.min(whole, length) / PAGE_SIZE);
  const bytes_ = Math.round(pages) * PAGE_SIZE;
  const first = Math.min(Math.max(start, space.rangeStart), space.rangeEnd - bytes_);
  return { start: Math.floor(first / PAGE_SIZE) * PAGE_SIZE, end: Math.floor(first / PAGE_SIZE) * PAGE_SIZE + bytes_ };
}

/** Goes on with a gesture: the map follows at once, the list of areas when it has ended. */
function moveTo(picture: Picture, start: number, length: number): void {
  const { rangeStart, rangeEnd } = picture.space;
  const kept = Math.min(Math.max(length, PAGE_SIZE), rangeEnd - rangeStart);
  const first = Math.min(Math.max(start, rangeStart), rangeEnd - kept);
  moving.value = { start: first, end: first + kept };
  clearTimeout(settling);
  settling = window.setTimeout(() => {
    moving.value = null;
    look({ window: within(picture, first, kept) });
  }, SETTLED_MS);
}

/** The map with what moves it. */
export function SpaceMapView({ picture }: { readonly picture: Picture }) {
  const { space, walk } = picture;
  const window_ = windowOf(picture);
  const { start, end } = window_;
  const length = end - start;
  const show = (next: AddressWindow | null): void => look({ window: next });
  // Closer to the address that is walked, if it is to be seen.
  const centre = start <= walk.address && walk.address < end ? walk.address : start + length / 2;
  const zoom = (factor: number): void => show(within(picture, centre - (length * factor) / 2, length * factor));
  const gestures = {
    pan: (pixels: number, width: number): void => {
      const { start: from, end: to } = windowOf(picture);
      moveTo(picture, from + (pixels / width) * (to - from), to - from);
    },
    zoom: (factor: number, x: number, width: number): void => {
      const { start: from, end: to } = windowOf(picture);
      moveTo(picture, from + (x / width) * (1 - factor) * (to - from), factor * (to - from));
    },
  };
  const draw = (surface: Surface): void => drawMap(surface, space.map, window_, walk.address);
  const pick = (x: number, _y: number, width: number): void => {
    const at = start + Math.floor(((x / width) * length) / PAGE_SIZE) * PAGE_SIZE;
    look({ address: areaNear(space.map, at, (3 * length) / width) });
  };
  const label = `Map from ${hex(start)} to ${hex(end)}, ${bytes(length)}: areas by kind, to scale`;
  return (
    <>
      <fieldset class="row" aria-label="Part of the range">
        <button type="button" disabled={length <= PAGE_SIZE} onClick={() => zoom(1 / 4)}>
          Closer
        </button>
        <button type="button" disabled={length >= space.rangeEnd - space.rangeStart} onClick={() => zoom(4)}>
          Wider
        </button>
        <button
          type="button"
          aria-label="Lower addresses"
          onClick={() => show(within(picture, start - length / 2, length))}
        >
          ◀
        </button>
        <button
          type="button"
          aria-label="Higher addresses"
          onClick={() => show(within(picture, start + length / 2, length))}
        >
          ▶
        </button>
        <button type="button" onClick={() => show(null)}>
          In use
        </button>
        <button type="button" onClick={() => show({ start: space.rangeStart, end: space.rangeEnd })}>
          All
        </button>
        <small>
          {hex(Math.floor(start / PAGE_SIZE) * PAGE_SIZE)}, {bytes(Math.round(length / PAGE_SIZE) * PAGE_SIZE)}
        </small>
      </fieldset>
      <Canvas label={label} height={HEIGHT} draw={draw} onPick={pick} gestures={gestures} />
    </>
  );
}

/** Index of the first area that ends above an address. */
export function firstAbove({ ends }: SpaceMap, address: number): number {
  let low = 0;
  let high = ends.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ends[middle] <= address) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The address itself where an area holds it; else the begin of an area that is drawn as near as a finger or a mouse can tell. */
function areaNear(map: SpaceMap, address: number, reach: number): number {
  const at = firstAbove(map, address);
  if (at < map.starts.length && map.starts[at] <= address + reach) return Math.max(address, map.starts[at]);
  if (at > 0 && map.ends[at - 1] >= address - reach) return map.starts[at - 1];
  return address;
}

/** The band in which areas are drawn. */
const BAND_TOP = 6;

/** Draws each area as wide as it is. Where a pixel has several, it is divided by how much of it each kind takes. */
function drawMap(surface: Surface, map: SpaceMap, window_: AddressWindow, address: number): void {
  const { context, width, height, colour } = surface;
  const { start, end } = window_;
  const scale = width / (end - start);
  const colours = AREA_KINDS.map((kind) => colour(`kind-${kind.replaceAll(" ", "-")}`));
  context.fillStyle = colour("panel-deep");
  context.fillRect(0, 0, width, height);
  const { starts, ends, kinds } = map;
  const columns = Math.ceil(width);
  const shares = new Float64Array(columns * colours.length);
  let kindNow = -1;
  for (let i = firstAbove(map, start); i < starts.length && starts[i] < end; i++) {
    const x = Math.max(0, (starts[i] - start) * scale);
    const to = Math.min(width, (ends[i] - start) * scale);
    if (to - x < 1) {
      shares[Math.min(columns - 1, Math.floor(x)) * colours.length + kinds[i]] += to - x;
      continue;
    }
    if (kinds[i] !== kindNow) context.fillStyle = colours[kinds[i]];
    kindNow = kinds[i];
    // A line of background between areas that are wide enough for it.
    const gap = to - x > 4 ? 1 : 0;
    context.fillRect(x, BAND_TOP, to - x - gap, height - 2 * BAND_TOP);
  }
  drawShares(surface, shares, colours);
  if (address < start || address >= end) return;
  context.fillStyle = colour("text");
  context.fillRect((address - start) * scale - 1, 0, 3, height);
}

/** Draws columns of a pixel, each divided by what its kinds take; neighbours of one kind alone in one go. */
function drawShares({ context, height }: Surface, shares: Float64Array, colours: readonly string[]): void {
  const kinds = colours.length;
  const columns = shares.length / kinds;
  const band = height - 2 * BAND_TOP;
  for (let column = 0; column < columns; column++) {
    let sum = 0;
    for (let kind = 0; kind < kinds; kind++) sum += shares[column * kinds + kind];
    let top = BAND_TOP;
    for (let kind = 0; kind < kinds; kind++) {
      const share = shares[column * kinds + kind];
      if (share === 0) continue;
      context.fillStyle = colours[kind];
      if (share < sum) {
        context.fillRect(column, top, 1, (share / sum) * band);
        top += (share / sum) * band;
        continue;
      }
      const first = column;
      while (column + 1 < columns && isAlone(shares, (column + 1) * kinds, kind, kinds)) column++;
      context.fillRect(first, BAND_TOP, column + 1 - first, band);
      break;
    }
  }
}

/** Whether a kind has all of a column, from `at` on. */
function isAlone(shares: Float64Array, at: number, kind: number, kinds: number): boolean {
  for (let other = 0; other < kinds; other++) if (shares[at + other] > 0 !== (other === kind)) return false;
  return true;
}
